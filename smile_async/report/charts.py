"""The charts of a report, drawn as SVG and put into the page: they need no script, no network and no font.

Text stays text, so that it can be searched and read aloud; colours say the decision and never stand alone.
"""

import io
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from smile_async.report.figures import BUCKETS_PER_DECADE, MOMENT, ORDER, Figures, human_seconds

__all__ = ["COLOURS", "bars", "over_time", "waits"]

COLOURS = {
    "approved": "#2e8b57",
    "provisional": "#d9a514",
    "rejected": "#c8443c",
    "error": "#7d3c98",
    "unknown": "#8d6e63",
    "failed": "#37474f",
    "pending": "#b0bec5",
}
_STYLE: Any = {
    "svg.fonttype": "none",
    # The same rows give the same bytes.
    "svg.hashsalt": "smile",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#90a4ae",
    "axes.labelcolor": "#455a64",
    "xtick.color": "#455a64",
    "ytick.color": "#455a64",
}
#: Bars of the chart over time.
SLOTS = 60


def _svg(figure: Figure, label: str) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None}, transparent=True)
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'(<svg[^>]*?) width="[^"]*" height="[^"]*"|(<svg[^>]*?) height="[^"]*"', r"\1\2", text, count=1)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    # Several drawings in one page must not share the names of their parts.
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{label}-", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def over_time(figures: Figures) -> str:
    """Decisions over time, a stack of bars; "" without any."""
    if not figures.moments:
        return ""
    first = min(moment for moment, _ in figures.moments)
    last = max(moment for moment, _ in figures.moments)
    width = max(1, -(-(last - first + 1) // SLOTS))
    slots: Counter[tuple[int, str]] = Counter()
    for (moment, end), count in figures.moments.items():
        slots[(moment - first) // width, end] += count
    number = (last - first) // width + 1
    names = [_clock((first + slot * width) * MOMENT, (last - first) * MOMENT) for slot in range(number)]
    with rc_context(_STYLE):
        figure = Figure(figsize=(10.4, 2.9))
        axes = figure.subplots()
        below = [0] * number
        for end in ORDER:
            heights = [slots[slot, end] for slot in range(number)]
            if any(heights):
                axes.bar(range(number), heights, bottom=below, color=COLOURS[end], label=end, width=0.86)
                below = [low + high for low, high in zip(below, heights, strict=True)]
        step = max(1, number // 8)
        axes.set_xticks(range(0, number, step), names[::step])
        axes.set_xlim(-0.6, max(number, 6) - 0.4)
        axes.set_ylabel(f"verdicts in {human_seconds(width * MOMENT)}")
        axes.grid(axis="y", color="#eceff1")
        axes.set_axisbelow(True)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.18), ncols=6, frameon=False)
        return _svg(figure, "decisions-over-time")


def _clock(moment: float, span: float) -> str:
    form = "%H:%M:%S" if span < 600 else ("%H:%M" if span < 86_400 else "%d %b %H:%M")
    return datetime.fromtimestamp(moment, UTC).strftime(form)


def waits(figures: Figures) -> str:
    """How long verdicts took, on a scale that has room for milliseconds and days; "" without any."""
    if not figures.times:
        return ""
    low, high = min(figures.times), max(figures.times)
    buckets = range(low, max(high, low + 5) + 1)
    with rc_context(_STYLE):
        figure = Figure(figsize=(5.1, 2.6))
        axes = figure.subplots()
        axes.bar(list(buckets), [figures.times[bucket] for bucket in buckets], color="#3f7cac", width=0.9, align="edge")
        step = max(1, len(buckets) // 5)
        marks = list(buckets)[::step]
        axes.set_xticks(marks, [human_seconds(10 ** (mark / BUCKETS_PER_DECADE)) for mark in marks])
        axes.set_ylabel("jobs")
        axes.set_xlabel("from accepted upload to first verdict")
        axes.grid(axis="y", color="#eceff1")
        axes.set_axisbelow(True)
        return _svg(figure, "time-to-verdict")


def bars(label: str, counts: Sequence[tuple[str, int, str]]) -> str:
    """Horizontal bars of (name, count, colour), the longest first."""
    names, values, colours = zip(*reversed(counts), strict=True)
    with rc_context(_STYLE):
        figure = Figure(figsize=(5.1, 0.3 + 0.34 * len(counts)))
        axes = figure.subplots()
        drawn = axes.barh(range(len(names)), values, color=colours, height=0.7)
        axes.set_yticks(range(len(names)), names)
        axes.bar_label(drawn, [f"{value:,}" for value in values], color="#455a64", padding=5)
        axes.set_xlim(0, max(values) * 1.15)
        axes.xaxis.set_visible(False)
        axes.spines[["bottom", "left"]].set_visible(False)
        axes.tick_params(left=False)
        return _svg(figure, label)
