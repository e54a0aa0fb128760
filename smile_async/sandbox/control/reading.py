"""What an operation is told, read: JSON's values, or their texts as forms, addresses and command lines have them.

A reader raises ValueError with what the value must be. Nothing that was not asked for is passed over: a field that is
misspelt would be one that was never set.
"""

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

__all__ = ["Reader", "anything", "flag", "headers", "obj", "one_of", "read", "seconds", "steps", "text", "whole"]

Reader = Callable[[Any], Any]

_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def text(value: Any) -> str:
    """A text that is not empty."""
    if isinstance(value, str) and value:
        return value
    raise ValueError("must be a text")


def one_of(words: Collection[str]) -> Reader:
    """One of *words*."""

    def read_word(value: Any) -> str:
        if isinstance(value, str) and value in words:
            return value
        raise ValueError("must be one of " + ", ".join(words))

    return read_word


def whole(least: int, most: int) -> Reader:
    """A whole number within these bounds."""

    def read_number(value: Any) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        raise ValueError(f"must be a whole number from {least} to {most}")

    return read_number


def seconds(most: float) -> Reader:
    """A number of seconds, not below 0."""

    def read_seconds(value: Any) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if 0 <= number <= most:
            return number
        raise ValueError(f"must be a number of seconds from 0 to {most:.10g}")

    return read_seconds


def flag(value: Any) -> bool:
    """True or false; "on" is what a form says of a box that is ticked."""
    found = {"true": True, "on": True, "false": False}.get(str(value).lower())
    if found is None or not isinstance(value, str | bool):
        raise ValueError("must be true or false")
    return found


def steps(value: Any) -> list[tuple[float, str]]:
    """Results one after the other, each `[seconds after the one before, code]`."""
    try:
        return [(seconds(math.inf)(wait), text(code)) for wait, code in value]
    except (TypeError, ValueError):
        raise ValueError('must be a list of [seconds, code], such as [[7200, "1220"]]') from None


def obj(value: Any) -> dict[str, Any]:
    """An object of JSON."""
    if isinstance(value, dict):
        return value
    raise ValueError("must be an object of JSON")


def anything(value: Any) -> str | dict[str, Any]:
    """The body of a reply: a text, or an object that is sent as JSON."""
    if isinstance(value, str | dict):
        return value
    raise ValueError("must be a text or an object of JSON")


def headers(value: Any) -> dict[str, str]:
    """Names and values of headers."""
    for name, each in obj(value).items():
        if not (_HEADER.fullmatch(name) and isinstance(each, str) and each.isascii() and each.isprintable()):
            raise ValueError("must be an object of names and texts as HTTP allows them")
    return dict(value)


def read(
    given: Mapping[str, Any], takes: Mapping[str, Reader], needs: Collection[str], nulls: Collection[str]
) -> dict[str, Any]:
    """What *given* says of the fields it *takes*, None where one of *nulls* is null or empty.

    Raises ValueError, in words that say what to give.
    """
    if strange := [name for name in given if name not in takes]:
        fields = ", ".join(takes) or "no fields"
        raise ValueError(f"there is no field {str(strange[0])[:60]!r}: it takes {fields}")
    said: dict[str, Any] = {}
    for name, value in given.items():
        if value is not None and value != "":
            try:
                said[name] = takes[name](value)
            except ValueError as error:
                raise ValueError(f"{name} {error}") from None
        elif name in nulls:
            said[name] = None
    if lacking := [name for name in needs if name not in said]:
        raise ValueError("give " + " and ".join(lacking))
    return said
