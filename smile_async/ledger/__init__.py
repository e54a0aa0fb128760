"""Jobs that must survive the process: a ledger that is written before anything is sent (extra `batch`).

The rest of the library works without it, and imports nothing of it unless a session is given one.
"""

import os

from smile_async.errors import BadConfiguration

try:
    from smile_async.ledger.ledger import Ledger
    from smile_async.ledger.schema import State
except ImportError as missing:
    text = f"a ledger needs the package {missing.name}: run  pip install 'smile-async[batch]'"
    raise ImportError(text, name=missing.name) from None

__all__ = ["Ledger", "State", "as_ledger"]


def as_ledger(given: object) -> Ledger:
    """The ledger that a session was given as an object, a path or a URL. Raises BadConfiguration."""
    if isinstance(given, Ledger):
        return given
    if isinstance(given, str | os.PathLike):
        return Ledger(given)
    raise BadConfiguration(f"ledger is {type(given).__name__}: give a path, a URL or a Ledger")
