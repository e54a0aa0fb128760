"""One reply of the API as an examiner sees it: read in part, never believed, never repeated as a whole."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from smile_async.errors import UnreadableReply
from smile_async.protocol.signature import Signer, parse_timestamp
from smile_async.protocol.v1.replies import complaint_in, read_object
from smile_async.transport.engine import Reply

__all__ = ["Answer", "Presigned", "answer_of", "presigned"]

#: What a list's headers may say of how long it is good.
_CACHING = ("cache-control", "etag", "last-modified", "expires")
_AMAZON_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z")


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, Smile's code and text ("" for none), the JSON object, and what the transport tells."""

    status: int
    code: str
    message: str
    http_version: str = ""
    date: str = ""
    caching: str = ""
    found: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def said(self) -> str:
        """It in a few words."""
        return " ".join(part for part in (f"HTTP {self.status}", self.code, self.message) if part)

    @property
    def refused_us(self) -> bool:
        """Whether the signature was not accepted (wire.md §9)."""
        return self.code in {"2204", "2205", "2405"} or self.status in {401, 403}

    def signature_flaw(self, signer: Signer) -> str:
        """What is wrong with the signature that it should carry, "" if nothing is."""
        timestamp, signature = self.found.get("timestamp"), self.found.get("signature")
        if not (isinstance(timestamp, str) and isinstance(signature, str) and timestamp and signature):
            return "carries no signature"
        return "" if signer.confirms(timestamp, signature) else "is signed with another key"


def answer_of(reply: Reply) -> Answer:
    """*reply*, read."""
    try:
        found = read_object(reply.body, "the reply")
    except UnreadableReply:
        found = {}
    complaint, headers = complaint_in(found), reply.headers
    caching = ", ".join(f"{name}: {headers[name]}" for name in _CACHING if name in headers)
    date = headers.get("date", "")
    return Answer(reply.status, complaint.code, complaint.message, reply.http_version, date, caching, found)


@dataclass(frozen=True, slots=True)
class Presigned:
    """What a presigned URL tells of itself: where it leads, how it is signed, until when it is good (None: unsaid)."""

    host: str
    port: int
    scheme: str
    expires_at: float | None


def presigned(url: str) -> Presigned:
    """Read *url*, which nobody is shown; of a text that is no URL nothing."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
    except ValueError:
        return Presigned("", 443, "", None)
    query = {name.lower(): values[0] for name, values in parse_qs(parts.query).items()}
    if "x-amz-signature" in query:
        begun = _AMAZON_DATE.fullmatch(query.get("x-amz-date", ""))
        since = parse_timestamp("{}-{}-{}T{}:{}:{}Z".format(*begun.groups())) if begun else None
        lasts = _seconds(query.get("x-amz-expires", ""))
        until = since + lasts if since is not None and lasts is not None else None
        return Presigned(host, port, f"AWS version 4 ({query.get('x-amz-algorithm', 'no algorithm')})", until)
    if {"awsaccesskeyid", "signature"} <= query.keys():
        return Presigned(host, port, "AWS version 2 (query string)", _seconds(query.get("expires", "")))
    return Presigned(host, port, "", None)


def _seconds(text: str) -> float | None:
    return float(text) if text.isdecimal() else None
