"""Calls about the account: a token for the hosted web widget, and what can be looked up (wire.md §13.6).

Lists are read entry by entry: what is odd in one is left out and costs none of the others.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import orjson

from smile_async.errors import InvalidJob, UnreadableReply
from smile_async.jobs.catalogue import Bank, IdType, Products, Services
from smile_async.jobs.ticket import id_flaw
from smile_async.protocol.entries import as_object, items, pairs, read_documents, text, texts
from smile_async.protocol.signature import Secret, SignedStamp
from smile_async.protocol.steps import Call, Fault, Sent
from smile_async.protocol.v1.refusals import refusal
from smile_async.protocol.v1.replies import read_complaint, read_object

__all__ = [
    "PRODUCTS",
    "SERVICES",
    "account_body",
    "documents_call",
    "read_answer",
    "read_documents",
    "read_products",
    "read_services",
    "read_token",
    "token_call",
]

SERVICES: tuple[Call, ...] = (Call("services", ("hosted_web", "id_types"), signed=False),)
PRODUCTS: tuple[Call, ...] = (Call("products_config", ("idSelection", "consentRequired")),)


def token_call(user_id: str, job_id: str, product: str, callback_url: str) -> Call:
    """Ask for the token of one widget, which may do this one job and no other. Raises InvalidJob."""
    fields = (("user_id", user_id), ("job_id", job_id), ("product", product))
    for name, value in fields:
        why = id_flaw(value)
        if why:
            raise InvalidJob(f"{name} {why}")
    return Call("token", ("token",), (*fields, ("callback_url", callback_url)))


def documents_call(locale: str | None) -> tuple[Call, ...]:
    """Ask which documents' pictures can be verified, named in the language of *locale*."""
    query = f"?{urlencode({'locale': locale})}" if locale else ""
    return (Call(f"valid_documents{query}", ("valid_documents",)),)


def account_body(call: Call, *, partner_id: str, stamp: SignedStamp) -> bytes:
    """The JSON of a signed *call*."""
    signed = {"partner_id": partner_id, "timestamp": stamp.timestamp, "signature": stamp.signature}
    return orjson.dumps({**dict(call.fields), **signed})


def read_answer(call: Call, status: int, body: bytes, asked: float | None = None) -> dict[str, Any]:
    """The object that *call* asks for; *asked*: seconds that Retry-After says. Raises Fault."""
    about, found = f"/{call.path}", {}
    if status == 200:
        try:
            found = read_object(body, f"the {about} reply")
        except UnreadableReply as error:
            raise Fault(error.with_traceback(None), Sent.ANSWERED) from None
    if not any(name in found for name in call.wanted):
        raise refusal(status, read_complaint(body), about, asked)
    return found


def read_token(found: Mapping[str, Any]) -> Secret:
    """The token in the answer to `token_call`. Raises UnreadableReply."""
    token = found["token"]
    if not isinstance(token, str) or not token:
        raise UnreadableReply("the /token reply has no token")
    return Secret(token)


def read_services(found: Mapping[str, Any]) -> Services:
    """Both generations of `/services`: by product, country and type, or by country and type alone."""
    newer = (
        _id_type(product, country, name, about)
        for product, countries in pairs(found.get("hosted_web"))
        for country, listed in pairs(countries)
        for name, about in pairs(as_object(listed).get("id_types"))
    )
    older = (
        _id_type("", country, name, {"required_fields": fields})
        for country, types in pairs(found.get("id_types"))
        for name, fields in pairs(types)
    )
    banks = (Bank(text(bank, "name"), text(bank, "code")) for bank in items(found.get("bank_codes")))
    return Services((*newer, *older), tuple(bank for bank in banks if bank.code), found)


def read_products(found: Mapping[str, Any]) -> Products:
    """What this partner may use, and where consent is wanted."""
    selection = {product: _by_country(countries) for product, countries in pairs(found.get("idSelection"))}
    return Products(MappingProxyType(selection), _by_country(found.get("consentRequired")), found)


def _id_type(product: str, country: str, name: str, about: object) -> IdType:
    said = as_object(about)
    return IdType(
        product=product,
        country=country,
        id_type=name,
        label=text(said, "label"),
        required_fields=texts(said.get("required_fields")),
        number_pattern=text(said, "id_number_regex"),
        example=text(said, "test_data"),
    )


def _by_country(value: object) -> Mapping[str, tuple[str, ...]]:
    return MappingProxyType({country: texts(types) for country, types in pairs(value)})
