"""Signatures and timestamps as the API sees them, and presigned URLs as storage sees them.

Written from wire.md §2 and §4 with nothing but the standard library: were this shared with the client, the two
could be wrong together.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qsl, quote, urlencode

__all__ = ["Keys", "StorageRefusal", "parse_timestamp", "timestamp_at"]

#: Every format official SDKs send (wire.md §2.2): `T` or Ruby's blank, 0 to 9 digits, `Z` or an offset that Ruby
#: sets off by a blank and writes without a colon. No zone at all is the bug of the official Python SDK 3.0.0.
_TIMESTAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))? ?(?:(Z)|([+-])(\d\d):?(\d\d))", flags=re.ASCII
)


def parse_timestamp(text: str) -> float | None:
    """Epoch seconds of *text*; None if it is no ISO 8601 time with a zone."""
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        return None
    day, clock, fraction, _, sign, hours, minutes = match.groups()
    try:
        offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
        moment = datetime.fromisoformat(f"{day}T{clock}").replace(tzinfo=timezone(offset))
    except ValueError:
        return None
    return moment.timestamp() + float(f"0.{fraction or 0}")


def timestamp_at(moment: float) -> str:
    """*moment* (epoch seconds) as Smile ID writes it: UTC with milliseconds and `Z`."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


@dataclass(frozen=True)
class StorageRefusal(Exception):
    """Why storage refuses a request: HTTP status, S3 error code, message."""

    status: int
    code: str
    message: str


_MISMATCH = StorageRefusal(
    403,
    "SignatureDoesNotMatch",
    "The request signature we calculated does not match the signature you provided. Check your key and signing method.",
)


class Keys:
    """What one partner account can sign: replies of the API and URLs of its storage."""

    def __init__(self, partner_id: str, api_key: str) -> None:
        #: The account, exactly as it must be signed.
        self.partner_id = partner_id
        self._key = api_key.encode()
        # Storage has a secret of its own; deriving it lets URLs survive a restart without saving another secret.
        self._storage_key = self.derive("storage")
        self._access_key_id = f"SANDBOX{partner_id}"

    def __repr__(self) -> str:
        return f"<Keys of partner {self.partner_id}>"

    def derive(self, purpose: str) -> bytes:
        """A secret of this account's server for *purpose*, the same after a restart."""
        return hmac.digest(self._key, f"sandbox {purpose}".encode(), "sha256")

    def owns(self, api_key: str) -> bool:
        """Whether *api_key* is the account's, in constant time."""
        return hmac.compare_digest(self._key, api_key.encode())

    def sign(self, timestamp: str, partner_id: str | None = None) -> str:
        """The signature of *timestamp* (wire.md §2.1), for *partner_id* as another API writes it."""
        message = f"{timestamp}{self.partner_id if partner_id is None else partner_id}sid_request".encode()
        return base64.b64encode(hmac.digest(self._key, message, "sha256")).decode()

    def verify(self, timestamp: str, signature: str) -> bool:
        """Whether *signature* is ours for *timestamp*, in constant time."""
        return hmac.compare_digest(self.sign(timestamp).encode(), signature.encode())

    def presign_put(self, base: str, path: str, expires: int) -> str:
        """An upload URL of the documented form (wire.md §4), good until *expires* (epoch seconds)."""
        query = {
            "AWSAccessKeyId": self._access_key_id,
            "Content-Type": "application/zip",
            "Expires": str(expires),
            "Signature": self._storage_signature("PUT", path, "application/zip", str(expires)),
            "x-amz-server-side-encryption": "AES256",
        }
        return f"{base}{quote(path)}?{urlencode(query, safe='')}"

    def presign_get(self, base: str, path: str, expires: int) -> str:
        """A link to one object, good until *expires* (epoch seconds)."""
        query = {
            "AWSAccessKeyId": self._access_key_id,
            "Expires": str(expires),
            "Signature": self._storage_signature("GET", path, "", str(expires)),
        }
        return f"{base}{quote(path)}?{urlencode(query, safe='')}"

    def check_put(self, path: str, query: str, content_type: str, now: float) -> None:
        """Let a PUT pass, or raise `StorageRefusal`: an S3 URL binds path, expiry, content type and encryption."""
        given = self._query(query, {"AWSAccessKeyId", "Content-Type", "Expires", "Signature", _SSE})
        if given["Content-Type"] != content_type or given[_SSE] != "AES256":
            raise _MISMATCH
        self._check("PUT", path, content_type, given, now)

    def check_get(self, path: str, query: str, now: float) -> None:
        """Let a GET pass, or raise `StorageRefusal`."""
        self._check("GET", path, "", self._query(query, {"AWSAccessKeyId", "Expires", "Signature"}), now)

    @staticmethod
    def _query(query: str, wanted: set[str]) -> dict[str, str]:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=None)
        given = dict(pairs)
        if len(pairs) != len(wanted) or given.keys() != wanted:
            raise _MISMATCH
        return given

    def _check(self, method: str, path: str, content_type: str, given: dict[str, str], now: float) -> None:
        expected = self._storage_signature(method, path, content_type, given["Expires"])
        genuine = hmac.compare_digest(expected.encode(), given["Signature"].encode())
        if not genuine or given["AWSAccessKeyId"] != self._access_key_id:
            raise _MISMATCH
        if now > int(given["Expires"]):
            raise StorageRefusal(403, "AccessDenied", "Request has expired")

    def _storage_signature(self, method: str, path: str, content_type: str, expires: str) -> str:
        # The layout of AWS signature version 2 for query strings, which the documented URLs use.
        encryption = f"{_SSE}:AES256\n" if method == "PUT" else ""
        message = f"{method}\n\n{content_type}\n{expires}\n{encryption}{path}".encode()
        return base64.b64encode(hmac.digest(self._storage_key, message, hashlib.sha1)).decode()


_SSE = "x-amz-server-side-encryption"
