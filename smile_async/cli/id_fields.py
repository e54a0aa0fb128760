"""Whom a job is about, from standard input, a file or the environment: everybody on a machine reads command lines."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import orjson
import typer

from smile_async.jobs.parts import PERSON, field_flaw, field_of

__all__ = ["id_fields"]

#: The variable that an id number may stand in.
VARIABLE = "SMILE_ID_NUMBER"
#: Characters; more is no id number, nor an object of fields.
LONGEST = 100_000


def id_fields(
    number: str | None, info: str | None, person: str | None, named: Mapping[str, str | None], *, looked_up: bool
) -> dict[str, str]:
    """The fields that --id-number, --id-info and --person lead to, by the names under which they travel.

    *named*: what options say of the person, and say last. *looked_up*: whether the product looks a number up, and
    SMILE_ID_NUMBER is meant where none was given. Raises typer.BadParameter, which repeats nothing of it.
    """
    piped = [name for name, at in (("number", number), ("info", info), ("person", person)) if at == "-"]
    if len(piped) > 1:
        first, second = ("--person" if name == "person" else f"--id-{name}" for name in piped[:2])
        raise typer.BadParameter(f"{first} and {second} can not both be read from standard input")
    said = {} if info is None else _object("--id-info", _read("--id-info", info))
    said |= {} if person is None else _object("--person", _read("--person", person), PERSON)
    said |= {f"{PERSON}{name}": text for name, text in named.items() if text is not None}
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


def _object(option: str, text: str, prefix: str = "") -> dict[str, str]:
    try:
        given = orjson.loads(text)
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        raise typer.BadParameter(f"{option} is no JSON object: give names and texts")
    said: dict[str, str] = {}
    for word, value in given.items():
        name, why = field_of(f"{prefix}{word}"), field_flaw(value)
        if not name or why:
            cure = "" if prefix else ": call one of your own extra.NAME"
            raise typer.BadParameter(f"{option}: {word[:24]} {why or f'is not known{cure}'}")
        if value is not None:
            said[name] = value
    return said
