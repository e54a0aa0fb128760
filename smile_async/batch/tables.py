"""A manifest as records: the lines of a table that a spreadsheet has saved, or of JSON that a program has written.

Whatever one line is like, the next is read, and is called by the number that an editor shows. Spreadsheets add a line
that names the separator, blank lines, columns without a name, and leave out the last cells of a line: none is an error.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, TextIO

import orjson

from smile_async.batch.encodings import SAVE, encoding_of
from smile_async.batch.formulas import restored
from smile_async.errors import BadConfiguration
from smile_async.jobs.parts import PERSON, field_of
from smile_async.jobs.person import Consent

__all__ = ["records"]

#: Characters; a line that is longer is not one of a manifest (a missing quote swallows the rest of the file).
LONGEST_LINE = 1_000_000
_PLAIN = {"key", "user_id", "selfie", "liveness", "product", "job_type", "job_id", "callback_url"}
_PLAIN |= {"front", "back", "use_enrolled_image", "allow_new_enroll", "comparison", "comparison_type"}
#: Columns that hold fields of their own; a JSON line may have an object under the plural, or under the very name.
_PREFIXES = ("param.", "id.", PERSON, "consent.")
_OBJECTS = ("params", "id", "person", "consent")
#: Columns about people, whose names are ours: in any case of letters, and shown in no message.
_PERSONAL = ("id.", PERSON)
#: One of these says what is to be looked at: a face, a card, or what an authority is to find.
_SUBJECTS = ("selfie", "front")
#: What a result holds too, so that one's cells may have come back as the other's.
_IDS = ("user_id", "key", "job_id")
_SEPARATORS = ",;\t|"
_HINT = re.compile(r'"?sep=(.)"?[,;\t]*\s*', re.IGNORECASE)
#: A long number as a spreadsheet shows it, and the words by which it says that a formula went wrong.
_SPOILT = re.compile(r"\d([.,]\d+)?E\+\d+|#(N/A|NAME\?|REF!|VALUE!|NUM!|DIV/0!|NULL!)")


def records(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Line and fields of each record of *path* (.csv, .tsv, .txt, else JSON lines), or what is wrong with it.

    Raises BadConfiguration, and OSError.
    """
    with path.open("rb") as raw:
        # What a program pipes in can not be read twice.
        encoding = encoding_of(raw, path) if raw.seekable() else "utf-8-sig"
        # What can not be read is the flaw of its row, which holds U+FFFD then. newline="": csv wants to see the CRLF.
        with io.TextIOWrapper(raw, encoding, "replace", newline="") as file:
            table = path.suffix.lower() in (".csv", ".tsv", ".txt")
            yield from (_csv_rows if table else _json_rows)(_Lines(file), path)


class _Lines(Iterator[str]):
    """The lines of *file*, counted; csv.Error in place of one that is too long, which is never held whole."""

    def __init__(self, file: TextIO) -> None:
        self.number = 0
        self._file = file

    def __next__(self) -> str:
        line = self._file.readline(LONGEST_LINE)
        if not line:
            raise StopIteration
        self.number += 1
        piece = line
        while len(piece) == LONGEST_LINE and not piece.endswith(("\n", "\r")):
            piece = self._file.readline(LONGEST_LINE)
        if piece is not line:
            raise csv.Error(f"it is longer than {LONGEST_LINE:,} characters")
        # Of the second of two files that were put one after the other.
        return line.removeprefix("\ufeff")


def _csv_rows(lines: _Lines, path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    # A quote that is never closed must not draw the whole file into memory.
    csv.field_size_limit(LONGEST_LINE)
    try:
        first = _first(lines)
        hint = _HINT.fullmatch(first)
        first = _first(lines) if hint else first
        separator = hint[1] if hint else max(_SEPARATORS, key=first.count)
        reader = csv.reader(chain([first], lines), delimiter=separator, strict=True)
        heading = [cell.strip() for cell in next(reader, [])]
    except csv.Error as error:
        raise BadConfiguration(f"line {lines.number} of {path} is not CSV ({error}): {SAVE}") from None
    names = _columns(heading, lines.number, path)
    while True:
        line = lines.number + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return
        except csv.Error as error:
            yield line, f"is not CSV ({error})"
            continue
        # The heading again: two files that were put one after the other.
        if any(cells) and cells != heading:
            yield line, _fields(names, cells, separator)


def _first(lines: _Lines) -> str:
    return next((line for line in lines if line.strip(f'{_SEPARATORS}" \r\n')), "")


def _columns(heading: list[str], line: int, path: Path) -> list[str]:
    """The fields that *heading* names, "" where it names none. Raises BadConfiguration."""
    if not heading:
        raise BadConfiguration(f"the manifest {path} is empty: name the columns in its first line")
    names = [name.lower() if name.lower() in _PLAIN else name for name in heading]
    names = [_prefixed(name) for name in names]
    subjects = [name for name in names if name in _SUBJECTS or name.startswith("id.")]
    for name in ("user_id", *(() if subjects else ("selfie",))):
        if name not in names:
            # No more of it: a manifest without a heading begins with somebody's data.
            there = ", ".join(repr(each) for each in names[:9] if each.isprintable() and 0 < len(each) <= 24)
            raise BadConfiguration(f"line {line}: the column {name} is missing among {there}: name the columns first")
    for name, times in Counter(filter(None, names)).items():
        if not _known(name):
            why = f"the column {name[:24]!r} is unknown: call a partner parameter param.NAME"
            raise BadConfiguration(f"line {line}: {why}")
        if times > 1:
            raise BadConfiguration(f"line {line}: two columns have the same name, {name[:24]!r}: rename one of them")
    return names


def _prefixed(name: str) -> str:
    prefix, dot, rest = name.partition(".")
    prefix = f"{prefix.lower()}{dot}"
    return f"{prefix}{rest if prefix == 'param.' else rest.lower()}" if prefix in _PREFIXES else name


def _known(name: str) -> bool:
    prefix, _, rest = name.partition(".")
    if prefix == "param":
        return rest != ""
    if prefix == "consent":
        return rest in ("", *Consent.__dataclass_fields__)
    return name in _PLAIN or (name.startswith(_PERSONAL) and field_of(name.removeprefix("id.")) != "")


def _fields(names: list[str], cells: list[str], separator: str) -> dict[str, Any] | str:
    """What the *cells* of a line say, or what is wrong with them."""
    found: dict[str, Any] = {}
    for name, cell in zip_longest(names, cells, fillvalue=""):
        if name:
            found[name] = cell
        elif cell:
            break
    else:
        if len(cells) > max(names.index(name) for name in ("user_id", "selfie") if name in names):
            return _unspoilt(found)
    return f"has {len(cells)} cells, the heading {len(names)}: quote cells that hold a {separator!r}"


def _unspoilt(found: dict[str, Any]) -> dict[str, Any] | str:
    """The fields with their ids as they were before a spreadsheet, or which of them are lost."""
    for name, cell in found.items():
        if cell and (name in _IDS or name.startswith(_PERSONAL)):
            found[name] = restored(cell)
            if _SPOILT.fullmatch(cell):
                # Who somebody is stays out of every message.
                shown = cell if name in _IDS else "a number in short"
                return f"{name} is {shown}, not what it was before a spreadsheet: format the column as text"
    return found


def _json_rows(lines: _Lines, path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    while True:
        try:
            text = next(lines).strip()
            if lines.number == 1 and (text == "{" or text.startswith("[")):
                raise BadConfiguration(f"the manifest {path} is one JSON document: write one object a line")
            found = orjson.loads(text) if text else None
        except StopIteration:
            return
        except (csv.Error, orjson.JSONDecodeError) as error:
            yield lines.number, f"is not JSON ({error})"
            continue
        if not text:
            continue
        if not isinstance(found, dict):
            yield lines.number, f"is a {type(found).__name__}: give one object a line"
            continue
        strange = [name for name in found if name not in _OBJECTS and not _known(name)]
        yield lines.number, f"has an unknown field {strange[0][:24]!r}" if strange else found
