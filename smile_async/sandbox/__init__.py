"""The Smile ID APIs, v1 and V3, on your desk: they check what the real ones check, and you decide the outcomes.

A client that is only ever tested against its author's idea of the server inherits the author's mistakes. This sandbox
shares no code with the client (own signatures, own JSON, own zip reader), is exercised by the official SDK in our
tests, and keeps every fact of its behaviour beside the place where it was documented.
"""

try:
    import granian as _granian
    import jinja2 as _jinja2
    import starlette as _starlette
    import trustme as _trustme
except ImportError as missing:  # pragma: no cover - the test environment has every extra
    raise ImportError(
        f"the sandbox needs the package {missing.name}: run  pip install 'smile-async[sandbox]'"
    ) from missing

from .faults import Fault, Leg
from .process import serve_forever
from .records import CallbackSent, ImageRecord, JobRecord, Message
from .sandbox import Sandbox
from .server import RunningSandbox
from .settings import Settings

del _granian, _jinja2, _starlette, _trustme

__all__ = [
    "CallbackSent",
    "Fault",
    "ImageRecord",
    "JobRecord",
    "Leg",
    "Message",
    "RunningSandbox",
    "Sandbox",
    "Settings",
    "serve_forever",
]
