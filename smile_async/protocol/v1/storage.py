"""What the storage says to the zip: S3, GCS and Azure tell in the <Code> of an XML body what a status does not.

A 400 may be for ever, or for a connection that was slow, or for a URL that is no longer good. Of the body nothing but
that code is read or repeated: it may hold the presigned URL.
"""

import re

from smile_async.errors import UploadFailed
from smile_async.protocol.steps import Fault, Sent

__all__ = ["put_refusal"]

#: What a PUT that was taken is answered with: S3 says 200, Azure 201.
_TAKEN = frozenset({200, 201, 204})
_CODE = re.compile(rb"<Code>\s*([A-Za-z0-9]{1,64})\s*</Code>")
#: Bytes of the body in which the code is looked for; it is the first thing an error says.
_HEAD = 4_096
#: Whatever the status: the zip did not arrive this time (docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
_PASSING = frozenset({"RequestTimeout", "IncompleteBody", "OperationAborted", "SlowDown", "InternalError"})
#: The URL, or the credential it was made with, has had its day; S3 answers 403 AccessDenied "Request has expired" too.
_EXPIRED = frozenset({"ExpiredToken", "TokenRefreshRequired", "AccessDenied"})


def put_refusal(status: int, body: bytes, about: str) -> Fault | None:
    """What a reply of HTTP *status* means for the upload *about* which it speaks; None if the zip was taken."""
    if status in _TAKEN:
        return None
    found = _CODE.search(body[:_HEAD])
    code = found[1].decode() if found else ""
    return Fault(
        UploadFailed(f"the storage refused {about}: HTTP {status} {code}".rstrip()),
        # A 5xx may come after the zip was written.
        Sent.AMBIGUOUS if status >= 500 else Sent.ANSWERED,
        transient=status >= 500 or status in (408, 429) or code in _PASSING,
        expired=status == 403 or code in _EXPIRED,
    )
