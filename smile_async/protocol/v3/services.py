"""What V3 lists of itself: kinds of ids, banks and documents (v3/wire.md §7); none of it needs a token.

Lists are read entry by entry: what is odd in one is left out and costs none of the others.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from smile_async.jobs.catalogue import Bank, IdType, Services
from smile_async.protocol.entries import items, read_documents, text, texts
from smile_async.protocol.steps import Call

__all__ = ["PRODUCTS", "SERVICES", "documents_call", "read_documents", "read_services"]

SERVICES: tuple[Call, ...] = (
    Call("services/supported_id_types", ("id_types",), signed=False),
    Call("services/bank_codes", ("bank_codes",), signed=False),
)
#: There is no such list.
PRODUCTS: tuple[Call, ...] = ()


def documents_call(locale: str | None) -> tuple[Call, ...]:
    """Ask which documents' pictures can be verified, named in the language of *locale*."""
    query = f"?{urlencode({'locale': locale})}" if locale else ""
    return (Call(f"services/supported_documents{query}", ("valid_documents",), signed=False),)


def read_services(found: Mapping[str, Any]) -> Services:
    """Kinds of ids by country and type, several of one name among them, and the banks."""
    kinds = tuple(
        IdType(
            product="",
            country=text(kind, "country"),
            id_type=text(kind, "type"),
            label=text(kind, "label"),
            required_fields=texts(kind.get("required_fields")),
            number_pattern=text(kind, "regex"),
        )
        for kind in items(found.get("id_types"))
    )
    banks = (Bank(text(bank, "name"), text(bank, "code")) for bank in items(found.get("bank_codes")))
    return Services(kinds, tuple(bank for bank in banks if bank.code), found)
