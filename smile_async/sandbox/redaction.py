"""What may be seen of a request or a reply: names and kinds of everything, values only of what is listed here.

A list of what is secret would be one field short some day. So it is the other way round: ids, codes and words of the
API are shown, and of any other text only how long it is, which tells an eaten zero or an empty field all the same.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson

from .texts import clip, place_of

__all__ = ["FOREIGN", "OURS", "THEIRS", "document_of", "form_of", "headers_of", "reason_of", "shown", "target_of"]

#: Nothing is believed to be harmless in what a callback URL answers.
FOREIGN: frozenset[str] = frozenset()
#: Fields of requests; those of V3 are named alike.
THEIRS = frozenset(
    {
        *("user_id", "job_id", "job_type", "smile_client_id", "partner_id", "file_name", "timestamp", "callback_url"),
        *("country", "id_type", "countries", "product", "source_sdk", "source_sdk_version", "business_type"),
        *("sandbox_result", "utility_type", "comparison_image_type", "granted_at", "notice_language"),
        # Flags come as texts, too.
        *("use_enrolled_image", "retry", "allow_new_enroll", "entered", "strict_match", "search_existing_user"),
    }
)
#: Whose values are words of the API, whatever their names.
_WORDS = "Actions"
#: Fields of what the sandbox itself says.
OURS = THEIRS | {
    _WORDS,
    *("code", "error", "ref_id", "smile_job_id", "result", "job_complete", "job_success", "success", "Source"),
    *("ResultCode", "ResultText", "ResultType", "SmileJobID", "ConfidenceValue", "Country", "IDType"),
    *("Code", "Message", "status", "message", "reason", "created_at", "completed_at", "schema_version"),
}
_HEADERS = frozenset(
    {
        *("accept", "accept-encoding", "content-encoding", "content-length", "content-type", "date", "expect", "host"),
        *("retry-after", "transfer-encoding", "user-agent", "smileid-partner-id", "smileid-source-sdk", "api-version"),
        *("smileid-source-sdk-version", "response-timestamp", "job-id", "user-id", "smileid-job-id", "api_version"),
        *("job_id", "user_id", "allow", "x-amz-server-side-encryption"),
    }
)
_QUERY = frozenset({"country", "country_code", "continent", "locale", "id_type"})
#: A signature in the place of a timestamp is none.
_TIMESTAMP = re.compile(r"[0-9T:.+Z -]{10,40}", re.ASCII)
_XML = re.compile(r"<(Code|Message)>([^<]*)<")
#: What is no name of a field may be a value in its place.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\[\]-]{0,39}", re.ASCII)
#: Levels, entries of one object, characters of one text.
_DEEP, _WIDE, _LONG = 6, 60, 200


def shown(name: str, value: Any, known: frozenset[str], depth: int = 0) -> Any:
    """What may be seen of the field *name*, where the texts in fields *known* may."""
    if isinstance(value, Mapping):
        if depth >= _DEEP:
            return f"<{len(value)} fields>"
        if name == _WORDS and name in known:
            known |= value.keys()
        pairs = list(value.items())[:_WIDE]
        return {_named(each): shown(each, below, known, depth + 1) for each, below in pairs}
    if isinstance(value, list):
        more = [f"<{len(value) - _WIDE} more>"] if len(value) > _WIDE else []
        return [shown(name, each, known, depth + 1) for each in value[:_WIDE]] + more if depth < _DEEP else "<a list>"
    if value is None or isinstance(value, bool):
        return value
    return _scalar(name, value, known)


def _named(name: str) -> str:
    return name if _NAME.fullmatch(name) else f"<a name of {len(name)} characters>"


def _scalar(name: str, value: object, known: frozenset[str]) -> object:
    if name == "callback_url" and name in known and isinstance(value, str):
        return place_of(value) or f"<{len(value)} characters>"
    if name not in known or (name == "timestamp" and not _TIMESTAMP.fullmatch(str(value))):
        return f"<{len(value)} characters>" if isinstance(value, str) else "<a number>"
    return clip(value, _LONG) if isinstance(value, str) else value


def document_of(body: bytes, media_type: str, known: frozenset[str]) -> Any:
    """What may be seen of *body*: a JSON document, S3's XML refusal, or its size (bytes); None if there is none."""
    if not body:
        return None
    if known is OURS and media_type.startswith("application/xml"):
        return shown("", dict(_XML.findall(body.decode("utf-8", "replace"))), known)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return f"<{len(body)} bytes, no JSON>"
    return shown("", document, known)


def form_of(texts: Mapping[str, str], files: Mapping[str, list[Any]]) -> dict[str, Any]:
    """What may be seen of a multipart form; each of *files* has a `media_type` and `content`."""
    said = {_named(name): shown(name, _parsed(text), THEIRS) for name, text in list(texts.items())[:_WIDE]}
    return said | {
        _named(name): [f"<{clip(file.media_type, 40)}, {len(file.content)} bytes>" for file in several]
        for name, several in files.items()
    }


def _parsed(text: str) -> Any:
    """The object or list that a part holds, or else its text."""
    if text[:1] not in ("{", "["):
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def headers_of(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """What may be seen of headers."""
    found = {}
    for raw, value in list(pairs)[:_WIDE]:
        name = raw.decode("latin-1").lower()
        text = clip(value.decode("latin-1"), _LONG)
        found[_named(name)] = text if name in _HEADERS else f"<{len(value)} characters>"
    return found


def target_of(path: str, query: str) -> str:
    """A path, and of its query the names and what tells nobody from others."""
    pairs = parse_qsl(query, keep_blank_values=True)[:_WIDE]
    asked = "&".join(f"{_named(name)}={clip(value, 60) if name in _QUERY else '…'}" for name, value in pairs)
    return clip(path, _LONG) + (f"?{asked}" if asked else "")


def reason_of(status: int | None, document: Any) -> str:
    """Why an answer is a refusal, in its own words; "" if it is none."""
    if status is None or status < 400:
        return ""
    said = document if isinstance(document, Mapping) else {}
    code = said.get("code") or said.get("Code")
    text = said.get("error") or said.get("message") or said.get("Message")
    return ": ".join(str(each) for each in (code, text) if each)
