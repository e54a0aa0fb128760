"""Id fields from standard input, a file or the environment: a command line is read by everybody on the machine."""

import os
import sys
from pathlib import Path

import orjson
import typer

from smile_async.jobs.parts import field_flaw, field_of

__all__ = ["id_fields"]

#: The variable that an id number may stand in.
VARIABLE = "SMILE_ID_NUMBER"
#: Characters; more is no id number, nor an object of fields.
LONGEST = 100_000


def id_fields(number: str | None, info: str | None, *, looked_up: bool) -> dict[str, str]:
    """The fields that --id-number and --id-info lead to, by the names under which they travel.

    *looked_up*: whether the product looks a number up, and SMILE_ID_NUMBER is meant where none was given. Raises
    typer.BadParameter, which repeats nothing of it.
    """
    if number == info == "-":
        raise typer.BadParameter("--id-number and --id-info can not both be read from standard input")
    said = {} if info is None else _object(_read("--id-info", info))
    if number is not None:
        said["id_number"] = _read("--id-number", number)
    elif looked_up and "id_number" not in said and (known := os.environ.get(VARIABLE)):
        said["id_number"] = known
    return said


def _read(option: str, place: str) -> str:
    try:
        if place == "-":
            text = sys.stdin.read(LONGEST)
        elif place.startswith("@"):
            with Path(place[1:]).open(encoding="utf-8-sig") as file:
                text = file.read(LONGEST)
        else:
            why = "everybody on this machine can read a command line"
            raise typer.BadParameter(f"{option} takes '-' (standard input) or @FILE: {why}")
    except OSError as error:
        raise typer.BadParameter(f"{option}: the file can not be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{option} is no UTF-8 text") from None
    text = text.removeprefix("\ufeff").strip()
    if not text:
        raise typer.BadParameter(f"{option}: there is nothing in it")
    return text


def _object(text: str) -> dict[str, str]:
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        raise typer.BadParameter("--id-info is no JSON object: give names and texts")
    said: dict[str, str] = {}
    for word, value in given.items():
        name, why = field_of(word), field_flaw(value)
        if not name or why:
            raise typer.BadParameter(f"--id-info: {word[:24]} {why or 'is not known: call one of your own extra.NAME'}")
        if value is not None:
            said[name] = value
    return said
