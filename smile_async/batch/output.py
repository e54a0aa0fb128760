"""Write what became of each row: one line a row, from the ledger, put in place whole or not at all.

Rendered from the ledger and not as verdicts come: a file that grows with the run could say less, or more, than the
ledger after a crash. Cells that a spreadsheet would run as a formula are defused; a manifest may have them like that.
"""

import contextlib
import csv
import io
import os
import tempfile
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio.to_thread
import orjson

from smile_async.batch.formulas import defused
from smile_async.errors import BadConfiguration
from smile_async.ledger.batches import Batches
from smile_async.ledger.rows import product_in

__all__ = ["COLUMNS", "check_out", "check_place", "render", "result_of", "write_whole"]

#: What a line says; the first five are promised to every reader.
COLUMNS = (
    *("user_id", "job_id", "decision", "code", "final"),
    *("key", "line", "job_type", "smile_job_id", "state", "text", "confidence", "attempts"),
    *("error", "error_text", "accepted_at", "decided_at", "product"),
)
_ROWS = 2_000


def result_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the ledger as a line of the result; `decision` is "" while there is none."""
    return {
        "user_id": row["user_id"],
        "job_id": row["job_id"],
        "decision": row["decision"] or "",
        "code": row["code"] or row["error_code"] or "",
        "final": bool(row["final"]),
        "key": row["row_key"] or "",
        "line": row["line"],
        "job_type": row["job_type"],
        "smile_job_id": row["smile_job_id"] or "",
        "state": str(row["state"]),
        "text": row["text"] or "",
        "confidence": row["confidence"],
        "attempts": row["attempts"],
        "error": row["error"] or "",
        "error_text": row["error_text"] or "",
        "accepted_at": _when(row["accepted_at"]),
        "decided_at": _when(row["decided_at"]),
        "product": str(product_in(row) or ""),
    }


def _when(moment: float | None) -> str:
    return "" if moment is None else datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")


def check_place(out: Path, *kept: Path) -> None:
    """Raise BadConfiguration unless a file can be put at *out*, and would replace none of *kept*. Blocking."""
    if out.is_dir():
        raise BadConfiguration(f"{out} is a directory: name a file in it")
    if any(out.resolve() == each.resolve() or (out.exists() and each.exists() and out.samefile(each)) for each in kept):
        raise BadConfiguration(f"{out} is taken by what the batch reads or keeps on record: choose another name")
    try:
        tempfile.TemporaryFile(dir=out.absolute().parent).close()
    except OSError as error:
        raise BadConfiguration(f"{out} can not be written: {error.strerror} ({out.absolute().parent})") from None


def check_out(out: Path, *kept: Path) -> None:
    """Raise BadConfiguration unless `render` can write to *out*, and would replace none of *kept*. Blocking."""
    if _format_of(out) is _Parquet:
        _arrow()
    check_place(out, *kept)


async def render(batches: Batches, name: str, out: Path) -> int:
    """Write the result of batch *name* to *out* (.jsonl, .csv or .parquet); how many lines. Raises BadConfiguration."""
    make = _format_of(out)
    lines = 0
    with _replacing(out) as path:
        writer = make(path)
        try:
            async for page in _pages(batches, name):
                await anyio.to_thread.run_sync(writer.write, page)
                lines += len(page)
        finally:
            writer.close()
    return lines


async def _pages(batches: Batches, name: str) -> AsyncIterator[list[dict[str, Any]]]:
    page: list[dict[str, Any]] = []
    async for row in batches.rows(name):
        page.append(result_of(row))
        if len(page) == _ROWS:
            yield page
            page = []
    yield page


@contextlib.contextmanager
def _replacing(out: Path) -> Any:
    """A private file that takes the place of *out* when the block is left well."""
    path: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(dir=out.absolute().parent, prefix=f".{out.name}.")  # mkstemp makes it 0600
        os.close(descriptor)
        path = Path(name)
        yield path
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.replace(out)
    except OSError as error:
        if error.errno is None:  # one of pyarrow's own, all words
            raise
        # The name of the private file tells nobody anything.
        raise OSError(error.errno, error.strerror, str(out)) from None
    finally:
        if path is not None:
            path.unlink(missing_ok=True)


def write_whole(out: Path, text: str) -> None:
    """Put *text* into *out*, for its owner only, whole or not at all."""
    with _replacing(out) as path:
        path.write_text(text, encoding="utf-8")


class _Lines:
    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def write(self, page: list[dict[str, Any]]) -> None:
        self._file.write(b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in page))

    def close(self) -> None:
        self._file.close()


class _Table:
    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        csv.writer(self._file).writerow(COLUMNS)

    def write(self, page: list[dict[str, Any]]) -> None:
        held = io.StringIO()
        csv.writer(held).writerows([_cell(line[name]) for name in COLUMNS] for line in page)
        self._file.write(held.getvalue())

    def close(self) -> None:
        self._file.close()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return defused(value) if isinstance(value, str) else value


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa  # noqa: PLC0415 - an extra of its own, of 100 MB
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise BadConfiguration("--out *.parquet needs pyarrow: run  pip install 'smile-async[parquet]'") from None
    return pa, parquet


class _Parquet:
    def __init__(self, path: Path) -> None:
        pa, parquet = _arrow()
        kinds = {"final": pa.bool_(), "line": pa.int64(), "job_type": pa.int32()}
        kinds |= {"confidence": pa.float64(), "attempts": pa.int32()}
        self._arrow = pa
        self._schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
        self._file = parquet.ParquetWriter(str(path), self._schema)

    def write(self, page: list[dict[str, Any]]) -> None:
        self._file.write_table(self._arrow.Table.from_pylist(page, schema=self._schema))

    def close(self) -> None:
        self._file.close()


def _format_of(out: Path) -> Any:
    make = _FORMATS.get(out.suffix.lower())
    if make is None:
        raise BadConfiguration(f"{out}: name a .jsonl, .csv or .parquet file")
    return make


_FORMATS: dict[str, Any] = {".jsonl": _Lines, ".ndjson": _Lines, ".csv": _Table, ".parquet": _Parquet}
