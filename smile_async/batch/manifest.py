"""Read a manifest of any size, row by row: CSV or JSON lines, as spreadsheets and programs write them.

A row that can not be used is a `Flaw` with its line and the reason, never an exception: the other 999,999 rows are
somebody's too. Only what makes every row useless (no such file, no columns) is raised.
"""

import csv
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import orjson

from smile_async.errors import BadConfiguration, InvalidJob
from smile_async.jobs.image import Image, is_uri, shown
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import JobType
from smile_async.jobs.ticket import job_type as as_job_type
from smile_async.traffic.fetching import matching

__all__ = ["Flaw", "Row", "job_of", "read_manifest"]

#: Characters; a line that is longer is not one of a manifest (a missing quote swallows the rest of the file).
LONGEST_LINE = 1_000_000
_PLAIN = {"key", "user_id", "selfie", "liveness", "job_type", "job_id", "callback_url"}
_REQUIRED = ("user_id", "selfie")
_TYPES = {"authenticate": 2, "register": 4, "authentication": 2, "registration": 4}


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
    try:
        # utf-8-sig: a spreadsheet begins its files with a byte-order mark. newline="": csv wants to see the CRLF.
        # surrogateescape: a line in another encoding is a flaw of that line, not the end.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            table = _csv_rows(file) if path.suffix.lower() in (".csv", ".tsv", ".txt") else _json_rows(file)
            for line, found in table:
                if isinstance(found, str):
                    yield Flaw(line, found)
                else:
                    yield _row(line, found, path.parent, job_type)
    except OSError as error:
        raise BadConfiguration(f"the manifest {path} can not be read ({error.strerror}): check the path") from None


def _csv_rows(file: TextIO) -> Iterator[tuple[int, dict[str, Any] | str]]:
    # A quote that is never closed must not draw the whole file into memory.
    csv.field_size_limit(LONGEST_LINE)
    first = file.readline(LONGEST_LINE)
    separator = max(",;\t", key=first.count)
    reader = csv.reader(itertools.chain([first], file), delimiter=separator, strict=True)
    names = [name.strip() for name in next(reader, [])]
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise BadConfiguration(f"line 1: the column {missing[0]} is missing: name the columns in the first line")
    strange = [name for name in names if name not in _PLAIN and not name.startswith("param.")]
    if strange:
        raise BadConfiguration(f"line 1: the column {strange[0]!r} is unknown: call a partner parameter param.NAME")
    if len(set(names)) < len(names):
        raise BadConfiguration("line 1: two columns have the same name")
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, f"is not CSV ({error})"
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(names):
            yield line, f"has {len(cells)} cells, the heading {len(names)}: quote cells that hold a {separator!r}"
        else:
            yield line, dict(zip(names, (cell.strip() for cell in cells), strict=True))


def _json_rows(file: TextIO) -> Iterator[tuple[int, dict[str, Any] | str]]:
    line = 0
    while text := file.readline(LONGEST_LINE):
        line += 1
        if not text.strip():
            continue
        try:
            found = orjson.loads(text.encode("utf-8", "surrogateescape"))
        except orjson.JSONDecodeError as error:
            yield line, f"is not JSON ({error})"
            continue
        if not isinstance(found, dict):
            yield line, f"is a {type(found).__name__}: give one object a line"
            continue
        strange = [name for name in found if name not in _PLAIN | {"params"} and not name.startswith("param.")]
        yield line, f"has an unknown field {strange[0]!r}" if strange else found


def _row(line: int, found: dict[str, Any], beside: Path, job_type: int) -> Row | Flaw:
    user_id = None
    try:
        user_id, key = _text(found, "user_id"), _text(found, "key")
        if not user_id:
            return Flaw(line, "has no user_id")
        selfie = _text(found, "selfie")
        params = {str(name): str(value) for name, value in (found.get("params") or {}).items()}
        params |= {name[6:]: str(value) for name, value in found.items() if name.startswith("param.") and value != ""}
        for name, value in params.items():
            _utf8(f"param.{name}", f"{name}{value}")
        return Row(
            line=line,
            key=key or user_id,
            user_id=user_id,
            selfie=_beside(selfie, beside) if selfie else None,
            liveness=_frames(found.get("liveness"), beside),
            job_type=_type(found.get("job_type") or job_type),
            job_id=_text(found, "job_id") or None,
            callback_url=_text(found, "callback_url") or None,
            params=params,
        )
    except (ValueError, AttributeError) as error:
        return Flaw(line, str(error), user_id or None)


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{name} is {type(value).__name__}: give a text")  # noqa: TRY004 - a flaw of the row
    return _utf8(name, str(value))


def _utf8(name: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{ascii(name)[1:-1]} is not UTF-8: save the manifest as UTF-8") from None
    return text


def _type(value: object) -> int:
    number = _TYPES.get(str(value).strip().lower())
    try:
        kind = as_job_type(number or str(value))
    except ValueError:
        raise ValueError(f"job_type is {value!r}: give 2 (authenticate) or 4 (register)") from None
    if kind not in (JobType.SMART_SELFIE_AUTHENTICATION, JobType.SMART_SELFIE_REGISTRATION):
        raise ValueError(f"job_type is {int(kind)}: give 2 (authenticate) or 4 (register)")
    return int(kind)


def _frames(given: object, beside: Path) -> tuple[str, ...]:
    """One picture, several with `;` between them, a JSON list, or a pattern such as `ada/frame_*.jpg`."""
    if isinstance(given, str) and given.lstrip().startswith("["):
        given = orjson.loads(given)
    names = given.split(";") if isinstance(given, str) else list(given or ())  # type: ignore[call-overload]
    found: list[str] = []
    for name in names:
        if not isinstance(name, str):
            raise ValueError(f"liveness holds {type(name).__name__}: give paths")  # noqa: TRY004
        if _utf8("liveness", name).strip():
            found.extend(_matches(_beside(name.strip(), beside)))
    return tuple(found)


def _matches(path: str) -> list[str]:
    found = [path] if is_uri(path) else matching(path)
    if not found:
        raise ValueError(f"liveness: no file matches {shown(path)}")
    return found


def _beside(cell: str, folder: Path) -> str:
    return cell if picture_of(cell).uri else str(folder / cell)


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
    return Job.authenticate(
        row.user_id,
        selfie,
        liveness=frames,
        job_id=job_id,
        partner_params=row.params,
        callback_url=row.callback_url,
        use_enrolled_image=selfie is None,
    )
