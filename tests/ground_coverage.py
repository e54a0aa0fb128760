"""Fail unless every file of the ground has 100 % line and branch coverage; run after `coverage combine`."""

import json
import sys
import tempfile
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "smile_async"

#: Pure files, below the package: what is here decides who is let in, so nothing in it may be untested.
GROUND = (
    *("errors.py", "urls.py", "limits.py", "settings.py", "traffic/pending.py"),
    *(
        f"doctor/{name}.py"
        for name in ("answers", "findings", "points", "reading", "reading_jobs", "reading_v3", "redaction")
    ),
    *(
        "timing/pacing.py",
        "timing/curve.py",
        "timing/backoff.py",
        "timing/breaker.py",
        "timing/timers.py",
        "transport/frames.py",
    ),
    *(
        path.relative_to(PACKAGE).as_posix()
        for storey in ("jobs", "protocol")
        for path in sorted((PACKAGE / storey).rglob("*.py"))
        if path.name != "__init__.py"
    ),
)


def complaints(data_file: str = ".coverage") -> list[str]:
    """What is not covered, a line for each file; empty if all is."""
    measured = coverage.Coverage(data_file=data_file, config_file=str(ROOT / "pyproject.toml"))
    measured.load()
    if not measured.get_data().measured_files():
        return [f"{data_file}: no coverage was measured: run `make test`"]
    names = [f"smile_async/{name}" for name in GROUND]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        try:
            measured.json_report(morfs=[str(ROOT / name) for name in names], outfile=str(report))
            files = json.loads(report.read_text())["files"]
        except coverage.exceptions.NoDataError:
            files = {}
    found = {str(Path(name).resolve().relative_to(ROOT)): told for name, told in files.items()}
    return [complaint for name in names if (complaint := _complaint(name, found.get(name)))]


def _complaint(name: str, told: dict[str, list[object]] | None) -> str:
    if told is None:
        return f"{name}: not measured at all"
    lines = [str(line) for line in told["missing_lines"]]
    if "missing_branches" not in told:
        return f"{name}: branches were not measured"
    branches = [f"{start}->{end}" for start, end in told["missing_branches"]]  # type: ignore[misc]
    missing = ", ".join([*lines, *branches])
    return f"{name}: not covered: {missing}" if missing else ""


def main() -> int:
    """Print what is missing; 1 if anything is."""
    found = complaints(*sys.argv[1:2])
    for complaint in found:
        print(complaint, file=sys.stderr)
    if found:
        print("the ground must have 100 % line and branch coverage: test these lines or remove them", file=sys.stderr)
        return 1
    print(f"the ground is covered: {len(GROUND)} files, 100 % of lines and branches")
    return 0


if __name__ == "__main__":
    sys.exit(main())
