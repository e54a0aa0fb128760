"""Values about a person: whole for who asks by name, and for pickle; for repr and serialisers hardly anything.

What may be seen are the dataclass's fields; the rest stands in slots of a base class, where neither `repr` nor
`dataclasses.asdict`, pydantic, orjson or a web framework's encoder looks.
"""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

from smile_async.jobs.ticket import encodes

__all__ = ["COUNTRY_FLAW", "Private", "country_flaw", "text_flaw"]

#: Characters; our own cap, no length is published.
LONGEST_TEXT = 1_000
#: Characters; what is shorter ("M", "co") tells nothing, and stands in many a word.
SHORTEST_SECRET = 3
COUNTRY_FLAW = "give the two capital letters of ISO 3166, such as NG"


class Private:
    """A value that compares, copies and pickles whole."""

    __slots__ = ()
    #: All it holds, in the order of its constructor.
    WHOLE: ClassVar[tuple[str, ...]]

    def _keep(self, values: dict[str, Any]) -> Self:
        for name, value in values.items():
            object.__setattr__(self, name, MappingProxyType(value) if isinstance(value, dict) else value)
        return self

    def _values(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.WHOLE}

    def hidden_in(self, text: str) -> str:
        """*text* with an ellipsis in place of everything in it that repr would not show."""
        for told in sorted(self._hidden(), key=len, reverse=True):
            text = re.sub(re.escape(told), "…", text, flags=re.IGNORECASE)
        return text

    def _hidden(self) -> Iterator[str]:
        left = [getattr(self, name) for name in self.WHOLE if name not in self.__dataclass_fields__]  # type: ignore[attr-defined]
        while left:
            value = left.pop()
            if isinstance(value, Mapping):
                left += value.values()
            elif isinstance(value, list | tuple):
                left += value
            elif isinstance(value, str) and len(value) >= SHORTEST_SECRET:
                yield value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Private) or type(other) is not type(self):
            return NotImplemented
        return self._values() == other._values()

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in self.__dataclass_fields__))  # type: ignore[attr-defined]

    def __reduce__(self) -> tuple[Any, ...]:
        return _revived, (type(self), self._values())


def _revived(kind: type[Private], values: dict[str, Any]) -> Private:
    return object.__new__(kind)._keep(values)  # noqa: SLF001 - its other half


def text_flaw(value: object) -> str:
    """What is wrong with *value* as a text about a person, and the cure, without repeating it; "" if nothing is."""
    if isinstance(value, int) and not isinstance(value, bool):
        return "is a number, which has lost its leading zeros: give a text"
    if not isinstance(value, str):
        return f"is {type(value).__name__}: give a text"
    if not value.strip():
        return "is empty: leave it out"
    if len(value) > LONGEST_TEXT:
        return f"has {len(value):,} characters: at most {LONGEST_TEXT:,} are allowed"
    return "" if encodes(value) else "holds half a surrogate pair: give valid text"


def country_flaw(value: object) -> str:
    """What is wrong with *value* as a country, and the cure; "" if nothing is."""
    if not isinstance(value, str):
        return f"is {type(value).__name__}: {COUNTRY_FLAW}"
    fit = len(value) == len("NG") and value.isascii() and value.isalpha() and value.isupper()
    # A long one may be a number or a name that stands in the wrong place.
    return "" if fit else f"is {value!r}: {COUNTRY_FLAW}" if len(value) <= len("NGA") else f"is none: {COUNTRY_FLAW}"
