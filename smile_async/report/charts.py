"""The charts of a report, made of the page's own boxes: they are as wide as the screen, and have the text's size.

A drawing is either too small on a telephone or too large on a desk. Colours say the decision and never stand alone.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from smile_async.report.figures import BUCKETS_PER_DECADE, MOMENT, ORDER, Figures, human_seconds

__all__ = ["bars", "over_time", "share", "stacked", "waits"]

#: Bars of the chart over time.
SLOTS = 60
#: Names under a chart of columns; a narrow screen shows every other one.
LABELS = 5


def share(part: int, whole: int) -> str:
    """*part* in per cent; what is not nothing, or not all, is never rounded to it."""
    if not whole or part in (0, whole):
        return "100 %" if whole and part else "0 %"
    return f"{min(max(100 * part / whole, 0.1), 99.9):.1f} %"


def stacked(counts: Sequence[tuple[str, int]]) -> str:
    """One bar, a piece for each (end, number), which the legend below it names."""
    pieces = "".join(f'<i class="{end}" style="flex-grow:{count}"></i>' for end, count in counts if count)
    return f"<div class=stack aria-hidden=true>{pieces}</div>"


def bars(counts: Iterable[tuple[str, str, int, str]], whole: int) -> str:
    """Horizontal bars of (what, small print, number, end), as parts of *whole*, with their words above them."""
    lines = (
        f"<li><span>{escape(what)} <code>{escape(small)}</code></span><b>{count:,}</b>"
        f'<i class="{end}" style="width:{max(100 * count / whole, 0.5):.2f}%"></i>'
        for what, small, count, end in counts
    )
    return f"<ol class=bars>{''.join(lines)}</ol>"


def over_time(figures: Figures) -> str:
    """Decisions over time, a column of pieces for each span; "" where they all fall into one."""
    if not figures.moments:
        return ""
    first = min(moment for moment, _ in figures.moments)
    last = max(moment for moment, _ in figures.moments)
    if first == last:
        return ""
    width = -(-(last - first + 1) // SLOTS)
    slots: list[Counter[str]] = [Counter() for _ in range((last - first) // width + 1)]
    for (moment, end), count in figures.moments.items():
        slots[(moment - first) // width][end] += count
    names = [_clock((first + slot * width) * MOMENT, (last - first) * MOMENT) for slot in range(len(slots))]
    return _columns(slots, names, f"verdicts in {_round(width * MOMENT)}, by time (UTC)")


def waits(figures: Figures) -> str:
    """How long verdicts took, on a scale that has room for milliseconds and days; "" without any."""
    if not figures.times:
        return ""
    low, high = min(figures.times), max(figures.times)
    buckets = range(low - 1, max(high, low + 4) + 2)
    names = [_round(10 ** (bucket / BUCKETS_PER_DECADE)) for bucket in buckets]
    return _columns([Counter(wait=figures.times[bucket]) for bucket in buckets], names, "verdicts, by their wait")


def _round(seconds: float) -> str:
    return human_seconds(seconds).replace(".0 ", " ")


def _clock(moment: float, span: float) -> str:
    form = "%H:%M:%S" if span < 600 else ("%H:%M" if span < 86_400 else "%d %b %H:%M")
    return datetime.fromtimestamp(moment, UTC).strftime(form)


def _columns(slots: Sequence[Counter[str]], names: Sequence[str], what: str) -> str:
    """Columns of pieces, each slot's, over an axis of *names*; the scale ends at a round number."""
    top = _round_up(max(slot.total() for slot in slots))
    columns = "".join(_column(slot, name, top) for slot, name in zip(slots, names, strict=True))
    step = -(-len(slots) // LABELS)
    marks = "".join(
        f'<span style="--x:{100 * (at + 0.5) / len(slots):.2f}%">{names[at]}</span>'
        for at in range(0, len(slots), step)
    )
    return (
        f"<figure><figcaption>{what}</figcaption><div class=plot><div class=scale><span>{top:,}</span>"
        f"<span>{top // 2:,}</span><span>0</span></div><ol class=columns>{columns}</ol>"
        f"<div class=marks aria-hidden=true>{marks}</div></div></figure>"
    )


def _column(slot: Counter[str], name: str, top: int) -> str:
    if not slot.total():
        return "<li></li>"
    said = ", ".join(f"{slot[end]:,} {end}" for end in (*ORDER, "wait") if slot[end]).replace(" wait", "")
    pieces = "".join(f'<i class="{end}" style="flex-grow:{slot[end]}"></i>' for end in (*ORDER, "wait") if slot[end])
    return f'<li title="{name}: {said}"><div style="height:{100 * slot.total() / top:.2f}%">{pieces}</div></li>'


def _round_up(number: int) -> int:
    """The next of 2, 4, 10, 20, 40, 100 …, which have a whole half."""
    size = 1
    while True:
        for step in (2, 4, 6, 10):
            if step * size >= number:
                return step * size
        size *= 10
