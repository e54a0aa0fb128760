"""The page: numbers first, then charts, then the rows; everything in one file and nothing from elsewhere.

Whatever comes from a manifest or from the provider is escaped, and a Content-Security-Policy forbids the page to fetch
or send anything, so that forwarding it is all it can do.
"""

import base64
import hashlib
import time
from datetime import UTC, datetime
from html import escape
from pathlib import Path

import anyio.to_thread

from smile_async.batch.output import render, result_of, write_whole
from smile_async.jobs.codes import Decision, classify, meaning_of
from smile_async.ledger import Ledger
from smile_async.ledger.batches import Batches
from smile_async.report.charts import COLOURS, bars, over_time, waits
from smile_async.report.figures import ORDER, Figures, end_of, human_seconds

__all__ = ["page", "write_report"]

#: Reasons and causes that get a bar; the table below the chart has all.
BARS = 8


async def write_report(where: str, name: str | None, out: Path, table: Path | None = None) -> int:
    """Write the page about batch *name* of the ledger at *where* to *out*, and its rows to *table*; how many rows."""
    figures = Figures()
    async with Ledger(where, read_only=True) as ledger:
        batches = Batches(ledger)
        name = await batches.only(name)
        async for row in batches.rows(name):
            figures.add(row)
        if table is not None:
            await render(batches, name, table)
    text = await anyio.to_thread.run_sync(page, name, figures, time.time())
    await anyio.to_thread.run_sync(write_whole, out, text)
    return figures.rows


def page(name: str, figures: Figures, now: float) -> str:
    """The whole page as HTML."""
    policy = "; ".join(
        (
            "default-src 'none'",
            "style-src 'unsafe-inline'",
            f"script-src 'sha256-{base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()}'",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8>",
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name=viewport content="width=device-width, initial-scale=1"><meta name=referrer content=no-referrer>',
        f"<title>{escape(name)}: batch report</title><style>{_STYLE}</style></head><body>",
        _heading(name, figures, now),
        _tiles(figures),
        _section("Decisions over time", over_time(figures) or _nothing("No verdict yet.")),
        f"<div class=two>{_reasons(figures)}{_times(figures)}</div>",
        f"<div class=two>{_causes(figures)}{_slowest(figures)}</div>",
        _rows(figures),
        f"<script>{_SCRIPT}</script></body></html>",
    ]
    return "".join(parts)


def _heading(name: str, figures: Figures, now: float) -> str:
    span = ""
    if figures.began is not None and figures.ended is not None:
        length = human_seconds(figures.ended - figures.began)
        span = f" · jobs from {_moment(figures.began)} to {_moment(figures.ended)} ({length})"
    return f"<header><h1>{escape(name)}</h1><p>Identity checks in a batch{span} · written {_moment(now)}</p></header>"


def _moment(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%d %b %Y %H:%M UTC")


def _tiles(figures: Figures) -> str:
    decided = sum(figures.ends[str(decision)] for decision in Decision)
    tiles = [("rows", f"{figures.rows:,}", f"{_share(figures.final, figures.rows)} with a final verdict", "#263238")]
    for end in ORDER:
        if figures.ends[end] or end in ("approved", "rejected"):
            count = figures.ends[end]
            note = f"{_share(count, decided)} of verdicts" if end in set(Decision) else _share(count, figures.rows)
            tiles.append((end, f"{count:,}", note, COLOURS[end]))
    median, slow = figures.quantile(0.5), figures.quantile(0.95)
    tiles.append(("median wait", f"≤ {human_seconds(median)}", f"95 % within {human_seconds(slow)}", "#3f7cac"))
    boxes = "".join(
        f'<div class=tile style="border-top-color:{colour}"><b>{value}</b><span>{label}</span><i>{note}</i></div>'
        for label, value, note, colour in tiles
    )
    return f"<div class=tiles>{boxes}</div>"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _section(title: str, inside: str) -> str:
    return f"<section><h2>{title}</h2>{inside}</section>"


def _nothing(text: str) -> str:
    return f"<p class=none>{text}</p>"


def _reasons(figures: Figures) -> str:
    reasons = figures.reasons.most_common()
    if not reasons:
        return _section("Not approved, by code", _nothing("Every verdict is an approval."))
    found = [(code, count, COLOURS[classify(code, kind)]) for (code, kind), count in reasons[:BARS]]
    chart = bars("reasons", found)
    lines = "".join(
        f"<tr><td><code>{escape(code)}</code><td>{escape(_said_by(code, kind))}<td>{count:,}"
        for (code, kind), count in reasons
    )
    return _section(
        "Not approved, by code", f"{chart}<table><tr><th>code<th>what it says<th class=n>jobs{lines}</table>"
    )


def _said_by(code: str, job_type: int) -> str:
    meaning = meaning_of(code, job_type)
    return meaning.text if meaning else "not documented"


def _times(figures: Figures) -> str:
    quantiles = " · ".join(f"{int(100 * q)} %: {human_seconds(figures.quantile(q))}" for q in (0.5, 0.9, 0.99))
    body = f"{waits(figures)}<p class=small>verdicts within: {quantiles}</p>" if figures.times else ""
    return _section("Time to verdict", body or _nothing("No verdict yet."))


def _causes(figures: Figures) -> str:
    causes = figures.causes.most_common()
    if not causes:
        return _section("Failures by cause", _nothing("No job has failed."))
    names = [(f"{error} {code}".strip(), count) for (error, code), count in causes]
    lines = "".join(f"<tr><td>{escape(name)}<td>{count:,}" for name, count in names)
    chart = bars("causes", [(cause, count, COLOURS["failed"]) for cause, count in names[:BARS]])
    return _section("Failures by cause", f"{chart}<table><tr><th>cause<th class=n>jobs{lines}</table>")


def _slowest(figures: Figures) -> str:
    slow = sorted(figures.slowest, reverse=True)
    if not slow:
        return _section("Slowest jobs", _nothing("No verdict yet."))
    lines = "".join(
        f"<tr><td>{escape(str(row['user_id']))}<td><code>{escape(str(row['job_id']))}</code>"
        f"<td>{_badge(end_of(row))}<td class=n>{human_seconds(wait)}"
        for wait, _, row in slow
    )
    return _section("Slowest jobs", f"<table><tr><th>user<th>job<th>decision<th class=n>wait{lines}</table>")


def _badge(end: str) -> str:
    return f'<span class=badge style="background:{COLOURS.get(end, "#546e7a")}">{escape(end)}</span>'


def _rows(figures: Figures) -> str:
    shown = figures.table
    note = f"{len(shown):,} of {figures.rows:,} rows, those without an approval first"
    choices = "".join(f"<option>{end}" for end in ORDER if figures.ends[end])
    lines = "".join(_line(result_of(row), end_of(row)) for row in shown)
    return _section(
        "Rows",
        f"<p class=small>{note}; the CSV beside this page (--csv) holds all. <span id=count></span></p>"
        f'<p><input id=find type=search placeholder="user, job, code or text" aria-label="filter"> '
        f'<select id=end aria-label="decision"><option value="">every decision{choices}</select></p>'
        "<table id=rows><thead><tr><th>line<th>user<th>job<th>decision<th>code<th>text<th>decided</thead>"
        f"<tbody>{lines}</tbody></table>",
    )


def _line(result: dict[str, object], end: str) -> str:
    cell = {name: escape(str(value)) for name, value in result.items()}
    text = cell["text"] or cell["error_text"] or cell["error"]
    return (
        f'<tr data-end="{escape(end)}"><td class=n>{cell["line"]}<td class=w>{cell["user_id"]}'
        f"<td><code>{cell['job_id']}</code><td>{_badge(end)}"
        f"<td><code>{cell['code']}</code><td>{text}<td class=w>{cell['decided_at'][:19]}"
    )


_STYLE = """
:root{color-scheme:light}*{box-sizing:border-box}
body{font:14px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;color:#263238;background:#f4f6f8;margin:0
auto;max-width:1240px;padding:24px}
h1{font-size:26px;margin:0}h2{font-size:16px;margin:0 0 12px}header p{color:#607d8b;margin:4px 0 18px}
section{background:#fff;border:1px solid #e3e8eb;border-radius:10px;padding:18px 20px;margin:0 0 16px;overflow-x:auto;
min-width:0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(135px,1fr));gap:12px;margin:0 0 16px}
.tile{background:#fff;border:1px solid #e3e8eb;border-top:4px solid;border-radius:10px;padding:12px 14px}
.tile b{display:block;font-size:24px;font-weight:650}.tile span{display:block;font-weight:600}
.tile i{color:#607d8b;font-style:normal;font-size:12px}
.two{display:grid;grid-template-columns:1fr 1fr;gap:16px}@media(max-width:900px){.two{grid-template-columns:1fr}}
svg{display:block;width:100%;height:auto;max-height:340px}
table{border-collapse:collapse;width:100%;font-size:13px}th{text-align:left;color:#607d8b;font-weight:600}
th,td{padding:5px 10px 5px 0;border-bottom:1px solid #eceff1;vertical-align:top}td:last-child,.n{text-align:right}
#rows .w{white-space:nowrap}#rows td:last-child{text-align:left}#rows .n{text-align:left;color:#90a4ae}
code{font:12px ui-monospace,SFMono-Regular,Menlo,monospace;white-space:nowrap}
.badge{color:#fff;border-radius:9px;padding:1px 9px;font-size:12px;white-space:nowrap}
.small,.none{color:#607d8b;font-size:13px;margin:6px 0}
input,select{font:inherit;padding:6px 10px;border:1px solid #cfd8dc;border-radius:7px;min-width:240px;background:#fff}
@media print{body{background:#fff}section{break-inside:avoid}}
"""

_SCRIPT = """
(()=>{const find=document.getElementById('find'),end=document.getElementById('end');
const rows=[...document.querySelectorAll('#rows tbody tr')],count=document.getElementById('count');
const texts=rows.map(row=>row.textContent.toLowerCase());
const sift=()=>{const word=find.value.trim().toLowerCase();let shown=0;
rows.forEach((row,i)=>{const on=(!end.value||row.dataset.end===end.value)&&texts[i].includes(word);
row.hidden=!on;shown+=on});count.textContent=shown===rows.length?'':shown.toLocaleString()+' match the filter.'};
find.addEventListener('input',sift);end.addEventListener('change',sift)})();
"""
