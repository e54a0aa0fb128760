"""The README's promises: each names tests, and they exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = re.findall(r"^\| (G\d) .*$", (ROOT / "README.md").read_text(), re.MULTILINE)
NAMED = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / "README.md").read_text())


def test_every_promise_is_listed() -> None:
    """G1 to G9 are each a row of the table."""
    assert ROWS == ["G1", "G2", "G3", "G4", "G5", "G6", "G7", "G8", "G9"]


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_named_test_exists(file: str, name: str) -> None:
    """What the table names as proof is a test of that file."""
    assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE)
