"""The four shapes in which V3 says no; clients are to go by the HTTP status alone (OpenAPI 3.952.0)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.responses import Response

__all__ = ["Refusal", "account_refusal", "as_json", "gateway", "invalid", "missing", "refusal"]

_WORDS = {
    400: "Bad Request",
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    408: "Request Timeout",
    409: "Conflict",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    424: "Failed Dependency",
    429: "Too Many Requests",
    500: "Internal Server Error",
}


@dataclass(frozen=True)
class Refusal(Exception):
    """The API's no: HTTP status, body, headers."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)

    def reply(self) -> Response:
        """It as a response."""
        return as_json(self.body, self.status, self.headers)


def as_json(content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """*content* as a response."""
    return Response(orjson.dumps(content), status, headers, "application/json")


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> Refusal:
    """The usual shape: `{status, message}`."""
    return Refusal(status, {"status": _WORDS[status], "message": message}, headers or {})


def gateway(status: int, message: str) -> Refusal:
    """What dies before it reaches an endpoint: 401, 413, 500."""
    slug = re.sub(r"\W+", "_", _WORDS[status].lower())
    return Refusal(status, {"status": slug, "message": message, "job_id": None, "user_id": None})


def account_refusal(status: int, code: str, message: str) -> Refusal:
    """What `/services` says: `{error, code}`, as v1 does."""
    return Refusal(status, {"error": message, "code": code})


def missing(name: str) -> Refusal:
    """A part that must be there is not, or is none."""
    return refusal(400, f"Required field '{name}' is missing or invalid.")


def invalid(name: str) -> Refusal:
    """A part that need not be there is not what it should be."""
    return refusal(400, f"Field '{name}' is invalid.")
