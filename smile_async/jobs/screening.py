"""Whom an AML check looks for in lists of sanctions, of politically exposed persons and of news (wire.md §13)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from smile_async.errors import InvalidJob
from smile_async.jobs.private import Private, country_flaw, text_flaw

__all__ = ["Screening"]

_YEAR = re.compile(r"\d{4}", re.ASCII)


class _Person(Private):
    """What repr and serialisers do not see."""

    __slots__ = ("aliases", "birth_year", "full_name")
    full_name: str | None
    birth_year: str | None
    aliases: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Screening(_Person):
    """A name with nationalities, and perhaps a year of birth and other names, as `Job.aml_check` takes them."""

    WHOLE: ClassVar[tuple[str, ...]] = (
        *("full_name", "countries", "birth_year", "aliases", "strict_match", "search_existing_user"),
    )

    countries: tuple[str, ...]
    strict_match: bool
    search_existing_user: bool

    def __init__(
        self,
        full_name: str | None,
        countries: Iterable[str],
        *,
        birth_year: str | int | None = None,
        aliases: Iterable[str] = (),
        strict_match: bool = True,
        search_existing_user: bool = False,
    ) -> None:
        is_year = isinstance(birth_year, int) and not isinstance(birth_year, bool)
        self._keep({"full_name": full_name, "birth_year": str(birth_year) if is_year else birth_year})
        self._keep({"countries": _several(countries), "aliases": _several(aliases)})
        self._keep({"strict_match": strict_match, "search_existing_user": search_existing_user})
        # Once it is kept no frame of a traceback holds it.
        del full_name, countries, birth_year, aliases
        why = _flaw(self)
        if why:
            raise InvalidJob(f"aml check: {why}")

    def fields(self) -> dict[str, Any]:
        """All that was given, by the names under which it travels."""
        given = {name: getattr(self, name) for name in self.WHOLE}
        return {name: value for name, value in given.items() if value not in (None, ())}


def _several(given: object) -> Any:
    """A tuple of what *given* yields, or itself where it is one text, or nothing to go through."""
    return given if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)


def _flaw(wanted: Screening) -> str:
    for name in ("strict_match", "search_existing_user"):
        flag: object = getattr(wanted, name)
        if not isinstance(flag, bool):
            return f"{name} is {type(flag).__name__}: give True or False"
    for name, each in (("countries", country_flaw), ("aliases", text_flaw)):
        several: object = getattr(wanted, name)
        if not isinstance(several, tuple):
            return f"{name} is one {type(several).__name__}: give a list"
        why = next(filter(None, map(each, several)), "")
        if why:
            return f"one of {name} {why}"
    if not wanted.countries:
        return "there is no country: give the nationalities"
    why = "" if wanted.full_name is None and wanted.search_existing_user else text_flaw(wanted.full_name)
    if why:
        return f"full_name {why}"
    year: object = wanted.birth_year
    fit = year is None or (isinstance(year, str) and _YEAR.fullmatch(year) is not None)
    return "" if fit else "birth_year is no year: give four digits"
