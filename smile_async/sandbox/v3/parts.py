"""What each part of a V3 request may hold (OpenAPI 3.952.0): a table of readers, which make values of texts.

A reader raises ValueError for what does not belong there; nothing here ever repeats a value, which may be personal.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import orjson

from smile_async.sandbox.settings import Settings

__all__ = ["IMAGES", "PARTS", "ImagePart", "contact_in"]

#: What a text comes to, in a sandbox of such settings.
Reader = Callable[[str, Settings], Any]

_PHONE = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)
_LANGUAGE = re.compile(r"[A-Z]{2}", re.ASCII)
#: Seconds that a consent may lie in the future.
_AHEAD = 60.0
_CONSENT = ("granted", "granted_at", "notice_language", "notice_privacy_policy_url")


def _demand(fits: object) -> None:
    if not fits:
        raise ValueError


def _like(pattern: str) -> Reader:
    compiled = re.compile(pattern, re.ASCII)

    def read(text: str, _: Settings) -> str:
        _demand(compiled.fullmatch(text))
        return text

    return read


def _text(most: int) -> Reader:
    def read(text: str, _: Settings) -> str:
        _demand(text.strip() and len(text) <= most)
        return text

    return read


def _one_of(*words: str) -> Reader:
    def read(text: str, _: Settings) -> str:
        _demand(text in words)
        return text

    return read


def _flag(text: str, _: Settings) -> bool:
    _demand(text in ("true", "false"))
    return text == "true"


def _number(text: str, _: Settings) -> int:
    # The SDK's is a float: 840 and 840.0 are one number.
    value = float(text)
    _demand(math.isfinite(value) and value == int(value) and 0 <= value < 10_000)
    return int(value)


def _url(text: str, settings: Settings) -> str:
    _demand(settings.calls(text))
    return text


def _year(text: str, settings: Settings) -> str:
    this_year = datetime.fromtimestamp(settings.clock.time(), UTC).year
    _demand(re.fullmatch(r"\d{4}", text, re.ASCII) and int(text) <= this_year)
    return text


def _list_of(fits: Callable[[Any], object], least: int, most: int) -> Reader:
    def read(text: str, _: Settings) -> list[Any]:
        value = orjson.loads(text)
        _demand(isinstance(value, list) and least <= len(value) <= most and all(fits(each) for each in value))
        return list(value)

    return read


def _object(text: str) -> dict[str, Any]:
    value = orjson.loads(text)
    _demand(isinstance(value, dict))
    return dict(value)


def _params(text: str, _: Settings) -> dict[str, Any]:
    value = _object(text)
    _demand(all(isinstance(each, str) for each in value.values()))
    return value


def _consent(text: str, settings: Settings) -> dict[str, Any]:
    value = _object(text)
    _demand(value.keys() == {*_CONSENT} and value["granted"] is True)
    granted = datetime.fromisoformat(str(value["granted_at"]))
    moment = granted if granted.tzinfo else granted.replace(tzinfo=UTC)
    _demand(moment.timestamp() <= settings.clock.time() + _AHEAD)
    url = urlsplit(str(value["notice_privacy_policy_url"]))
    _demand(url.scheme == "https" and url.hostname and _LANGUAGE.fullmatch(str(value["notice_language"])))
    return value


def contact_in(details: Mapping[str, Any]) -> bool:
    """Whether these user_details name an address or a number."""
    return any(details.get(name) for name in ("email", "phone_number"))


def _details(text: str, _: Settings) -> dict[str, Any]:
    value = _object(text)
    _demand(all(isinstance(value.get(name), str) and value[name] for name in ("given_names", "last_name")))
    email, phone = value.get("email"), value.get("phone_number")
    _demand(email is None or (isinstance(email, str) and re.fullmatch(r"[^@\s]+@[^@\s]+", email)))
    _demand(phone is None or (isinstance(phone, str) and _PHONE.fullmatch(phone)))
    return value


def _named(value: Any) -> bool:
    name, said = (value.get("name"), value.get("value")) if isinstance(value, dict) else (None, None)
    return isinstance(name, str) and isinstance(said, str) and len(name) <= 100 and len(said) <= 1000


_FREE = _text(512)
_COUNTRY = re.compile(r"[A-Z]{2}", re.ASCII)
PARTS: Mapping[str, Reader] = {
    "consent": _consent,
    "user_details": _details,
    "partner_params": _params,
    "metadata": _list_of(_named, 0, 100),
    "callback_url": _url,
    "user_id": _text(256),
    "sandbox_result": _number,
    "use_enrolled_image": _flag,
    "allow_new_enroll": _flag,
    "comparison_image_type": _one_of("DOCUMENT", "ID_PHOTO", "PORTRAIT"),
    "country": _like(r"[A-Z]{2}"),
    **dict.fromkeys(("id_type", "id_number", "bank_code", "operator", "full_name", "address"), _FREE),
    **dict.fromkeys(("utility_number", "utility_provider"), _FREE),
    "utility_type": _one_of("PrePaid", "PostPaid"),
    "countries": _list_of(lambda each: isinstance(each, str) and _COUNTRY.fullmatch(each), 1, 250),
    "aliases": _list_of(lambda each: isinstance(each, str) and len(each) <= 256, 0, 20),
    "birth_year": _year,
    "strict_match": _flag,
    "search_existing_user": _flag,
    "is_fraud": _flag,
    "reported_by": _like(r"[^@\s]+@[^@\s]+"),
    "reason": _one_of(
        *("FIRST_PARTY_FRAUD", "SECOND_PARTY_FRAUD", "THIRD_PARTY_FRAUD", "SYNTHETIC_IDENTITY", "ACCOUNT_TAKEOVER"),
        *("DOCUMENT_FORGERY", "IDENTITY_FARMING", "MULE_ACCOUNT", "OTHER"),
    ),
    "notes": _text(500),
}


@dataclass(frozen=True, slots=True)
class ImagePart:
    """A part that is a picture: which formats it may have, how many there may be, v1's number for its kind."""

    formats: tuple[str, ...]
    counts: range
    image_type_id: int


_JPEG, _EITHER, _ONE = ("image/jpeg",), ("image/jpeg", "image/png"), range(1, 2)
IMAGES: Mapping[str, ImagePart] = {
    "selfie_image": ImagePart(_JPEG, _ONE, 0),
    "liveness_images": ImagePart(_JPEG, range(6, 9), 4),
    "comparison_image": ImagePart(_JPEG, _ONE, 1),
    "document": ImagePart(_EITHER, _ONE, 1),
    "document_back": ImagePart(_EITHER, _ONE, 5),
    "visa": ImagePart(_EITHER, _ONE, 1),
}
