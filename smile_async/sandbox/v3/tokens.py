"""Tokens: JWTs of fifteen minutes, good for one partner and, if they were bound, for one product and user.

What is personal in a token's payload is replaced by a reference, the same for the same value; values so bound win over
those in a body (OpenAPI 3.952.0).
"""

import base64
import hashlib
import hmac
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from smile_async.sandbox.credentials import Keys
from smile_async.sandbox.settings import Settings

from .parts import PARTS
from .products import V3_PRODUCTS
from .refusals import gateway, invalid, missing

__all__ = ["Bound", "Tokens", "bound_by", "partner_of"]

#: What a token may be bound to; some are products that V3 has no endpoint for.
_PRODUCTS = {product.bound for product in V3_PRODUCTS.values()} - {"residency_document_verification"}
_PRODUCTS |= {"basic_kyc", "phone_number_verification"}
_OPEN = ("country", "id_type", "consent")
_PERSONAL = ("id_number", "given_names", "last_name", "email", "phone_number", "callback_url")
_PERSON = ("given_names", "last_name", "email", "phone_number")


def partner_of(settings: Settings) -> str:
    """The partner id as V3 writes it: without zeros in front."""
    return settings.partner_id.lstrip("0") or "0"


@dataclass(frozen=True, slots=True)
class Bound:
    """What a token is bound to."""

    product: str | None = None
    user_id: str | None = None
    partner_params: Mapping[str, str] = field(default_factory=dict)
    payload: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def values(self) -> dict[str, Any]:
        """The parts that it stands for."""
        payload = self.payload
        person = {name: payload[name] for name in _PERSON if name in payload}
        named = {name: value for name, value in payload.items() if name not in _PERSON}
        whole = {"user_details": person} if person else {}
        who = {"user_id": self.user_id} if self.user_id else {}
        params = {"partner_params": dict(self.partner_params)} if self.partner_params else {}
        return {**named, **whole, **who, **params}


class Tokens:
    """Makes and reads the tokens of one account."""

    def __init__(self, keys: Keys, settings: Settings) -> None:
        self._secret = keys.derive("tokens")
        self._settings = settings
        self._values: dict[str, Any] = {}
        self._generation = 0
        #: Tokens made, by product and user, None = unbound.
        self.issued: Counter[tuple[str | None, str | None]] = Counter()

    def expire(self) -> None:
        """Let no token made so far be good any more, whatever it says itself."""
        self._generation += 1

    def make(self, bound: Bound, api_url: str) -> str:
        """A new token."""
        now = int(self._settings.clock.time())
        claims = {
            "iat": now,
            "exp": now + int(self._settings.token_lifetime),
            "partner_id": partner_of(self._settings),
            "api_url": api_url,
            "policy": 1,
            "product": bound.product,
            "user_id": bound.user_id,
            "partner_params": dict(bound.partner_params),
            "payload": {name: self._referred(name, value) for name, value in bound.payload.items()},
            "generation": self._generation,
        }
        self.issued[bound.product, bound.user_id] += 1
        said = f"{_url64(orjson.dumps({'alg': 'HS256', 'typ': 'JWT'}))}.{_url64(orjson.dumps(claims))}"
        return f"{said}.{self._signature(said)}"

    def _referred(self, name: str, value: Any) -> Any:
        if name in _OPEN:
            return value
        prefix = "callback_" if name == "callback_url" else "pii_"
        reference = prefix + hashlib.sha256(self._secret + str(value).encode()).hexdigest()[:24]
        self._values[reference] = value
        return reference

    def read(self, token: str) -> Bound:
        """What *token* is bound to; raises `Refusal` 401."""
        said, _, signature = token.rpartition(".")
        if not token or not hmac.compare_digest(self._signature(said).encode(), signature.encode()):
            raise gateway(401, "Invalid token")
        claims = orjson.loads(_from_url64(said.partition(".")[2]))
        late = self._settings.clock.time() >= claims["exp"] or claims["generation"] < self._generation
        if late or claims["partner_id"] != partner_of(self._settings):
            raise gateway(401, "Invalid token")
        payload = claims["payload"]
        referred = {name: value for name, value in payload.items() if name not in _OPEN}
        if not self._values.keys() >= {*referred.values()}:  # of before a restart
            raise gateway(401, "Invalid token")
        payload |= {name: self._values[value] for name, value in referred.items()}
        return Bound(claims["product"], claims["user_id"], claims["partner_params"], payload)

    def _signature(self, said: str) -> str:
        return _url64(hmac.digest(self._secret, said.encode(), "sha256"))


def bound_by(texts: Mapping[str, str], settings: Settings) -> Bound:
    """What the form of a POST /v3/token binds; raises `Refusal` 400. Parts it does not know are let be."""
    product, user_id = texts.get("product"), texts.get("user_id")
    if product is not None and product not in _PRODUCTS:
        raise invalid("product")
    try:
        params = PARTS["partner_params"](texts.get("partner_params") or "{}", settings)
    except ValueError:
        raise invalid("partner_params") from None
    return Bound(product, user_id or None, params, _payload(texts.get("payload") or "{}", settings))


def _payload(text: str, settings: Settings) -> dict[str, Any]:
    try:
        payload = orjson.loads(text)
        names = payload.keys() - {*_OPEN, *_PERSONAL}
    except (ValueError, AttributeError):
        raise invalid("payload") from None
    if names:
        raise invalid("payload")
    for name, value in payload.items():
        try:
            _check(name, value, settings)
        except (ValueError, TypeError):
            raise missing(f"payload.{name}") from None
    return dict(payload)


def _check(name: str, value: Any, settings: Settings) -> None:
    reader = PARTS.get(name)
    if name == "consent":
        # The only difference here: a language in small letters and a plain URL pass.
        value = {**value, "notice_language": str(value.get("notice_language")).upper()}
        value["notice_privacy_policy_url"] = str(value.get("notice_privacy_policy_url")).replace("http:", "https:", 1)
        PARTS["consent"](orjson.dumps(value).decode(), settings)
    elif not isinstance(value, str) or not value:
        raise ValueError(name)
    elif reader is not None:
        reader(value, settings)


def _url64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _from_url64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
