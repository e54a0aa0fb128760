"""signature.py: the documented HMAC, compared in constant time, by keys that never show themselves."""

import copy
import hmac
import json
import logging
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest
from ground_support import frames_holding, signature_of
from hypothesis import given
from hypothesis import strategies as st

from smile_async.errors import BadConfiguration
from smile_async.protocol import signature
from smile_async.protocol.signature import Secret, Signer, Stamps, format_timestamp, parse_timestamp, secrets_of

CANARY = "k3y-that-nobody-may-see"
VECTOR = ("test-api-key", "001", "2026-01-02T03:04:05.678Z", "CgtmbFRbL8BzLma5PuAs7p+2SLAm1n7SE4LY5RCIgRw=")


def test_the_vector_of_the_protocol() -> None:
    """The test vector of wire.md §2.1 comes out to the letter, and is confirmed."""
    key, partner, timestamp, expected = VECTOR
    signer = Signer(partner, Secret(key))
    assert signer.sign(timestamp) == expected
    assert signer.confirms(timestamp, expected)


@given(st.from_regex(r"[A-Za-z0-9/+=_é-]{1,40}", fullmatch=True), st.text())
def test_every_text_is_signed_as_the_formula_says(key: str, timestamp: str) -> None:
    """Any timestamp that came as text is signed like any other; an independent HMAC agrees."""
    assert Signer("001", Secret(key)).sign(timestamp) == signature_of(timestamp, key=key)


def test_what_was_not_signed_is_not_confirmed() -> None:
    """Another key, partner, timestamp or a damaged signature does not pass; nor does text that is no base64."""
    key, partner, timestamp, good = VECTOR
    signer = Signer(partner, Secret(key))
    assert not Signer(partner, Secret(key + "x")).confirms(timestamp, good)
    assert not Signer("002", Secret(key)).confirms(timestamp, good)
    for other, said in ((timestamp + " ", good), (timestamp, good[:-1]), (timestamp, ""), (timestamp, "é\ud800")):
        assert not signer.confirms(other, said)
    assert not signer.confirms("\ud800", good)


def test_a_previous_key_confirms_but_never_signs() -> None:
    """During a rotation replies signed with the old key are believed, while we sign with the new one."""
    signer = Signer("001", Secret("new"), [Secret("old"), Secret("older")])
    for key in ("new", "old", "older"):
        assert signer.confirms("t", signature_of("t", key=key))
    assert not signer.confirms("t", signature_of("t", key="oldest"))
    assert signer.sign("t") == signature_of("t", key="new")


@pytest.mark.parametrize("key", ["new", "old", "none of them"])
def test_every_key_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """Each key is tried with hmac.compare_digest, even after one has fitted: time tells nothing."""
    seen, compare = [], hmac.compare_digest

    def spy(made: bytes, other: bytes) -> bool:
        seen.append(made)
        return compare(made, other)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    believed = Signer("001", Secret("new"), [Secret("old")]).confirms("t", signature_of("t", key=key))
    assert believed is (key != "none of them")
    assert seen == [signature_of("t", key=known).encode() for known in ("new", "old")]


#: What copying leaves in a text, and what is said of it.
MISCOPIED = [
    ("", "is empty"),
    ("  ", "is empty"),
    (None, "is not text"),
    (85, "is not text"),
    (f" {CANARY}", "has a blank"),
    (f"{CANARY} and", "has a blank"),
    (f"{CANARY}\n", "has a blank or a line break"),
    (f"{CANARY}\r\n", "has a blank or a line break"),
    (f"{CANARY}\u00a0", "has a blank"),
    (f"\ufeff{CANARY}", "has an invisible character"),
    (f"{CANARY}\u200b", "has an invisible character"),
    (f"{CANARY}\x00", "has an invisible character"),
    (f"{CANARY}\udcff", "has an invisible character"),
    (f'"{CANARY}"', "has quotes"),
    (f"'{CANARY}'", "has quotes"),
    (f"\u201c{CANARY}\u201d", "has quotes"),
]


@pytest.mark.parametrize(("partner", "why"), MISCOPIED)
def test_a_partner_id_that_would_never_match_is_refused(partner: str, why: str) -> None:
    """A partner id with what copying leaves in it, or none at all, is caught before the first request."""
    with pytest.raises(BadConfiguration, match=f"partner_id {why}.*: give it as the portal shows it"):
        Signer(partner, Secret("key"))


@pytest.mark.parametrize(("key", "why"), MISCOPIED)
@pytest.mark.parametrize("previous", [False, True])
def test_a_key_that_can_not_sign_is_refused(key: str, why: str, previous: bool) -> None:
    """The same for keys, before the API would refuse every request and an error could carry the key about."""
    keys = (Secret("good"), [Secret(key)]) if previous else (Secret(key), [])
    with pytest.raises(BadConfiguration, match=f"api_key {why}.*: copy it from the portal") as caught:
        Signer("001", *keys)
    assert CANARY not in str(caught.value)
    assert frames_holding(caught.value, CANARY) == []


def test_a_secret_shows_itself_to_nobody() -> None:
    """repr, str, format, % and logging show stars; JSON, pickle and copies into the open are refused."""
    secret = Secret(CANARY)
    record = logging.LogRecord("x", 10, "x", 1, "%s %r", (secret, secret), None)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!s:>40}", "%s" % secret, record.getMessage()]  # noqa: UP031
    shown += [repr([secret]), repr({"key": secret}), repr(vars(Signer)), repr(Signer("001", secret))]
    assert not any(CANARY in text for text in shown)
    assert "********" in shown[0]
    for spread in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="can not be pickled or copied") as caught:
            spread(secret)
        assert CANARY not in str(caught.value)
    with pytest.raises(TypeError) as refused:
        json.dumps(secret)
    assert CANARY not in str(refused.value)
    assert not hasattr(secret, "__dict__")


def test_a_secret_reveals_itself_only_when_asked() -> None:
    """`reveal()` gives the text, of a secret made from a secret too; truth tells only whether there is one."""
    assert Secret(Secret(CANARY)).reveal() == CANARY
    assert (bool(Secret(CANARY)), bool(Secret(""))) == (True, False)


def test_a_failure_while_signing_holds_no_key() -> None:
    """No local of our frames shows the key while a signature is made or checked."""
    signer = Signer("001", Secret(CANARY))
    with pytest.raises(AttributeError) as caught:
        signer.confirms("t", None)  # type: ignore[arg-type]
    assert frames_holding(caught.value, CANARY) == []
    signer._begun = (None,)  # type: ignore[assignment]
    with pytest.raises(AttributeError) as deeper:
        signer.sign("t")
    assert frames_holding(deeper.value, CANARY) == []


def test_timestamps_are_written_as_the_official_sdk_does() -> None:
    """Microseconds and +00:00, always six digits, as `datetime.now(utc).isoformat()` gives."""
    assert format_timestamp(1_767_323_045.678901) == "2026-01-02T03:04:05.678901+00:00"
    assert format_timestamp(1_767_323_045.0) == "2026-01-02T03:04:05.000000+00:00"


@pytest.mark.parametrize("moment", [2.6e11, -7e10, 1e300, float("inf"), float("nan")])
def test_what_no_calendar_has_is_not_signed(moment: float) -> None:
    """A moment outside of the years 1 to 9999 is an error of this library's that says what to set."""
    with pytest.raises(BadConfiguration, match="is no date to sign for: set this machine's clock"):
        format_timestamp(moment)


@given(st.floats(min_value=0, max_value=4e9))
def test_what_we_write_we_can_date(moment: float) -> None:
    """A timestamp of ours is read back to the microsecond."""
    read = parse_timestamp(format_timestamp(moment))
    assert read is not None
    assert abs(read - moment) < 1e-5


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05.678Z", 1_767_323_045.678),
        ("2026-01-02T03:04:05Z", 1_767_323_045.0),
        ("2026-01-02T04:04:05.678+01:00", 1_767_323_045.678),
        ("2026-01-02 03:04:05+00:00", 1_767_323_045.0),
        ("2026-01-02T03:04:05.678901234Z", 1_767_323_045.678901),
    ],
)
def test_the_formats_that_servers_send_are_dated(text: str, moment: float) -> None:
    """Every ISO form with a zone that an official SDK writes (wire.md §2.2) gives its moment."""
    assert parse_timestamp(text) == pytest.approx(moment, abs=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-02T03:04:05",
        "2026-01-02",
        "1767323045678",
        "2026-13-45T00:00:00Z",
        "0001-01-01T00:00:00+23:59x",
    ],
)
def test_what_has_no_zone_or_no_date_is_not_dated(text: str) -> None:
    """A time that may be hours off, or none at all, is None rather than a guess."""
    assert parse_timestamp(text) is None


@given(st.one_of(st.text(), st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat)))
def test_no_text_crashes_the_parser(text: str) -> None:
    """Any text gives seconds or None, never an exception."""
    assert parse_timestamp(text) is None or isinstance(parse_timestamp(text), float)


def test_a_seal() -> None:
    """A seal is HMAC-SHA-256 by the present key, the same for the same text, and nothing for nothing."""
    signer = Signer("001", Secret("key"), [Secret("older")])
    assert signer.seal(b"text") == hmac.digest(b"key", b"text", "sha256")
    assert signer.seal(b"") == b""


def test_of_very_many_stamps_the_newest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many requests are signed in five minutes, what is kept of them is bounded, and the newest are known."""
    monkeypatch.setattr(signature, "GENERATION", 10)
    stamps = Stamps(lambda: 0.0)
    for number in range(1000):
        stamps.add(str(number))
    known = [number for number in range(1000) if str(number) in stamps]
    assert known == list(range(980, 1000))


def test_stamps_are_remembered_until_they_are_stale() -> None:
    """A timestamp is known for at least five minutes after it was signed, and forgotten after ten."""
    now = [0.0]
    stamps = Stamps(lambda: now[0])
    stamps.add("first")
    now[0] = 300.0
    stamps.add("second")
    assert "first" in stamps
    assert "third" not in stamps
    now[0] = 301.0
    stamps.add("third")
    assert all(text in stamps for text in ("first", "second", "third"))
    now[0] = 602.0
    stamps.add("fourth")
    assert "first" not in stamps
    assert "second" not in stamps
    assert "third" in stamps


@pytest.mark.parametrize("keys", ["the-key-before", b"the-key-before", None, 7, [b"key"], [None], {"the-key-before"}])
def test_one_text_is_no_list_of_keys(keys: Any) -> None:
    """Each of its letters would be a key, and whoever guesses one signs what he likes; it is refused, and not shown."""
    with pytest.raises(BadConfiguration, match="previous_api_keys is no list of texts") as caught:
        secrets_of(keys)
    assert "before" not in str(caught.value)
