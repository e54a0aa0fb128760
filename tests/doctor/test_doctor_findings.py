"""What a report is made of: findings, what is taken out of them, and the points that are open."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smile_async.doctor import Finding, Report, State
from smile_async.doctor.points import V1_POINTS, Point
from smile_async.doctor.reading_v3 import V3_POINTS
from smile_async.doctor.redaction import Redaction

PROTOCOL = Path(__file__).parents[2] / "smile_async/protocol"


@pytest.mark.parametrize(("api", "points"), [("v1", V1_POINTS), ("v3", V3_POINTS)])
def test_every_unknown_of_the_reference_is_a_point(api: str, points: tuple[Point, ...]) -> None:
    """Each line of a wire reference that says **unknown** is a point of the doctor's, and no point quotes another."""
    lines = (PROTOCOL / api / "wire.md").read_text("utf-8").splitlines()
    facts = [line for line in lines if "**unknown**" in line and not line.startswith("service: it comes")]
    quotes = {point.quote for point in points if point.quote}
    assert [line for line in facts if not any(quote in line for quote in quotes)] == []
    assert [quote for quote in sorted(quotes) if not any(quote in line for line in facts)] == []


@pytest.mark.parametrize("points", [V1_POINTS, V3_POINTS], ids=["v1", "v3"])
def test_points_are_told_apart(points: tuple[Point, ...]) -> None:
    """No two have one name, and each says what it takes to know it."""
    assert len({point.name for point in points}) == len(points)
    assert all(point.question and point.how and ":" not in point.name for point in points)


def test_a_report() -> None:
    """It keeps the order, cleans what comes in, knows whether anything failed, and which points are open."""
    report = Report(api="v1")
    report.redaction.hide("the-secret-key")
    shown = report.add(Finding("key", State.OK, "accepted: the-secret-key", "not the-secret-key", 0.5))
    assert shown == Finding("key", State.OK, "accepted: [hidden]", "not [hidden]", 0.5)
    assert not report.failed
    report.add(Finding("sizes: of a zip", State.EXPECTED, "large"))
    report.add(Finding("tls", State.FAILURE, "none", "some"))
    assert report.failed
    points = [Point("sizes", "§12", "", "how large", "try"), Point("callbacks", "§7", "", "how often", "wait")]
    assert report.open_points(points) == [Finding("callbacks", State.UNKNOWN, "how often (wire.md §7)", "wait")]
    document = report.to_dict()
    assert (document["api"], document["failed"]) == ("v1", True)
    assert document["findings"][2] == {
        "name": "tls",
        "state": "failure",
        "text": "none",
        "cure": "some",
        "seconds": 0.0,
    }


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://a.example:8443/v1, from SMILE_BASE_URL", "see https://a.example:8443/v1, from SMILE_BASE_URL"),
        ("see https://a.example/v1/x?y=1 now", "see https://a.example/… now"),
        ("put to https://b.example/selfie.zip?Signature=x", "put to https://b.example/…"),
        ("https://b.example?Signature=x", "https://b.example/…"),
        ("token eyJhbGciOi.eyJpYXQi.c2ln ends", "token [hidden] ends"),
        ("signed CgtmbFRbL8BzLma5PuAs7p+2SLAm1n7SE4LY5RCIgRw= so", "signed [hidden] so"),
        (f"token {'a1' * 25} ends", "token [hidden] ends"),
        (f"bucket {'a' * 45}.s3.example ends", f"bucket {'a' * 45}.s3.example ends"),
        ("number 12345678901 here", "number [hidden] here"),
        ("port 8443, code 2205, 2026-01-02T03:04:05", "port 8443, code 2205, 2026-01-02T03:04:05"),
    ],
)
def test_what_looks_secret_is_hidden(text: str, shown: str) -> None:
    """Credentials and numbers of ids go, hosts, codes and times stay."""
    assert Redaction().clean(text) == shown


def test_who_keeps_secrets_shows_none() -> None:
    """Its repr says how many there are."""
    assert repr(Redaction("canary-key", "canary-token")) == "<Redaction of 2 secrets>"


@given(st.text(min_size=6, max_size=40), st.text(), st.text())
def test_a_known_secret_never_shows(secret: str, before: str, after: str) -> None:
    """Wherever it stands, a secret that was named is taken out; a longer one before one that it holds."""
    redaction = Redaction(secret, secret + secret, "short")
    assert secret not in redaction.clean(f"{before}{secret}{after}").replace("[hidden]", "\0")
    assert redaction.clean("short") == "short"
    assert secret not in repr(redaction) or secret in "<Redaction of 2 secrets>"
