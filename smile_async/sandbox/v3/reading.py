"""From a form to what was said in it: every part is read, and what is missing or unfit is refused by name.

In the order of the provider's: what must be there, what may be there, then what only the whole can tell.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from smile_async.sandbox.catalogue import number_fits
from smile_async.sandbox.decoding import decodes
from smile_async.sandbox.inspection import image_record, image_size
from smile_async.sandbox.records import ImageRecord
from smile_async.sandbox.settings import Settings

from .forms import File, Form
from .parts import IMAGES, PARTS, contact_in
from .products import V3Product
from .refusals import Refusal, invalid, missing, refusal

__all__ = ["Said", "Seen", "look_at", "read_parts", "read_said"]

#: Bytes of one part that is a text.
_MAX_TEXT = 65_536


@dataclass(frozen=True, slots=True)
class Said:
    """What a submission says: `values` by the names of their parts, `pictures` by theirs."""

    values: dict[str, Any] = field(repr=False)
    pictures: dict[str, list[File]]


@dataclass(frozen=True, slots=True)
class Seen:
    """The pictures, looked at; *blind*: one of them can not be decoded."""

    images: list[ImageRecord]
    blind: bool


def read_said(form: Form, product: V3Product, bound: Mapping[str, Any], settings: Settings) -> Said:
    """What *form* says of a job of *product*; *bound* values win. Raises `Refusal` 400 and 413."""
    texts = _merged(form.texts, bound)
    waiver, waived = product.waived
    given = read_parts(texts, (waiver,) if waiver else (), settings)
    needed = [name for name in product.required if not (given.get(waiver) and name in waived)]
    values = _required(texts, [name for name in needed if name not in IMAGES], settings)
    values |= read_parts(texts, [name for name in product.optional if name not in IMAGES], settings)
    if not contact_in(values["user_details"]):
        raise refusal(400, "Either email or phone_number is required.")
    _check_country(values, product)
    pictures = _pictures(form, [name for name in needed if name in IMAGES], product, settings)
    return Said(values, pictures)


def _merged(texts: Mapping[str, str], bound: Mapping[str, Any]) -> dict[str, str]:
    """The texts of a form, with what is bound in place of what it says of the same."""
    merged = dict(texts)
    for name, value in bound.items():
        merged[name] = value if isinstance(value, str) else orjson.dumps(_said_as_well(texts, name) | value).decode()
    return merged


def _said_as_well(texts: Mapping[str, str], name: str) -> dict[str, Any]:
    try:
        value = orjson.loads(texts.get(name) or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _required(texts: Mapping[str, str], names: list[str], settings: Settings) -> dict[str, Any]:
    values = {}
    for name in names:
        if name == "consent" and not texts.get(name):
            raise refusal(400, "consent is required")
        try:
            values[name] = _value(texts, name, settings)
        except (KeyError, ValueError):
            raise missing(name) from None
    return values


def read_parts(texts: Mapping[str, str], names: Sequence[str], settings: Settings) -> dict[str, Any]:
    """The values of those parts *names* that are there; raises `Refusal` 400 and 413."""
    values = {}
    for name in names:
        try:
            if texts.get(name):
                values[name] = _value(texts, name, settings)
        except ValueError:
            raise invalid(name) from None
    return values


def _value(texts: Mapping[str, str], name: str, settings: Settings) -> Any:
    text = texts[name]
    if len(text) > _MAX_TEXT:
        raise refusal(413, f"{name} is too large.")
    return PARTS[name](text, settings)


def _check_country(values: Mapping[str, Any], product: V3Product) -> None:
    for name, only in product.fixed.items():
        if values[name] != only:
            raise missing(name)
    country = values.get("country")
    if product.by_country:
        for name in product.by_country.get(str(country), ("country",)):
            if name == "country" or name not in values:
                raise missing(name)
    numbered = "id_type" in product.requires and "id_number" in product.requires
    if numbered and not number_fits(str(country), values["id_type"], values["id_number"]):
        raise refusal(400, "Invalid id_number format for this id_type.")


def _pictures(form: Form, needed: list[str], product: V3Product, settings: Settings) -> dict[str, list[File]]:
    pictures = {}
    for name in dict.fromkeys([*needed, *(name for name in product.optional if name in IMAGES)]):
        files, rule = form.files.get(name, []), IMAGES[name]
        refused = missing if name in needed else invalid
        if not files and name not in needed:
            continue
        if len(files) not in rule.counts:
            raise refused(name)
        for file in files:
            if len(file.content) > settings.max_image:
                raise refusal(413, f"{name} is too large.")
            _check_picture(file, rule.formats, refused(name))
        pictures[name] = files
    return pictures


def _check_picture(file: File, formats: tuple[str, ...], refused: Refusal) -> None:
    media_type = "image/png" if file.content[:1] == b"\x89" else "image/jpeg"
    if media_type not in formats or file.media_type not in formats or image_size(file.content) is None:
        raise refused


def look_at(pictures: Mapping[str, list[File]], *, decode: bool, keep: Callable[[str, bytes], None]) -> Seen:
    """Look at the pictures, pixels included if they are to *decode*, and *keep* them by digest. For a thread."""
    images, blind = [], False
    for name, files in pictures.items():
        for file in files:
            width, height = image_size(file.content) or (0, 0)
            digest = hashlib.sha256(file.content).hexdigest()
            media_type = "image/png" if file.content[:1] == b"\x89" else "image/jpeg"
            kind = IMAGES[name].image_type_id
            record = image_record(name, kind, len(file.content), digest, width, height, media_type)
            blind = blind or (decode and not decodes(digest, width * height, file.content))
            keep(digest, file.content)
            images.append(record)
    return Seen(images, blind)
