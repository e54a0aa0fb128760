"""What comes in as JSON, read tolerantly: codes as text or number, booleans as text, a `result` that is a sentence.

What can not be read is an UnreadableReply, never a KeyError, and no message repeats what was in it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from smile_async.errors import UnreadableReply
from smile_async.protocol.bodies import read_object
from smile_async.protocol.signature import Secret
from smile_async.protocol.steps import Slot

__all__ = [
    "NO_ZIP_YET",
    "Complaint",
    "ResultBody",
    "StatusBody",
    "complaint_in",
    "read_complaint",
    "read_object",
    "read_result",
    "read_slot",
    "read_status",
]

#: `/job_status` answers 2314 while no zip has arrived (wire.md §6).
NO_ZIP_YET = "2314"
#: Results of a history that are read; a reply just below the cap with 2.6 million of them took 2 GB and 23 s.
PAST_RESULTS = 1_000
#: `/upload` answers 2202 when the URL is ready (wire.md §4); anything else is a refusal.
PREPARED = "2202"


@dataclass(frozen=True, slots=True)
class Complaint:
    """The body of a refusal: Smile's code ("" if none) and its text, shortened to one printable line."""

    code: str
    message: str


def _text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _code(value: object) -> object:
    text = _text(value)
    # A code that travelled as a number has lost its leading zeros: 820 is 0820.
    return text.strip().zfill(4) if isinstance(text, str) and text.strip() else None


def _confidence(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _texts(value: object) -> dict[str, str]:
    pairs = value.items() if isinstance(value, Mapping) else ()
    return {str(name): str(said) for name, said in pairs}


def _params(value: object) -> object:
    """Some partners' ids are numbers, and come back as such: they are compared as texts."""
    params = value if isinstance(value, Mapping) else {}
    return {**params, **{name: _text(params[name]) for name in ("user_id", "job_id") if name in params}}


_Text = Annotated[str | None, BeforeValidator(_text)]
_Code = Annotated[str | None, BeforeValidator(_code)]
_Params = Annotated[dict[str, Any], BeforeValidator(_params)]


class _Body(BaseModel):
    # hide_input_in_errors: a validation error must not carry a face's result into a log.
    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)


class ResultBody(_Body):
    """One result: the `result` of a status reply, an item of its history, or a callback (wire.md §6, §7)."""

    code: _Code = Field(None, alias="ResultCode")
    text: _Text = Field(None, alias="ResultText")
    smile_job_id: _Text = Field(None, alias="SmileJobID")
    partner_params: _Params = Field(default_factory=dict, alias="PartnerParams")
    actions: Annotated[dict[str, str], BeforeValidator(_texts)] = Field(default_factory=dict, alias="Actions")
    confidence: Annotated[float | None, BeforeValidator(_confidence)] = Field(None, alias="ConfidenceValue")
    image_links: Annotated[dict[str, str], BeforeValidator(_texts)] = Field(default_factory=dict, alias="ImageLinks")
    timestamp: _Text = None


class StatusBody(_Body):
    """The answer of `/job_status`; `result` is None while it is a sentence such as "No zip uploaded yet"."""

    code: _Code = None
    job_complete: Annotated[bool, BeforeValidator(lambda said: False if said is None else said)] = False
    result: ResultBody | None = None
    history: tuple[ResultBody, ...] = ()
    image_links: Annotated[dict[str, str], BeforeValidator(_texts)] = Field(default_factory=dict)


_Shape = TypeVar("_Shape", bound=_Body)


def _validated(model: type[_Shape], found: Mapping[str, Any], what: str) -> _Shape:
    try:
        return model.model_validate(found)
    except ValidationError as error:
        where = ", ".join(sorted({".".join(str(part) for part in e["loc"]) for e in error.errors(include_input=False)}))
    except RecursionError:
        where = "it is nested too deep"
    raise UnreadableReply(f"{what} does not have the protocol's shape: {where}")


def read_slot(body: bytes) -> Slot | Complaint:
    """The answer of `/upload`: a slot, or what Smile ID has against it. Raises UnreadableReply."""
    found = read_object(body, "the /upload reply")
    url, code = found.get("upload_url"), _code(found.get("code"))
    if code != PREPARED and (code or not url):
        return complaint_in(found)
    if not isinstance(url, str) or not url:
        raise UnreadableReply("the /upload reply has no upload_url")
    number = _text(found.get("smile_job_id"))
    return Slot(Secret(url), number if isinstance(number, str) and number else None, found)


def read_status(found: Mapping[str, Any]) -> StatusBody:
    """The answer of `/job_status`. Raises UnreadableReply."""
    shaped = dict(found)
    if not isinstance(shaped.get("result"), dict):
        shaped.pop("result", None)
    past = shaped.get("history")
    shaped["history"] = [item for item in past[:PAST_RESULTS] if _readable(item)] if isinstance(past, list) else []
    return _validated(StatusBody, shaped, "the /job_status reply")


def _readable(item: object) -> bool:
    """Whether an item of the history is a result: an odd one must not cost the verdict it stands beside."""
    try:
        return isinstance(item, dict) and ResultBody.model_validate(item) is not None
    except (ValidationError, RecursionError):
        return False


def read_result(found: Mapping[str, Any], what: str = "the callback") -> ResultBody:
    """A flat result, which a message calls *what*: a callback, or the reply to one request. Raises UnreadableReply."""
    return _validated(ResultBody, found, what)


def read_complaint(body: bytes) -> Complaint:
    """What a refusal says; a body that is no JSON object (a gateway's HTML, S3's XML) gives an empty complaint."""
    try:
        return complaint_in(read_object(body, "the refusal"))
    except UnreadableReply:
        return Complaint("", "")


def complaint_in(found: Mapping[str, Any]) -> Complaint:
    """What a reply has against a request, as far as it says so."""
    said = found.get("error") or found.get("message") or ""
    line = "".join(c for c in str(said)[:200] if c.isprintable()) if isinstance(said, str) else ""
    code = _code(found.get("code"))
    return Complaint(code if isinstance(code, str) and code.isdigit() and len(code) <= 8 else "", line)
