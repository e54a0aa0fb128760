"""What an examination finds, as values, and the report that they make: nothing goes in that a ticket may not hold."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from smile_async.doctor.points import Point
from smile_async.doctor.redaction import Redaction

__all__ = ["Finding", "Report", "State"]


class State(StrEnum):
    """How it is with something: of ours, or, the last three, of what is not published about the provider."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    EXPECTED = "expected"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, what was seen, what to do; *seconds* that looking took."""

    name: str
    state: State
    text: str
    cure: str = ""
    seconds: float = 0.0


class Report:
    """The findings so far, each cleaned as it comes in; *about*: what else is to stand in it."""

    def __init__(self, **about: str) -> None:
        self.redaction = Redaction()
        self.about = about
        self.findings: list[Finding] = []

    def add(self, finding: Finding) -> Finding:
        """Take *finding* in, and give it back as it may be shown."""
        clean = self.redaction.clean
        shown = replace(finding, text=clean(finding.text), cure=clean(finding.cure))
        self.findings.append(shown)
        return shown

    def open_points(self, points: Sequence[Point]) -> list[Finding]:
        """Of *points*, those that no finding answers: each still unknown, and what it takes to know it."""
        told = {finding.name.partition(":")[0] for finding in self.findings}
        return [
            Finding(point.name, State.UNKNOWN, f"{point.question} ({point.reference} {point.section})", point.how)
            for point in points
            if point.name not in told
        ]

    @property
    def failed(self) -> bool:
        """Whether anything of ours is wrong."""
        return any(finding.state is State.FAILURE for finding in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {**self.about, "failed": self.failed, "findings": [asdict(finding) for finding in self.findings]}
