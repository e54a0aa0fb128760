"""The page: what came of it first, then charts, then the rows; everything in one file and nothing from elsewhere.

Whatever comes from a manifest or from the provider is escaped, and a Content-Security-Policy forbids the page to fetch
or send anything, so that forwarding it is all it can do.
"""

import base64
import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import anyio.to_thread

import smile_async
from smile_async.batch.output import render, result_of, write_whole
from smile_async.jobs.codes import Decision, classify
from smile_async.ledger import Ledger
from smile_async.ledger.batches import Batches
from smile_async.report.charts import bars, over_time, share, stacked, waits
from smile_async.report.figures import ORDER, Figures, end_of, human_seconds
from smile_async.report.words import ENDS, environment, failure, public, reason

__all__ = ["About", "page", "write_report"]

#: Lines of the manifest that became no job, of which the page says why.
FLAWS = 50
_VERDICTS = frozenset(map(str, Decision))


@dataclass(frozen=True)
class About:
    """What a page says of a batch beside its rows."""

    name: str
    #: Partner and host, as the ledger has it; None before anything was sent.
    account: str | None = None
    #: Lines of the manifest that became no job, and why.
    flaws: Sequence[tuple[int, str]] = ()
    #: Whether the latest run has come to the manifest's end.
    whole: bool = True
    #: The file that holds all rows, if one was written.
    table: str = ""
    #: Seconds since 1970.
    now: float = field(default_factory=time.time)


async def write_report(where: str, name: str | None, out: Path, table: Path | None = None) -> int:
    """Write the page about batch *name* of the ledger at *where* to *out*, and its rows to *table*; how many rows."""
    figures = Figures()
    async with Ledger(where, read_only=True) as ledger:
        batches = Batches(ledger)
        name = await batches.only(name)
        async for row in batches.rows(name):
            figures.add(row)
        run, whole = await batches.latest(name)
        manifest = (await batches.options(name)).get("manifest")
        folder = "" if manifest is None else f"{Path(manifest).parent}/"
        flaws = [(line, public(why.replace(folder, ""))) for line, why in await batches.problems(name, run)]
        about = About(name, await batches.account(), flaws, whole, "" if table is None else table.name)
        if table is not None:
            await render(batches, name, table)
    text = await anyio.to_thread.run_sync(page, about, figures)
    await anyio.to_thread.run_sync(write_whole, out, text)
    return figures.rows


def page(about: About, figures: Figures) -> str:
    """The whole page as HTML."""
    times = figures.quantiles(0.5, 0.9, 0.95, 0.99)
    style, script = (resources.files(__package__).joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    policy = "; ".join(
        (
            "default-src 'none'",
            "style-src 'unsafe-inline'",
            f"script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    return "".join(
        (
            "<!doctype html><html lang=en><head><meta charset=utf-8>",
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name=viewport content="width=device-width, initial-scale=1">',
            "<meta name=referrer content=no-referrer><meta name=color-scheme content='light dark'>",
            f"<title>{escape(about.name)}: identity checks</title><style>{style}</style></head><body>",
            _heading(about, figures),
            _outcome(figures, times),
            _flaws(about),
            _section("Verdicts over time", over_time(figures)),
            f"<div class=two>{_reasons(figures)}{_causes(figures)}{_times(figures, times)}{_slowest(figures)}</div>",
            _rows(about, figures),
            f"<footer>Times are in UTC. Written by smile-async {smile_async.__version__}.</footer>",
            f"<script>{script}</script></body></html>",
        )
    )


def _heading(about: About, figures: Figures) -> str:
    kind, where = environment(about.account)
    lines = [f"As of {_moment(about.now)}"]
    if figures.began is not None and figures.ended is not None:
        length = human_seconds(figures.ended - figures.began)
        lines.append(f"jobs from {_moment(figures.began)} to {_moment(figures.ended)} ({length})")
    if about.account is not None:
        lines.append(about.account)
    return (
        f'<header><span class="where {kind}">{escape(where)}</span><h1>{escape(about.name)}</h1>'
        f"<p>{escape(' · '.join(lines))}</p></header>"
    )


def _moment(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%d %b %Y, %H:%M UTC")


def _section(title: str, inside: str, kind: str = "") -> str:
    return f"<section class='{kind}'><h2>{title}</h2>{inside}</section>" if inside else ""


def _outcome(figures: Figures, times: Mapping[float, float]) -> str:
    decided = sum(figures.ends[end] for end in _VERDICTS)
    approved = figures.ends[str(Decision.APPROVED)]
    headline = f"<b>{approved:,}</b> of <b>{figures.rows:,}</b> approved"
    if decided:
        headline += f", {share(approved, decided)} of those with a verdict"
    ends = [(end, figures.ends[end]) for end in ORDER if figures.ends[end]]
    legend = "".join(
        f'<li><b>{count:,}</b><span class="end {end}">{end}</span>'
        f"<small>{share(count, figures.rows)} · {ENDS[end]}</small></li>"
        for end, count in ends
    )
    facts = [("final verdicts", f"{figures.final:,}", share(figures.final, figures.rows))]
    if times:
        facts += [("median wait", human_seconds(times[0.5]), ""), ("95 % within", human_seconds(times[0.95]), "")]
    said = "".join(f"<div><dt>{what}</dt><dd>{value} <small>{note}</small></dd></div>" for what, value, note in facts)
    return (
        f"<section><p class=headline>{headline}</p>{stacked(ends)}<ol class=legend>{legend}</ol>"
        f"<dl class=facts>{said}</dl></section>"
    )


def _flaws(about: About) -> str:
    lines = [f"<li><b>line {line:,}</b> {escape(why)}</li>" for line, why in about.flaws[:FLAWS]]
    if len(about.flaws) > FLAWS:
        lines.append(f"<li>and {len(about.flaws) - FLAWS:,} more lines</li>")
    if not about.whole:
        lines.append("<li>whatever follows in the manifest: it was not read to its end</li>")
    return _section("Not in these figures", f"<ol class=flaws>{''.join(lines)}</ol>" if lines else "", "long")


def _reasons(figures: Figures) -> str:
    found = [
        (reason(code, kind), code, count, str(classify(code, kind)))
        for (code, kind), count in figures.reasons.most_common()
    ]
    return _section("Why not approved, or not yet", bars(found, figures.reasons.total()) if found else "")


def _causes(figures: Figures) -> str:
    found = [(cause, "", count, "failed") for cause, count in figures.causes.most_common()]
    return _section("Why failed", bars(found, figures.causes.total()) if found else "")


def _times(figures: Figures, times: Mapping[float, float]) -> str:
    if not times:
        return ""
    said = ", ".join(f"{100 * part:.0f} % within {human_seconds(times[part])}" for part in (0.5, 0.9, 0.99))
    return _section("Time from upload to first verdict", f"{waits(figures)}<p class=soft>{said}</p>")


def _slowest(figures: Figures) -> str:
    lines = "".join(
        f"<tr><td class=user>{escape(str(row['user_id']))}<td>{_badge(end_of(row))}<td class=n>{human_seconds(wait)}"
        for wait, _, row in sorted(figures.slowest, reverse=True)
    )
    table = f"<table id=slow><thead><tr><th>user<th>decision<th class=n>wait</thead><tbody>{lines}</tbody></table>"
    return _section("Longest waits", table if lines else "")


def _badge(end: str) -> str:
    return f'<span class="end {escape(end)}">{escape(end)}</span>'


def _rows(about: About, figures: Figures) -> str:
    shown = figures.table
    note = f"{len(shown):,} of {figures.rows:,} rows, those that were not approved first"
    note += f"; all of them are in {escape(about.table)}" if about.table else ""
    choices = "".join(f"<option>{end}" for end in ORDER if figures.ends[end])
    lines = "".join(_line(row, end_of(row)) for row in shown)
    return _section(
        "Rows",
        f"<p class=soft>{note}</p>"
        '<p class=filter><input id=find type=search placeholder="user, job, code or words" aria-label="filter">'
        f'<select id=end aria-label="decision"><option value="">every decision{choices}</select>'
        "<span id=count class=soft role=status></span></p><table id=rows><thead><tr><th>user<th>decision"
        "<th>what was said<th class=job>job<th class=when>decided<th class='n line'>line</thead>"
        f"<tbody>{lines}</tbody></table>",
        "long",
    )


def _line(row: Mapping[str, Any], end: str) -> str:
    cell = {name: escape(str(value)) for name, value in result_of(row).items()}
    said = escape(failure(row)) if end == "failed" else cell["text"]
    when = cell["decided_at"][:19].replace("T", " ")
    return (
        f'<tr data-end="{escape(end)}"><td class=user>{cell["user_id"]}<td>{_badge(end)}'
        f"<td class=said>{said} <code>{cell['code']}</code><td class=job><code>{cell['job_id']}</code>"
        f"<td class=when>{when}<td class='n line'>{cell['line']}"
    )
