"""Read a manifest of any size, row by row: CSV or JSON lines, as spreadsheets and programs write them.

A row that can not be used is a `Flaw` with its line and the reason, never an exception: the other 999,999 rows are
somebody's too. Only what makes every row useless (no such file, no columns) is raised.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from smile_async.batch.encodings import SAVE
from smile_async.batch.tables import records
from smile_async.errors import BadConfiguration, InvalidJob
from smile_async.jobs.checks import FLAGS
from smile_async.jobs.image import Image, is_uri, shown
from smile_async.jobs.job import Job
from smile_async.jobs.parts import PERSON, consent_from, field_flaw, field_of, parts_of
from smile_async.jobs.person import Person
from smile_async.jobs.product import PRODUCTS, Product, known_product, product_of
from smile_async.jobs.ticket import encodes
from smile_async.jobs.ticket import job_type as as_job_type
from smile_async.traffic.fetching import matching

__all__ = ["Flaw", "Row", "job_of", "read_manifest"]

#: What a text is refused for: nobody sees it, and it has come from a broken program or a wrong encoding.
_DAMAGE = {"\0": "a NUL: write it anew", "\ufeff": "a byte-order mark: write it anew"}
_DAMAGE |= {"\ufffd": f"what can not be read: {SAVE}"}

#: Digits that a product's number may have; an id has more.
MOST_DIGITS = 4

_FLAGS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False, "": False}


@dataclass(frozen=True, slots=True)
class Row:
    """One job of a manifest; `line` counts from 1 and includes the heading. Paths are as they were written.

    `about` are the id fields and the person: they are no part of `spec`, nor of the repr.
    """

    line: int
    key: str
    user_id: str
    selfie: str | None
    liveness: tuple[str, ...] = ()
    job_type: int = 2
    job_id: str | None = None
    callback_url: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    #: Only where job_type does not tell.
    product: Product | None = None
    front: str | None = None
    back: str | None = None
    comparison: str | None = None
    comparison_type: str | None = None
    flags: Mapping[str, bool] = field(default_factory=dict)
    consent: Mapping[str, Any] | None = field(default=None, repr=False)
    about: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.product is None:
            object.__setattr__(self, "product", product_of(self.job_type))

    @property
    def pictures(self) -> tuple[str | None, ...]:
        """The cells that name its pictures."""
        more = (self.front, self.back, self.comparison)
        return (self.selfie, *self.liveness, *(cell for cell in more if cell is not None))

    def spec(self) -> str:
        """What makes the job again, whom it is about apart, as one line of JSON: equal rows give equal texts."""
        told: dict[str, Any] = {
            "selfie": self.selfie,
            "liveness": self.liveness,
            "job_type": int(self.job_type),
            "callback_url": self.callback_url,
            "params": dict(self.params),
        }
        # Left out where a row has none, as rows were written down before there were any.
        more: dict[str, Any] = {"front": self.front, "back": self.back, "consent": self.consent, **self.flags}
        more |= {"comparison": self.comparison, "comparison_type": self.comparison_type}
        more["product"] = self.product if product_of(self.job_type) is None else None
        told |= {name: value for name, value in more.items() if value}
        return orjson.dumps(told, option=orjson.OPT_SORT_KEYS).decode()

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Row":
        """The row that a record of the ledger was planned from: its `spec`, and its id `fields` if they are there."""
        spec = orjson.loads(record["spec"])
        return cls(
            line=record["line"],
            key=record["row_key"],
            user_id=record["user_id"],
            selfie=spec["selfie"],
            liveness=tuple(spec["liveness"]),
            job_type=spec["job_type"],
            job_id=record["job_id"],
            callback_url=spec["callback_url"],
            params=spec["params"],
            product=known_product(spec.get("product")),
            front=spec.get("front"),
            back=spec.get("back"),
            comparison=spec.get("comparison"),
            comparison_type=spec.get("comparison_type"),
            flags={name: spec[name] for name in FLAGS if name in spec},
            consent=spec.get("consent"),
            about=orjson.loads(record.get("fields") or "{}"),
        )


@dataclass(frozen=True, slots=True)
class Flaw:
    """A row that became no job: its line, why, and whose it was, as far as that could be read."""

    line: int
    why: str
    user_id: str | None = None


def read_manifest(
    path: Path, default: int | Product = 2, consent: Mapping[str, Any] | None = None
) -> Iterator[Row | Flaw]:
    """The rows of *path* (.csv, else JSON lines); relative pictures are looked for beside it.

    *default* and *consent*: product, or job type, and consent of rows that do not say. Raises BadConfiguration.
    """
    product = default if isinstance(default, Product) else product_of(default)
    if product is None:
        raise BadConfiguration(f"job_type {default} does not tell the product: give a Product")
    if not encodes(str(path)):
        raise BadConfiguration(f"the name of the manifest {str(path)!a} is not UTF-8: rename it, or its folder")
    try:
        for line, found in records(path):
            yield Flaw(line, found) if isinstance(found, str) else _row(line, found, path.parent, product, consent)
    except OSError as error:
        raise BadConfiguration(f"the manifest {path} can not be read ({error.strerror}): check the path") from None


def _row(
    line: int, found: Mapping[str, Any], folder: Path, default: Product, consent: Mapping[str, Any] | None
) -> Row | Flaw:
    user_id = ""
    try:
        user_id = _text("user_id", found.get("user_id"))
        if not user_id:
            return Flaw(line, "has no user_id")
        product = _product(found, default)
        return Row(
            line=line,
            key=_text("key", found.get("key")) or user_id,
            user_id=user_id,
            liveness=_frames(found.get("liveness"), folder),
            job_type=as_job_type(product.spec.job_type),
            product=product,
            job_id=_text("job_id", found.get("job_id")) or None,
            callback_url=_text("callback_url", found.get("callback_url")) or None,
            params=_params(found),
            flags={name: True for name in FLAGS if _flag(name, found.get(name))},
            consent=_consent(found) or consent,
            about={**_about(found, "id."), **_about(found, PERSON)},
            comparison_type=_text("comparison_type", found.get("comparison_type")).upper() or None,
            **{name: _picture(name, found.get(name), folder) for name in ("selfie", "front", "back", "comparison")},
        )
    except ValueError as error:
        return Flaw(line, str(error), user_id or None)


def _text(name: str, value: object) -> str:
    """A text, a whole number as one, or "" for what is not there."""
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{name} is {type(value).__name__}: give a text")  # noqa: TRY004 - a flaw of the row
    return _sound(name, str(value))


def _sound(name: str, text: str) -> str:
    for mark, what in _DAMAGE.items():
        if mark in text:
            raise ValueError(f"{name} holds {what}")
    return text


def _params(found: Mapping[str, Any]) -> dict[str, str]:
    given = found.get("params")
    if not isinstance(given, dict | None):
        raise ValueError(f"params is {type(given).__name__}: give an object")  # noqa: TRY004
    given = {**(given or {}), **{name[6:]: value for name, value in found.items() if name.startswith("param.")}}
    for name, value in given.items():
        # Whoever writes null may mean "none", "" or "null": what is sent is not for us to choose.
        if value is None:
            raise ValueError(f"param.{name} is null: give a text, or leave it out")
    return {_sound("param", name): text for name, value in given.items() if (text := _text(f"param.{name}", value))}


def _product(found: Mapping[str, Any], default: Product) -> Product:
    """The product of a row, by its columns `product` and `job_type`."""
    name, kind = (_text_or_none(found.get(column)) for column in ("product", "job_type"))
    product = None if name is None else known_product(name.lower())
    if name is not None and product is None:
        raise ValueError(f"product is {_said(name)}: give one of {', '.join(PRODUCTS)}")
    if kind is None:
        return product or default
    told = known_product(kind.lower()) or (product_of(int(kind)) if kind.isdecimal() and kind.isascii() else None)
    if product is not None and kind == str(product.spec.job_type):
        return product
    if told is None or product not in (None, told):
        cure = "give 2 (authenticate), 4 (register) or another product's" if product is None else f"{product} is not"
        raise ValueError(f"job_type is {_said(kind)}: {cure}")
    return told


def _said(cell: str) -> str:
    """*cell* as a message may show it: in a row whose cells have moved it may be the number of an id."""
    digits = sum(map(str.isdigit, cell))
    return "a long number" if digits > MOST_DIGITS else cell if cell.isdecimal() else repr(cell[:24])


def _text_or_none(value: object) -> str | None:
    return None if value in (None, "") else str(value).strip()


def _flag(name: str, value: object) -> bool:
    said = value if isinstance(value, bool) else _FLAGS.get(_text(name, value).lower())
    if said is None:
        raise ValueError(f"{name} is neither true nor false: give one of these")
    return said


def _consent(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A JSON object, in a cell as its text, with what further columns say of it."""
    given = row.get("consent")
    try:
        found = orjson.loads(given) if isinstance(given, str) and given else given or None
    except orjson.JSONDecodeError as error:
        raise ValueError(f"consent is not JSON ({error}): give an object") from None
    if not isinstance(found, dict | None):
        raise ValueError(f"consent is {type(found).__name__}: give an object")  # noqa: TRY004
    more = {name[8:]: text for name, cell in row.items() if name.startswith("consent.") and (text := _text(name, cell))}
    found = {**(found or {}), **more} or None
    if found is not None:
        consent_from(found)
    return found


def _about(found: Mapping[str, Any], prefix: str) -> dict[str, str]:
    """The id fields, or those of the person, by the names under which they travel; no message repeats one."""
    whole = prefix.rstrip(".")
    given = found.get(whole)
    if not isinstance(given, dict | None):
        raise ValueError(f"{whole} is {type(given).__name__}: give an object")  # noqa: TRY004
    given = {f"{prefix}{word}": value for word, value in (given or {}).items()}
    given |= {name: value for name, value in found.items() if name.startswith(prefix)}
    about: dict[str, str] = {}
    for word, value in given.items():
        name, why = field_of(word.removeprefix("id.")), field_flaw(value)
        if not name or why:
            cure = (
                f"give one of {', '.join(Person.WHOLE)}"
                if prefix == PERSON
                else "call a field of your own id.extra.NAME"
            )
            raise ValueError(f"{word[:40]} {why or f'is unknown: {cure}'}")
        if value and value.strip():
            about[name] = _sound(word, value.strip())
    return about


def _picture(column: str, given: object, folder: Path) -> str | None:
    cell = _text(column, given)
    return _beside(column, cell, folder) if cell else None


def _frames(given: object, folder: Path) -> tuple[str, ...]:
    """One picture, several with `;` between them, a JSON list, or a pattern such as `ada/frame_*.jpg`."""
    if isinstance(given, str) and re.match(r'\s*\[\s*["\]]', given):
        try:
            given = orjson.loads(_sound("liveness", given))
        except orjson.JSONDecodeError as error:
            raise ValueError(f"liveness begins as JSON and is none ({error}): give paths with ; between") from None
    names = given.split(";") if isinstance(given, str) else [] if given is None else given
    if not isinstance(names, list):
        raise ValueError(f"liveness is {type(names).__name__}: give paths")  # noqa: TRY004
    found: list[str] = []
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"liveness holds {type(name).__name__}: give paths")  # noqa: TRY004
        if name.strip():
            found.extend(_matches(_sound("liveness", name.strip()), folder))
    return tuple(found)


def _matches(name: str, folder: Path) -> list[str]:
    whole = _beside("liveness", name, folder)
    found = [name] if is_uri(name) else matching(name, str(folder))
    if not found:
        raise ValueError(f"liveness: no file matches {shown(whole)}")
    for each in found:
        if not encodes(each):
            raise ValueError(f"liveness: the name of the file {each!a} is not UTF-8: rename it")
    return [_beside("liveness", each, folder) for each in found]


def _beside(column: str, cell: str, folder: Path) -> str:
    try:
        return cell if picture_of(cell).uri else str(folder / cell)
    except InvalidJob as error:
        raise ValueError(f"{column}: {error}") from None


def picture_of(cell: str) -> Image:
    """The picture that *cell* names, by URI or local path; raises InvalidJob, which does not repeat the cell."""
    if not is_uri(cell):
        return Image.from_path(cell)
    image = Image.from_uri(cell)
    if image.path != cell:
        # The ledger keeps a row's cells, so that it can be resumed.
        raise InvalidJob("image URI has a user name, a query or a fragment: let the storage library find credentials")
    return image


def job_of(row: Row, job_id: str) -> Job:
    """The job of *row*; raises InvalidJob."""
    if row.product is None:
        raise InvalidJob(f"user {row.user_id}: job type {row.job_type} is of no product that is known here")
    spec = row.product.spec
    flags = dict(row.flags)
    if row.selfie is None and row.liveness and "use_enrolled_image" in spec.takes:
        flags["use_enrolled_image"] = True
    if row.selfie is None and not row.liveness and not row.front and "selfie" in spec.takes:
        # Alone, `use_enrolled_image` may approve somebody whom nobody has photographed.
        other = ", or frames to compare with the enrolled face" if "use_enrolled_image" in spec.takes else ""
        raise InvalidJob(f"user {row.user_id}: there is no picture: give a selfie{other}")
    pictures = {name: picture_of(cell) for name in ("front", "back") if (cell := getattr(row, name)) is not None}
    try:
        parts = parts_of(spec, row.about, **pictures)
        consent = row.consent and consent_from(row.consent)
    except InvalidJob as error:
        raise InvalidJob(f"user {row.user_id}: {error}") from None
    return Job.of(
        row.product,
        row.user_id,
        selfie=None if row.selfie is None else picture_of(row.selfie),
        liveness=tuple(map(picture_of, row.liveness)),
        job_id=job_id,
        partner_params=row.params,
        callback_url=row.callback_url,
        consent=consent,
        comparison=None if row.comparison is None else picture_of(row.comparison),
        comparison_type=row.comparison_type,
        **parts,
        **flags,
    )
