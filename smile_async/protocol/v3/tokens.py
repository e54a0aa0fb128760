"""When a token is good, and when another is fetched: one for each scope and lifetime, whoever asks (v3/wire.md §2).

Lifetimes are differences of the server's own times, so a wrong clock costs nothing. A token that was refused is dropped
only while it is the one at hand: a thousand callers that were refused together cause one fetch.
"""

import base64
import math
from collections import OrderedDict
from dataclasses import dataclass

import orjson

from smile_async.errors import UnreadableReply
from smile_async.limits import finite
from smile_async.protocol.bodies import read_object
from smile_async.protocol.signature import Secret

__all__ = ["UNBOUND", "Scope", "Token", "TokenCache", "lifetime", "read_token"]

#: Seconds: what an API token lives, as documented; for one that does not say.
USUAL_LIFE = 900.0
#: Seconds: what a session token of the portal lives; nobody is believed who says more.
LONGEST_LIFE = 28_800.0
#: Seconds before its end at which a token is replaced, and at which it is no longer sent; at most these parts of it.
EARLY, MARGIN = 60.0, 10.0
EARLY_PART, MARGIN_PART = 0.2, 0.05
#: Characters; those seen have some 1,500.
LONGEST_TOKEN = 16_384
#: Scopes whose tokens are kept, the latest used: one for each user would be many.
KEPT = 1_000


@dataclass(frozen=True, slots=True)
class Scope:
    """What a token is good for: everything, one product's jobs, or one user's jobs of it."""

    product: str | None = None
    user_id: str | None = None


UNBOUND = Scope()


@dataclass(slots=True, eq=False)
class Token:
    """A token; until *early* there is no need for another, and until *ends* it may be sent (seconds, as `read_token`'s
    *asked_at*).
    """

    secret: Secret
    early: float
    ends: float

    def put_off(self, now: float) -> None:
        """Another is asked for *now*; should none come, that is tried again after a quarter of what time is left."""
        self.early = now + (self.ends - now) / 4


def read_token(body: bytes, asked_at: float) -> Token:
    """The token in the reply to a request that was made at *asked_at*. Raises UnreadableReply."""
    text = read_object(body, "the /token reply").get("token")
    if not isinstance(text, str) or not 0 < len(text) <= LONGEST_TOKEN or not text.isascii() or not text.isprintable():
        raise UnreadableReply("the /token reply holds no token")
    life = lifetime(text)
    early, margin = min(EARLY, EARLY_PART * life), min(MARGIN, MARGIN_PART * life)
    return Token(Secret(text), asked_at + life - early, asked_at + life - margin)


def lifetime(jwt: str) -> float:
    """Seconds that *jwt* lives, by its exp and iat; of one that does not say, or can not be read, the usual."""
    middle = jwt.split(".")[1] if jwt.count(".") >= 1 else ""
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except ValueError:
        claims = None
    if not isinstance(claims, dict):
        return USUAL_LIFE
    life = finite(claims.get("exp")) - finite(claims.get("iat"))
    return USUAL_LIFE if math.isnan(life) or life <= 0 else min(life, LONGEST_LIFE)


class TokenCache:
    """The tokens at hand, by scope."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: OrderedDict[Scope, Token] = OrderedDict()

    def usable(self, scope: Scope, now: float) -> Token | None:
        """The token to send now, None if one has to be fetched first; one past its `early` is replaced meanwhile."""
        token = self._held.get(scope)
        if token is None or now >= token.ends:
            return None
        self._held.move_to_end(scope)
        return token

    def keep(self, scope: Scope, token: Token) -> None:
        """*token* was fetched for *scope*."""
        self._held[scope] = token
        self._held.move_to_end(scope)
        if len(self._held) > KEPT:
            self._held.popitem(last=False)

    def refused(self, scope: Scope, token: Token) -> None:
        """A request with *token* was answered by 401: drop it, unless another is at hand already."""
        if self._held.get(scope) is token:
            del self._held[scope]
