"""A card, a passport or another document, by its pictures."""

from dataclasses import dataclass
from typing import ClassVar

from smile_async.errors import InvalidJob
from smile_async.jobs.image import Image, flaw
from smile_async.jobs.pictures import ImageSource, picture
from smile_async.jobs.private import Private, country_flaw, text_flaw

__all__ = ["Document"]


class _Pictures(Private):
    """What repr and serialisers do not see."""

    __slots__ = ("back", "front")
    front: Image
    back: Image | None


@dataclass(frozen=True, slots=True, eq=False, init=False)
class Document(_Pictures):
    """A document of *country* (two capital letters): its *front*, and its *back* where it has one.

    *id_type* is the provider's word for what it is, such as PASSPORT; without one it looks for itself, where the
    product allows that. Pictures are given as for a `Job`. Repr, `dataclasses.asdict` and serialisers show country and
    id_type alone; it pickles whole. Raises InvalidJob.
    """

    WHOLE: ClassVar[tuple[str, ...]] = ("country", "front", "back", "id_type")

    country: str
    id_type: str | None

    def __init__(
        self, country: str, front: ImageSource, back: ImageSource | None = None, id_type: str | None = None
    ) -> None:
        self._keep({"country": country, "id_type": id_type, "back": None})
        why = "front is missing: a back alone tells nothing" if front is None else ""
        try:
            if not why:
                self._keep({"front": picture(front, "front", "document")})
            if back is not None:
                self._keep({"back": picture(back, "back", "document")})
        finally:
            # So that no frame of a traceback holds raw image bytes.
            del front, back
        why = why or _flaw(self)
        if why:
            raise InvalidJob(f"document: {why}")

    def fields(self) -> dict[str, str | None]:
        """What it is said to be, beside its pictures."""
        return {"country": self.country, "id_type": self.id_type}

    def spent(self) -> "Document":
        """The same document without image content."""
        kept = {"front": self.front.spent(), "back": self.back and self.back.spent()}
        return object.__new__(Document)._keep(self._values() | kept)  # noqa: SLF001 - its own


def _flaw(document: Document) -> str:
    why = country_flaw(document.country)
    if why:
        return f"country {why}"
    why = "" if document.id_type is None else text_flaw(document.id_type)
    if why:
        return f"id_type {why}"
    for name in ("front", "back"):
        image = getattr(document, name)
        why = "" if image is None or image.content is None else flaw(image.content, image.trusted)
        if why:
            return f"{name} {why}"
    return ""
