"""What the tests of the command line share: what a command left behind, and the variables that lead it to a sandbox."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

VARIABLES = ("SMILE_PARTNER_ID", "SMILE_API_KEY", "SMILE_BASE_URL", "SMILE_CA_FILE")


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """Standard output as the one JSON document it must be."""
        assert self.out.count("\n") == 1
        return dict(json.loads(self.out))


Run = Callable[..., Awaitable[Ran]]


def export(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    """Set the four variables that `smile-async sandbox` prints."""
    for name, value in zip(VARIABLES, values, strict=True):
        monkeypatch.setenv(name, value)
