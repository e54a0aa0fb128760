"""What the tests of ledgers and batches share: manifests on disk, a ledger at test speed, and the command line."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from smile_async.cli import main
from smile_async.ledger import Ledger
from smile_async.sandbox import RunningSandbox


def write_csv(path: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """A manifest as a plain program writes it."""
    rows = list(rows)
    names = list(rows[0])
    lines = [",".join(names), *(",".join(str(row[name]) for name in names) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def ledger_at(path: Path, **more: Any) -> Ledger:
    """A ledger that commits at once."""
    return Ledger(path, **{"delay": 0.0, **more})


def ledger_of_version(version: int, serial: str = "INTEGER") -> list[str]:
    """The statements of an empty ledger of an older version."""
    tables = Path(__file__).with_name(f"ledger_v{version}.sql").read_text().format(serial=serial)
    return [*tables.split(";\n")[:-1], f"INSERT INTO smile_meta VALUES ('version', '{version}')"]


def ledger_of_version_1(serial: str = "INTEGER") -> list[str]:
    """The statements of a ledger of version 1 with one job in it."""
    job = "INSERT INTO smile_jobs (job_id, user_id, job_type, state, reach, attempts, created_at) VALUES"
    return [*ledger_of_version(1, serial), f"{job} ('j1', 'ada', 2, 'accepted', 3, 1, 7.5)"]


async def command(
    running: RunningSandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: object
) -> tuple[int, Any, str]:
    """Run `smile-async batch …` in a thread against the sandbox of this loop: exit code, document, standard error."""
    for name, value in {
        "SMILE_PARTNER_ID": running.partner_id,
        "SMILE_API_KEY": running.api_key,
        "SMILE_BASE_URL": running.base_url,
        "SMILE_CA_FILE": running.ca_file,
    }.items():
        monkeypatch.setenv(name, str(value))
    code = await asyncio.to_thread(main, ["batch", *map(str, arguments), "--json"])
    said = capsys.readouterr()
    return code, json.loads(said.out) if said.out else None, said.err
