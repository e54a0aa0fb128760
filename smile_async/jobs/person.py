"""Whom a job is about, and what this person agreed to: every job of V3 needs both."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar

from smile_async.errors import InvalidJob
from smile_async.jobs.private import Private, text_flaw
from smile_async.urls import url_flaw

__all__ = ["Consent", "Person"]

#: As V3 wants it (v3/wire.md §3): E.164.
_PHONE = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)
#: No more than what no address lacks: the provider compares it, and nobody writes to it.
_EMAIL = re.compile(r"[^\s@]+@[^\s@]+")
_LANGUAGE = re.compile(r"[A-Z]{2}")


class _Contact(Private):
    """What repr and serialisers do not see."""

    __slots__ = ("email", "given_names", "last_name", "phone_number")
    given_names: str
    last_name: str
    email: str | None
    phone_number: str | None


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Person(_Contact):
    """A person by names, and by an e-mail address or a phone number (`+` and country code first), or both.

    Repr, `dataclasses.asdict` and serialisers show nothing of it; it pickles whole. Raises InvalidJob, whose message
    repeats none of it.
    """

    WHOLE: ClassVar[tuple[str, ...]] = ("given_names", "last_name", "email", "phone_number")

    def __init__(
        self, given_names: str, last_name: str, email: str | None = None, phone_number: str | None = None
    ) -> None:
        self._keep(dict(zip(self.WHOLE, (given_names, last_name, email, phone_number), strict=True)))
        # Once it is kept no frame of a traceback holds it.
        del given_names, last_name, email, phone_number
        why = _person_flaw(self)
        if why:
            raise InvalidJob(f"person: {why}")

    def fields(self) -> dict[str, Any]:
        """All that was given, by the names under which it travels."""
        return {name: value for name in self.WHOLE if (value := getattr(self, name)) is not None}


def _person_flaw(person: Person) -> str:
    for name in Person.WHOLE:
        value = getattr(person, name)
        why = text_flaw(value) if value is not None or name in ("given_names", "last_name") else ""
        if why:
            return f"{name} {why}"
    if person.email is None and person.phone_number is None:
        return "there is neither email nor phone_number: give one"
    if person.email is not None and not _EMAIL.fullmatch(person.email):
        return "email is no address: give one such as name@example.com"
    if person.phone_number is not None and not _PHONE.fullmatch(person.phone_number):
        return "phone_number is not + and 7 to 15 digits: give it with its country code, without blanks"
    return ""


@dataclass(frozen=True, slots=True)
class Consent:
    """A person's consent to this use of their data, by the privacy policy at *privacy_policy_url* (https).

    *language* is that of the notice, two capital letters. *granted_at* is a datetime with a zone, or an ISO 8601 text
    with one; None: the moment at which the job is sent. Raises InvalidJob.
    """

    privacy_policy_url: str
    language: str = "EN"
    granted_at: datetime | str | None = None

    def __post_init__(self) -> None:
        why = _consent_flaw(self)
        if why:
            raise InvalidJob(f"consent: {why}")

    def moment(self) -> datetime | None:
        """When it was granted, in UTC; None: when the job is sent."""
        return _moment(self.granted_at)


def _consent_flaw(consent: Consent) -> str:
    url: object = consent.privacy_policy_url
    if not isinstance(url, str):
        return f"privacy_policy_url is {type(url).__name__}: give a text"
    why = url_flaw(url) or ("" if url.startswith("https://") else "is not https: give https://host/path")
    if why:
        return f"privacy_policy_url {why}"
    if not isinstance(consent.language, str) or not _LANGUAGE.fullmatch(consent.language):
        return "language is not two capital letters: give one such as EN"
    unclear = consent.granted_at is not None and _moment(consent.granted_at) is None
    return "granted_at is no moment with a zone: give a datetime with tzinfo, or leave it out" if unclear else ""


def _moment(given: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(given) if isinstance(given, str) else given
        known = isinstance(moment, datetime) and moment.utcoffset() is not None
        return moment.astimezone(UTC) if known and isinstance(moment, datetime) else None
    except (ValueError, OverflowError):
        return None
