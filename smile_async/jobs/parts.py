"""The parts of a job from flat words: what a manifest's cells and a command line have in common.

Which parts there are to make says the product; each takes the words it knows, and a word that none takes is refused.
"""

from collections.abc import Callable, Mapping
from typing import Any

from smile_async.errors import InvalidJob
from smile_async.jobs.document import Document
from smile_async.jobs.id_info import IdInfo
from smile_async.jobs.person import Consent, Person
from smile_async.jobs.pictures import ImageSource
from smile_async.jobs.product import ProductSpec
from smile_async.jobs.screening import Screening

__all__ = ["PERSON", "consent_from", "field_flaw", "field_of", "parts_of"]

_FLAGS = {"true": True, "false": False}
#: Words that stand for several, with a `;` between them, and those that stand for a yes or a no.
_LISTS = ("countries", "aliases")
_SWITCHES = ("strict_match", "search_existing_user")
#: The words each part takes, by the name of the part.
_WORDS: Mapping[str, frozenset[str]] = {
    "id_info": frozenset(IdInfo.WHOLE) - {"extra"},
    "document": frozenset({"country", "id_type"}),
    "screening": frozenset(Screening.WHOLE),
}
_EXTRA = "extra."
#: Words about the person, such as `person.given_names`: an id has names too.
PERSON = "person."
_PERSON_WORDS = frozenset(f"{PERSON}{name}" for name in Person.WHOLE)


def field_of(word: str) -> str:
    """The field that *word* means, such as id_number for `number`; "" if there is none."""
    word = {"type": "id_type", "number": "id_number"}.get(word, word)
    known = word in _PERSON_WORDS or any(word in words for words in _WORDS.values())
    return word if known or (word.startswith(_EXTRA) and len(word) > len(_EXTRA)) else ""


def field_flaw(value: object) -> str:
    """What is wrong with *value* as a field, and the cure, without repeating it: all are texts; "" if nothing is."""
    if isinstance(value, str | None):
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "is a number, which has lost its leading zeros: give a text"
    return f"is {type(value).__name__}: give a text"


def parts_of(
    spec: ProductSpec, said: Mapping[str, str], *, front: ImageSource | None = None, back: ImageSource | None = None
) -> dict[str, Any]:
    """Id info, document, screening and person of a job of *spec*, of the fields *said* and a card's pictures.

    Raises InvalidJob, whose message repeats none of it.
    """
    about = {word.removeprefix(PERSON): text for word, text in said.items() if word.startswith(PERSON)}
    made: dict[str, Any] = {"person": _person(about)} if about else {}
    taken = {f"{PERSON}{word}" for word in about}
    for part, make in _MAKERS.items():
        if part in spec.takes and (words := _words(part, said)) and (part != "document" or front is not None):
            made[part] = make(words, front, back)
        if part in spec.takes:
            taken |= {*_words(part, said)}
    strange = sorted({*said} - taken)
    if strange:
        raise InvalidJob(f"{spec.title} takes no {strange[0]}: leave it out")
    if (front is not None or back is not None) and "document" not in made:
        cure = "give country and front" if "document" in spec.takes else "leave it out"
        raise InvalidJob(f"{spec.title}: there is nothing to do with a picture of a card as it is: {cure}")
    return made


def _person(words: Mapping[str, str]) -> Person:
    for name in ("given_names", "last_name"):
        if name not in words:
            raise InvalidJob(f"person: there is no {name}: give one")
    return Person(**words)


def consent_from(said: Mapping[str, Any]) -> Consent | Mapping[str, Any]:
    """The consent of a job: as V3 needs it where *said* names a privacy policy, else what v1 takes as it is."""
    if "privacy_policy_url" not in said:
        return said
    strange = sorted({*said} - {*Consent.__dataclass_fields__})
    if strange:
        raise InvalidJob(f"consent: {strange[0][:24]} is unknown: give {', '.join(Consent.__dataclass_fields__)}")
    return Consent(**said)


def _words(part: str, said: Mapping[str, str]) -> dict[str, str]:
    extra = _EXTRA if part == "id_info" else None
    return {name: value for name, value in said.items() if name in _WORDS[part] or (extra and name.startswith(extra))}


def _id_info(words: Mapping[str, str], _front: object, _back: object) -> IdInfo:
    for name in ("country", "id_type"):
        if not words.get(name):
            raise InvalidJob(f"id_info: there is no {name}: give one")
    extra = {name.removeprefix(_EXTRA): value for name, value in words.items() if name.startswith(_EXTRA)}
    return IdInfo(**{name: value for name, value in words.items() if not name.startswith(_EXTRA)}, extra=extra or None)


def _document(words: Mapping[str, str], front: Any, back: Any) -> Document:
    return Document(words.get("country", ""), front, back, words.get("id_type"))


def _screening(words: Mapping[str, str], _front: object, _back: object) -> Screening:
    told: dict[str, Any] = {"full_name": None, "countries": (), **words}
    for name in _LISTS:
        if name in words:
            told[name] = [each.strip() for each in words[name].split(";") if each.strip()]
    for name in _SWITCHES:
        if name in words:
            told[name] = _FLAGS.get(words[name].lower(), words[name])
    return Screening(**told)


_MAKERS: Mapping[str, Callable[[Mapping[str, str], Any, Any], Any]] = {
    "id_info": _id_info,
    "document": _document,
    "screening": _screening,
}
