"""The callback URL of one job: whoever posts to it knows what was told to the provider alone.

Signatures of either API cover no body, so the URL is what ties a callback to a job of ours. A webhook of V3 names no
job_id of ours, and may tell of a job whose name nobody has heard yet: its URL says which one, and when it was made.
"""

import hmac
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode

from smile_async.protocol.signature import Signer

__all__ = ["Address", "address_in", "callback_url_of", "fits", "webhook_url_of"]


@dataclass(frozen=True, slots=True)
class Address:
    """What a webhook's URL proves: its job, and that this was submitted after *since* (seconds since 1970)."""

    job_id: str
    since: float


def callback_url_of(base_url: str, signer: Signer, job_id: str) -> str:
    """*base_url* with the unguessable token of *job_id*."""
    return _with(base_url, {"token": _tokens(signer, f"smile_async callback {job_id}")[0]})


def fits(query: str, signer: Signer, job_id: str) -> bool:
    """Whether a URL's *query* has the token of *job_id*."""
    return _is_one_of(parse_qs(query).get("token", [""])[0], _tokens(signer, f"smile_async callback {job_id}"))


def webhook_url_of(base_url: str, signer: Signer, job_id: str, at: float, user_id: str = "") -> str:
    """*base_url* with *job_id*, the moment *at* which it was made (seconds since 1970), and a token of these.

    And of *user_id*, where that is known: then it is no good for webhooks about another user's job.
    """
    moment = str(int(at * 1_000))
    return _with(
        base_url, {"job": job_id, "at": moment, "token": _tokens(signer, _webhook(job_id, moment, user_id))[0]}
    )


def address_in(query: str, signer: Signer, user_id: str = "") -> Address | None:
    """What the *query* of a URL says that `webhook_url_of` made for *user_id*, or for no user; None for any other."""
    told = parse_qs(query)
    job_id, moment, token = (told.get(name, [""])[0] for name in ("job", "at", "token"))
    known = [each for user in ("", user_id) for each in _tokens(signer, _webhook(job_id, moment, user))]
    return Address(job_id, int(moment) / 1_000) if _is_one_of(token, known) else None


def _webhook(job_id: str, moment: str, user_id: str) -> str:
    # The length: where one id ends and the other begins is nobody's to choose.
    return f"smile_async webhook {moment} {len(job_id)} {job_id} {user_id}"


def _with(base_url: str, told: dict[str, str]) -> str:
    return f"{base_url}{'&' if '?' in base_url else '?'}{urlencode(told)}"


def _tokens(signer: Signer, message: str) -> list[str]:
    """By the present key and by each previous one."""
    whole = message.encode("utf-8", "surrogatepass")
    return [hmac.digest(key.reveal().encode(), whole, "sha256").hex()[:32] for key in signer.keys]


def _is_one_of(given: str, tokens: list[str]) -> bool:
    # A list, not a generator: every token is tried, so the time does not tell which one fits.
    return any([hmac.compare_digest(given.encode("utf-8", "surrogatepass"), one.encode()) for one in tokens])  # noqa: C419
