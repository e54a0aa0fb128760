"""The official Python SDK, `smile-id-core` 3, awaited: the classes that Smile ID's documentation starts from.

A reader of that documentation adds `async with` and `await` and is done: same arguments in the same order, same
dictionaries in, same bodies out. It only translates; the work is `SmileSession`'s. What asks nobody is not awaited:
`Signature`, and the `validate_` functions of `Utilities`. Errors are this library's (`smile_async.errors`), which tell
a refusal from an outage and carry the ticket; `ServerError`, the SDK's one error with a text, is another name for
their root.
"""

from smile_async.errors import SmileError
from smile_async.webapi.base import Base, Utilities
from smile_async.webapi.constants import ImageTypes, JobType
from smile_async.webapi.id_api import BusinessVerification, IdApi
from smile_async.webapi.signature import Signature
from smile_async.webapi.web_api import WebApi

__all__ = [
    "Base",
    "BusinessVerification",
    "IdApi",
    "ImageTypes",
    "JobType",
    "ServerError",
    "Signature",
    "Utilities",
    "WebApi",
]

ServerError = SmileError
