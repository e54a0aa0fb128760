"""The page about a batch: it counts right, needs no network, and can not be made to run what a manifest holds."""

import asyncio
import html.parser
import re
import stat
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from batch_support import command, write_csv
from street import Pictures

from smile_async.jobs.codes import Decision
from smile_async.jobs.product import Product
from smile_async.ledger import State
from smile_async.report import figures as counting
from smile_async.report.charts import over_time, share, waits
from smile_async.report.figures import Figures, human_seconds
from smile_async.report.page import About, page
from smile_async.report.words import ENDS, environment, failure, public
from smile_async.sandbox import RunningSandbox

BEGAN = 1_767_322_000.0


def row_of(number: int = 0, code: str = "0820", decision: str | None = "approved", **more: Any) -> dict[str, Any]:
    """A row of a ledger, a second a number."""
    row = {
        "user_id": f"u{number}",
        "job_id": f"j{number}",
        "job_type": 2,
        "product": None,
        "row_key": "k",
        "line": number + 2,
    }
    row |= {"spec": '{"selfie":"/bank/a b/ada.jpg","liveness":["/bank/f1.jpg","s3://b/f2.jpg"]}'}
    row |= {"state": State.FINAL, "decision": decision, "code": code, "final": True, "text": "said", "attempts": 1}
    row |= {"error": None, "error_code": None, "error_text": None, "smile_job_id": "1", "confidence": 99.0}
    row |= {"sent_at": BEGAN, "accepted_at": BEGAN + number, "decided_at": BEGAN + 2 * number}
    return {**row, **more}


def counted(*rows: dict[str, Any]) -> Figures:
    """The figures of *rows*."""
    figures = Figures()
    for row in rows:
        figures.add(row)
    return figures


def failed(error: str = "Unavailable", **more: Any) -> dict[str, Any]:
    """A row that failed."""
    nothing = dict.fromkeys(("decision", "code", "accepted_at", "decided_at"))
    return row_of(
        7, **{**nothing, "state": State.FAILED, "error": error, "error_text": "no answer", "final": None, **more}
    )


class Balance(html.parser.HTMLParser):
    """Collects what a browser would fetch or run."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action") and value and not value.startswith("#"):
                self.fetched.append(value)
            assert not name.startswith("on")


def test_every_row_is_counted_once() -> None:
    """Ends, reasons, causes, waits and the slowest jobs add up to the rows."""
    figures = counted(*(row_of(n) for n in range(20)), row_of(30, "0821", "rejected"), failed(), failed("InvalidJob"))
    assert (figures.rows, figures.final, sum(figures.ends.values())) == (23, 21, 23)
    assert figures.ends == {"approved": 20, "rejected": 1, "failed": 2}
    assert figures.reasons == {("0821", Product.AUTHENTICATION): 1}
    assert figures.causes == {"Smile ID could not be reached, or did not answer": 1, "no answer": 1}
    assert max(figures.slowest)[0] == 30
    assert len(figures.slowest) == 10
    assert sum(figures.moments.values()) == sum(figures.times.values()) == 21
    # 0 to 19 and 30 seconds.
    assert figures.quantiles(0.5, 0.95, 1.0) == {0.5: 10.0, 0.95: 19.0, 1.0: 30.0}
    assert counted(row_of(1), row_of(4)).quantiles(0.5) == {0.5: 2.5}


def test_the_table_shows_what_needs_a_look_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of the page are capped, and approvals give way to the rest."""
    monkeypatch.setattr(counting, "TABLE_ROWS", 3)
    figures = counted(*(row_of(n) for n in range(9)), failed(), row_of(11, "0821", "rejected"))
    assert [row["line"] for row in figures.table] == [9, 13, 2]


def test_nothing_of_a_manifest_is_run_or_fetched() -> None:
    """Markup in names and texts stays text; the page has one script of its own and fetches nothing."""
    evil = '"><script>alert(1)</script><img src=http://evil onerror=x>'
    figures = counted(row_of(1, user_id=evil, text=evil), row_of(2, evil, "unknown", job_id=evil), failed(evil))
    text = page(About(evil, evil, [(2, evil)], table=evil), figures)
    found = Balance()
    found.feed(text)
    assert (found.scripts, found.fetched) == (1, [])
    assert "default-src 'none'" in text
    assert not re.findall(r"url\((?!#)", text)


def test_a_batch_in_which_nothing_has_happened() -> None:
    """An empty batch has a page too, and a chart of one column is none."""
    text = page(About("empty", now=BEGAN), Figures())
    assert "Nothing was sent yet" in text
    assert "As of 02 Jan 2026, 02:46 UTC<" in text
    assert over_time(Figures()) == waits(Figures()) == over_time(counted(row_of(0), row_of(0))) == ""


def test_waiting_times_are_sorted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that a page says of waiting times comes of one pass over them: a million take a second to sort."""
    asked: list[tuple[float, ...]] = []
    quantiles = Figures.quantiles
    monkeypatch.setattr(Figures, "quantiles", lambda self, *shares: asked.append(shares) or quantiles(self, *shares))
    text = page(About("people"), counted(row_of(1), row_of(3)))
    assert len(asked) == 1
    assert "50 % within 2.0 s, 90 % within 2.8 s, 99 % within 3.0 s" in text


def test_charts_of_days_and_of_seconds() -> None:
    """The axis of time says what the batch's length needs, and each column's numbers are said in words."""
    for span, form in ((60, r"\d\d:\d\d:\d\d"), (40_000, r"\d\d:\d\d"), (900_000, r"\d\d \w{3} \d\d:\d\d")):
        drawn = over_time(counted(row_of(0), row_of(0, "0821", "rejected"), row_of(1, decided_at=BEGAN + span)))
        assert re.search(rf">{form}<", drawn), span
        assert re.search(rf'title="{form}: 1 approved, 1 rejected"', drawn), span
    assert 'title="2.4 s: 3"' in waits(counted(*(row_of(3) for _ in range(3)), row_of(300)))


def test_where_a_batch_was_sent() -> None:
    """Production, sandbox and everything else are told apart by the host alone, whoever is the partner."""
    for host, kind in (("api", "production"), ("testapi", "sandbox"), ("api.evil", "other")):
        assert environment(f"partner production at {host}.smileidentity.com")[0] == kind
    assert environment("partner 001 at 127.0.0.1")[0] == "other"
    assert environment(None)[0] == ""


@pytest.mark.parametrize(
    ("error", "text", "words"),
    [
        (
            "InvalidJob",
            "job j7 of user u7: selfie (/bank/a b/ada.jpg) has 12,345 bytes: x",
            "selfie is too large",
        ),
        ("InvalidJob", "job j7 of user u7: liveness[3] (/bank/f1.jpg) is empty: x", "a liveness picture is empty"),
        ("InvalidJob", "job j7 of user u7: liveness[1] (s3://b/f2.jpg) is odd: x", "a liveness picture is odd"),
        ("InvalidJob", "user 'u7': no /bank/a b/ada.jpg here: x", "no ada.jpg here"),
        ("InvalidJob", "", "the row can not be sent as it is"),
        ("Strange", "", "another error (Strange)"),
    ],
)
def test_why_a_row_has_failed(error: str, text: str, words: str) -> None:
    """Equal causes have equal words, whatever the row, and none of them names a folder."""
    assert failure(failed(error, error_text=text)) == words


def test_words_of_codes_and_paths() -> None:
    """A code is said in the words of the table, a path by its last part; every decision has words of its own."""
    assert failure(failed("Refused", error_code="2210")) == "no enrolled user found"
    said = r"/home/me/a.jpg (C:\me\b.jpg) s3://bucket/c/d.jpg https://host/e/f 1/2 '/g/h*.jpg'"
    assert public(said) == "a.jpg (b.jpg) s3://bucket/c/d.jpg https://host/e/f 1/2 'h*.jpg'"
    assert set(map(str, Decision)) < set(ENDS)
    assert [share(*of) for of in ((0, 9), (9, 9), (1, 9999), (9998, 9999), (1, 3), (0, 0))] == [
        *("0 %", "100 %", "0.1 %", "99.9 %", "33.3 %", "0 %")
    ]


def test_times_as_people_say_them() -> None:
    """Durations are said in the unit that fits."""
    assert [human_seconds(value) for value in (0.25, 3, 90, 7200, 200_000)] == [
        *("250 ms", "3.0 s", "1.5 min", "2.0 h", "2.3 d")
    ]


async def test_a_report_from_the_command_line(
    running: RunningSandbox,
    pictures: Pictures,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`batch report` writes the page and the rows, for their owner only, while the ledger is free or in use."""
    rows = [
        {"user_id": f"u{n}", "selfie": pictures.selfie_path, "job_type": 4, "param.sandbox_result": n % 2}
        for n in range(4)
    ]
    rows += [
        {**rows[0], "user_id": "gone", "selfie": tmp_path / "a b.jpg"},
        {**rows[0], "user_id": "odd", "job_type": "no"},
        {**rows[0], "user_id": "u0", "selfie": tmp_path / "c.jpg"},
    ]
    manifest = write_csv(tmp_path / "spring.csv", rows)
    assert (await command(running, capsys, monkeypatch, "run", manifest))[0] == 4
    where = ("--ledger", f"{manifest}.ledger", "--out", tmp_path / "r.html")
    code, said, _ = await command(running, capsys, monkeypatch, "report", *where)
    assert (code, said["rows"]) == (0, 5)
    alone = await asyncio.to_thread((tmp_path / "r.html").read_text)
    assert ".csv" not in alone
    code, said, _ = await command(running, capsys, monkeypatch, "report", *where, "--csv", tmp_path / "r.csv")
    text = await asyncio.to_thread((tmp_path / "r.html").read_text)
    assert "all of them are in r.csv" in text
    assert str(tmp_path) not in text
    for words in ("partner 001 at 127.0.0.1", "registration failed, machine", "selfie can not be opened (No such file"):
        assert words in text, words
    assert "line 7</b> job_type is &#x27;no&#x27;" in text
    assert f"smile-async {metadata.version('smile-async')}" in text
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 6
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("r.html", "r.csv")} == {0o600}
