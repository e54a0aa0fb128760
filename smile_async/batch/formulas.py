"""Cells that a spreadsheet would run as a formula, and how they travel: with an apostrophe before them, as text.

Whose id is `=1+1` must find it again. So `restored` undoes `defused` and nothing else, and a number with a sign before
it, which does nothing when it is run and is how people write their phone numbers, goes as it is.
"""

import re

__all__ = ["defused", "restored"]

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_SIGNED = re.compile(r"[+-]\d+", re.ASCII)


def defused(cell: str) -> str:
    """*cell* as a spreadsheet may have it: `=1+1` becomes `'=1+1`, and what looks like that already gets one more."""
    return f"'{cell}" if _FORMULA.match(cell) and not _SIGNED.fullmatch(cell) else cell


def restored(cell: str) -> str:
    """What `defused` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
