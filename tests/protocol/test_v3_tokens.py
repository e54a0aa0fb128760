"""tokens.py: how long a token is good, by the server's own times, and one refresh for all whom it fails."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from v3_support import said

from smile_async.errors import UnreadableReply
from smile_async.protocol.v3.tokens import KEPT, UNBOUND, Scope, Token, TokenCache, lifetime, read_token


def jwt(claims: Any) -> str:
    """A token of *claims*, unpadded as tokens are, with a signature that nobody here can check."""
    middle = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{middle}.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (jwt({"iat": 1_000, "exp": 1_900}), 900),
        # A server whose clock is a century off is as good.
        (jwt({"iat": 4_000_000_000, "exp": 4_000_000_005}), 5),
        (jwt({"iat": 0, "exp": 28_800}), 28_800),
        (jwt({"iat": 0, "exp": 10**12}), 28_800),
        (jwt({"exp": 1_900}), 900),
        (jwt({"iat": 1_000}), 900),
        (jwt({"iat": 1_000, "exp": 1_000}), 900),
        (jwt({"iat": 2_000, "exp": 1_000}), 900),
        (jwt({"iat": "1", "exp": True}), 900),
        (jwt({"iat": 0, "exp": 10**400}), 900),
        (jwt([1]), 900),
        ("opaque", 900),
        ("a.b.c", 900),
        ("a.%%%%.c", 900),
        (".", 900),
    ],
)
def test_a_lifetime_is_a_difference(text: str, seconds: float) -> None:
    """It lives exp - iat; where that can not be read, or is none, as long as the docs say."""
    assert lifetime(text) == seconds


@given(st.text(max_size=40))
def test_no_token_is_too_odd(text: str) -> None:
    """Whatever a server calls a token has a lifetime."""
    assert 0 < lifetime(text) <= 28_800


def test_a_token_is_replaced_before_it_ends() -> None:
    """A minute before its end another is wanted, in its last seconds it is not sent; short lives in proportion."""
    token = read_token(said(token=jwt({"iat": 5, "exp": 905})), 100.0)
    assert (token.early, token.ends) == (100 + 840, 100 + 890)
    short = read_token(said(token=jwt({"iat": 5, "exp": 15})), 100.0)
    assert 100 < short.early < short.ends < 110
    assert "eyJ" not in repr(token)
    assert token.secret.reveal().startswith("eyJ")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", said(token=""), said(token=7), said(token="a\nb"), said(token="ä"), said(token="a" * 20_000)],
)
def test_a_reply_without_a_token_is_unreadable(body: bytes) -> None:
    """A token that could not stand in a header is none."""
    with pytest.raises(UnreadableReply):
        read_token(body, 0.0)


def token(ends: float = 900.0) -> Token:
    """A token that is good until *ends*."""
    return read_token(said(token=jwt({"iat": 0, "exp": ends + 10})), 0.0)


def test_scopes_are_kept_apart() -> None:
    """The token of one user and product is sent for no other."""
    cache, mine = TokenCache(), Scope("enhanced_kyc", "ada")
    cache.keep(mine, token())
    assert cache.usable(mine, 0.0) is not None
    assert cache.usable(UNBOUND, 0.0) is None
    assert cache.usable(Scope("enhanced_kyc", "bob"), 0.0) is None


def test_a_token_that_has_ended_is_not_sent() -> None:
    """Until its end it is at hand, also while another is fetched; then it is not."""
    cache, only = TokenCache(), token(900.0)
    cache.keep(UNBOUND, only)
    assert cache.usable(UNBOUND, only.early) is only
    assert cache.usable(UNBOUND, only.ends) is None


def test_a_thousand_refusals_drop_one_token() -> None:
    """Only the token that is at hand is dropped: those who come late with the old one cost no second fetch."""
    cache, old, new = TokenCache(), token(), token()
    cache.keep(UNBOUND, old)
    fetched = 0
    for _ in range(1_000):
        cache.refused(UNBOUND, old)
        if cache.usable(UNBOUND, 0.0) is None:
            cache.keep(UNBOUND, new)
            fetched += 1
    assert fetched == 1
    assert cache.usable(UNBOUND, 0.0) is new


def test_tokens_of_many_users_are_bounded() -> None:
    """The scopes used last are kept."""
    cache = TokenCache()
    for number in range(KEPT + 1):
        cache.keep(Scope("p", str(number)), token())
        assert cache.usable(Scope("p", "0"), 0.0) is not None
    assert cache.usable(Scope("p", "1"), 0.0) is None


def test_a_replacement_that_does_not_come_is_asked_for_ever_more_seldom() -> None:
    """From its early hour to its end a token that can not be replaced causes a handful of attempts, none at its end."""
    only, tried = token(900.0), []
    now = only.early
    while now < only.ends and len(tried) < 50:
        if now >= only.early:
            tried.append(now)
            only.put_off(now)
        now += 1.0
    assert 5 <= len(tried) <= 20
    assert tried[1] - tried[0] == pytest.approx((only.ends - tried[0]) / 4, abs=1.0)
