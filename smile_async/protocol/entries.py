"""Lists of strangers, read entry by entry: what is odd in one is left out and costs none of the others."""

from collections.abc import Iterator, Mapping
from typing import Any

from smile_async.jobs.catalogue import DocumentType

__all__ = ["as_object", "items", "pairs", "read_documents", "text", "texts"]


def as_object(value: object) -> Mapping[str, Any]:
    """*value*, empty if it is no object."""
    return value if isinstance(value, dict) else {}


def pairs(value: object) -> Iterator[tuple[str, Any]]:
    """The names and values of an object, none of anything else."""
    return iter(as_object(value).items())


def items(value: object) -> Iterator[Mapping[str, Any]]:
    """The objects in a list that have anything in them."""
    return filter(None, map(as_object, value)) if isinstance(value, list) else iter(())


def text(said: Mapping[str, Any], name: str) -> str:
    """The text of that *name*, "" if there is none."""
    value = said.get(name)
    return value if isinstance(value, str) else ""


def texts(value: object) -> tuple[str, ...]:
    """The texts in a list."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def read_documents(found: Mapping[str, Any]) -> tuple[DocumentType, ...]:
    """The documents of all countries."""
    return tuple(
        DocumentType(
            country=text(of, "code"),
            id_type=text(kind, "code"),
            name=text(kind, "name"),
            country_name=text(of, "name"),
            continent=text(of, "continent"),
            has_back=kind["has_back"] if isinstance(kind.get("has_back"), bool) else None,
            examples=texts(kind.get("example")),
        )
        for listed in items(found["valid_documents"])
        for of in [as_object(listed.get("country"))]
        for kind in items(listed.get("id_types"))
    )
