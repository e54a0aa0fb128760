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
from smile_async.jobs.image import Image, is_uri, shown
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import JobType, encodes
from smile_async.jobs.ticket import job_type as as_job_type
from smile_async.traffic.fetching import matching

__all__ = ["Flaw", "Row", "job_of", "read_manifest"]

_TYPES = {"authenticate": 2, "register": 4, "authentication": 2, "registration": 4}
#: What a text is refused for: nobody sees it, and it has come from a broken program or a wrong encoding.
_DAMAGE = {"\0": "a NUL: write it anew", "\ufeff": "a byte-order mark: write it anew"}
_DAMAGE |= {"\ufffd": f"what can not be read: {SAVE}"}


@dataclass(frozen=True, slots=True)
class Row:
    """One job of a manifest; `line` counts from 1 and includes the heading. Paths are as they were written."""

    line: int
    key: str
    user_id: str
    selfie: str | None
    liveness: tuple[str, ...] = ()
    job_type: int = 2
    job_id: str | None = None
    callback_url: str | None = None
    params: Mapping[str, str] = field(default_factory=dict)

    def spec(self) -> str:
        """What makes the job again, as one line of JSON: equal rows give equal texts."""
        return orjson.dumps(
            {
                "selfie": self.selfie,
                "liveness": self.liveness,
                "job_type": int(self.job_type),
                "callback_url": self.callback_url,
                "params": dict(self.params),
            },
            option=orjson.OPT_SORT_KEYS,
        ).decode()

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Row":
        """The row that a record of the ledger was planned from, whose `spec` says how to make its job."""
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
        )


@dataclass(frozen=True, slots=True)
class Flaw:
    """A row that became no job: its line, why, and whose it was, as far as that could be read."""

    line: int
    why: str
    user_id: str | None = None


def read_manifest(path: Path, job_type: int = 2) -> Iterator[Row | Flaw]:
    """The rows of *path* (.csv, else JSON lines); relative pictures are looked for beside it.

    *job_type*: of rows that do not say. Raises BadConfiguration.
    """
    if not encodes(str(path)):
        raise BadConfiguration(f"the name of the manifest {str(path)!a} is not UTF-8: rename it, or its folder")
    try:
        for line, found in records(path):
            yield Flaw(line, found) if isinstance(found, str) else _row(line, found, path.parent, job_type)
    except OSError as error:
        raise BadConfiguration(f"the manifest {path} can not be read ({error.strerror}): check the path") from None


def _row(line: int, found: Mapping[str, Any], folder: Path, job_type: int) -> Row | Flaw:
    user_id = ""
    try:
        user_id = _text("user_id", found.get("user_id"))
        if not user_id:
            return Flaw(line, "has no user_id")
        selfie = _text("selfie", found.get("selfie"))
        kind = found.get("job_type")
        return Row(
            line=line,
            key=_text("key", found.get("key")) or user_id,
            user_id=user_id,
            selfie=_beside("selfie", selfie, folder) if selfie else None,
            liveness=_frames(found.get("liveness"), folder),
            job_type=job_type if kind in (None, "") else _type(kind),
            job_id=_text("job_id", found.get("job_id")) or None,
            callback_url=_text("callback_url", found.get("callback_url")) or None,
            params=_params(found),
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


def _type(value: object) -> int:
    number = _TYPES.get(str(value).strip().lower())
    try:
        kind = as_job_type(number or str(value))
    except ValueError:
        raise ValueError(f"job_type is {str(value)[:24]!r}: give 2 (authenticate) or 4 (register)") from None
    if kind not in (JobType.SMART_SELFIE_AUTHENTICATION, JobType.SMART_SELFIE_REGISTRATION):
        raise ValueError(f"job_type is {int(kind)}: give 2 (authenticate) or 4 (register)")
    return int(kind)


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
    selfie = picture_of(row.selfie) if row.selfie is not None else None
    frames = [picture_of(cell) for cell in row.liveness]
    if row.job_type == JobType.SMART_SELFIE_REGISTRATION:
        if selfie is None:
            raise InvalidJob(f"user {row.user_id}: there is no selfie: a registration needs one")
        return Job.register(
            row.user_id,
            selfie,
            liveness=frames,
            job_id=job_id,
            partner_params=row.params,
            callback_url=row.callback_url,
        )
    if selfie is None and not frames:
        # Alone, `use_enrolled_image` may approve somebody whom nobody has photographed.
        raise InvalidJob(
            f"user {row.user_id}: there is no picture: give a selfie, or frames to compare with the enrolled face"
        )
    return Job.authenticate(
        row.user_id,
        selfie,
        liveness=frames,
        job_id=job_id,
        partner_params=row.params,
        callback_url=row.callback_url,
        use_enrolled_image=selfie is None,
    )
