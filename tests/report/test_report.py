"""The page about a batch: it counts right, needs no network, and can not be made to run what a manifest holds."""

import asyncio
import html.parser
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from batch_support import command, write_csv
from street import Pictures

from smile_async.ledger import State
from smile_async.report import figures as counting
from smile_async.report.charts import bars, over_time, waits
from smile_async.report.figures import Figures, human_seconds
from smile_async.report.page import page
from smile_async.sandbox import RunningSandbox

BEGAN = 1_767_322_000.0


def row_of(number: int = 0, code: str = "0820", decision: str | None = "approved", **more: Any) -> dict[str, Any]:
    """A row of a ledger, a second a number."""
    row = {"user_id": f"u{number}", "job_id": f"j{number}", "job_type": 2, "row_key": "k", "line": number + 2}
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


def failed(error: str = "Unavailable") -> dict[str, Any]:
    """A row that failed."""
    nothing = dict.fromkeys(("decision", "code", "accepted_at", "decided_at"))
    return row_of(7, **{**nothing, "state": State.FAILED, "error": error, "error_text": "no answer", "final": None})


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
    assert figures.reasons == {("0821", 2): 1}
    assert figures.causes == {("Unavailable", ""): 1, ("InvalidJob", ""): 1}
    assert max(figures.slowest)[0] == 30
    assert len(figures.slowest) == 10
    assert sum(figures.moments.values()) == sum(figures.times.values()) == 21
    median, all_of_them = figures.quantile(0.5), figures.quantile(1.0)
    assert median is not None
    assert all_of_them is not None
    assert 8 <= median <= 14 <= 30 <= all_of_them < 41


def test_the_table_shows_what_needs_a_look_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of the page are capped, and approvals give way to the rest."""
    monkeypatch.setattr(counting, "TABLE_ROWS", 3)
    figures = counted(*(row_of(n) for n in range(9)), failed(), row_of(11, "0821", "rejected"))
    assert [row["line"] for row in figures.table] == [9, 13, 2]


def test_nothing_of_a_manifest_is_run_or_fetched() -> None:
    """Markup in names and texts stays text; the page has one script of its own and fetches nothing."""
    evil = '"><script>alert(1)</script><img src=http://evil onerror=x>'
    figures = counted(row_of(1, user_id=evil, text=evil), row_of(2, evil, "unknown", job_id=evil), failed(evil))
    text = page(evil, figures, BEGAN)
    found = Balance()
    found.feed(text)
    assert (found.scripts, found.fetched) == (1, [])
    assert "default-src 'none'" in text
    assert not re.findall(r"url\((?!#)", text)


def test_a_batch_in_which_nothing_has_happened() -> None:
    """An empty batch has a page too."""
    text = page("empty", Figures(), BEGAN)
    assert "No verdict yet" in text
    assert "No job has failed" in text
    assert over_time(Figures()) == waits(Figures()) == ""


def test_charts_of_days_and_of_seconds() -> None:
    """The axis of time says what the batch's length needs, and the drawings of one page share no names."""
    for span, form in ((60, r"\d\d:\d\d:\d\d"), (40_000, r"\d\d:\d\d"), (900_000, r"\d\d \w{3} \d\d:\d\d")):
        drawn = over_time(counted(row_of(0), row_of(1, decided_at=BEGAN + span)))
        assert re.search(rf">{form}<", drawn), span
    ids = re.findall(r'id="([^"]+)"', bars("a", [("x", 1, "red")]) + bars("b", [("x", 1, "red")]))
    assert ids
    assert len(ids) == len(set(ids))


def test_times_as_people_say_them() -> None:
    """Durations are said in the unit that fits."""
    assert [human_seconds(value) for value in (None, 0.25, 3, 90, 7200, 200_000)] == [
        *("-", "250 ms", "3.0 s", "1.5 min", "2.0 h", "2.3 d")
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
    manifest = write_csv(tmp_path / "spring.csv", rows)
    assert (await command(running, capsys, monkeypatch, "run", manifest))[0] == 0
    where = ("--ledger", f"{manifest}.ledger", "--out", tmp_path / "r.html", "--csv", tmp_path / "r.csv")
    code, said, _ = await command(running, capsys, monkeypatch, "report", *where)
    assert (code, said["rows"]) == (0, 4)
    text = await asyncio.to_thread((tmp_path / "r.html").read_text)
    assert "registration failed, machine" in text
    assert text.count("<svg") == 3
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 5
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("r.html", "r.csv")} == {0o600}
