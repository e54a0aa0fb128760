"""Whom a job is about is in no table of a PostgreSQL after the last word, and in nothing that a command leaves behind.

Each row and lookup has an id number and names that nothing else has, and the provider's record a word of its own; the
numbers must be found where they are kept on purpose, or the search would prove nothing.
"""

import asyncio
import io
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from canary_support import Canary
from cli_support import export
from postgres import Postgres
from product_rows import PRODUCTS, number_of, rows_of
from psycopg import sql
from street import Pictures, session_of
from workers_support import fresh

from smile_async import Document, IdInfo, Job
from smile_async.cli import main
from smile_async.sandbox import RunningSandbox

RECORD = "canary-of-the-record"
PERSON = {"id_number": "90817263540", "first_name": "Canaryfirst", "last_name": "Canarylast", "dob": "1971-03-04"}
#: Of the rows that say a number: each as it stands in its manifest.
NUMBERS = [number_of(n) for n, product in enumerate(PRODUCTS) if "kyc" in product]
ROWS = [*NUMBERS, number_of(PRODUCTS.index("business_verification"))[-7:], "Canarina", "1971-03-04"]


def tell_more(reply: dict[str, Any]) -> None:
    """The authority's record has a word that nothing else has."""
    told = reply.get("result", reply)
    if isinstance(told, dict) and "ResultCode" in told:
        told.update(FullName=RECORD, FullData={"nin": RECORD})


@pytest.fixture
def telling(running: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> RunningSandbox:
    """A sandbox whose records say more, and whose variables are exported."""
    for leg in ("request", "job_status"):
        running.sandbox.fault(leg, tamper=tell_more, times=None)  # type: ignore[arg-type]
    export(monkeypatch, running.partner_id, running.api_key, running.base_url, running.ca_file)
    return running


def tables_of(url: str) -> dict[str, str]:
    """All rows of all tables, those of the queue included, as text."""
    with psycopg.connect(url) as connection:
        named = connection.execute(
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        found = {}
        for schema, name in named:
            query = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, name))
            found[name] = "\n".join(row for (row,) in connection.execute(query))
        return found


def shown(tables: Mapping[str, str], secrets: list[str]) -> set[str]:
    """The names of those tables that hold any of *secrets*, plainly or as the hex of bytes."""
    return {
        name
        for name, text in tables.items()
        if any(secret in text or secret.encode().hex() in text for secret in secrets)
    }


def manifest_in(folder: Path, pictures: Pictures) -> Path:
    """A row of each product."""
    path = folder / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows_of(pictures, len(PRODUCTS))))
    return path


async def command(canary: Canary, capsys: pytest.CaptureFixture[str], *arguments: object) -> int:
    """Run a command: its exit code; what it says may be seen."""
    code = await asyncio.to_thread(main, [*map(str, arguments)])
    canary.seen += capsys.readouterr()
    return code


async def test_nothing_of_a_batch_is_left_in_a_database(
    server: Postgres,
    telling: RunningSandbox,
    pictures: Pictures,
    canary: Canary,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Until a row's last word its fields lie in one table, and never in the queue; afterwards in none."""
    url, manifest = fresh(server), manifest_in(tmp_path, pictures)
    canary.secrets += [*ROWS, RECORD]
    enqueue = ("batch", "run", manifest, "--ledger", url, "--enqueue", "--chunk", "3", "--json")
    assert await command(canary, capsys, *enqueue) == 2
    before = tables_of(url)
    assert shown(before, ROWS) == {"smile_id_info"}
    assert all(number in before["smile_id_info"] for number in ROWS)
    assert any(name.startswith("procrastinate_") and text for name, text in before.items())
    worker = ("worker", "--ledger", url, "--until-empty", "--json")
    assert await command(canary, capsys, *worker) == 0
    after = tables_of(url)
    assert all(job.decision for job in telling.sandbox.jobs.values())
    assert len(telling.sandbox.jobs) == after["smile_jobs"].count("final") == len(PRODUCTS)
    assert shown(after, canary.secrets) == set()
    canary.assert_nothing()


async def test_nothing_of_a_lookup_is_left_in_a_database(
    server: Postgres, telling: RunningSandbox, pictures: Pictures, canary: Canary
) -> None:
    """Jobs that are verified one by one, and one of which nobody can tell, leave nothing of anybody in any table."""
    url = fresh(server)
    canary.secrets += [*PERSON.values(), RECORD]
    info = IdInfo("NG", "NIN_V2", **PERSON)
    card = Document("NG", pictures.selfie, pictures.other, "PASSPORT")
    jobs = [
        Job.enhanced_kyc("ada", info),
        Job.basic_kyc("ada", info),
        Job.aml_check("ada", "Canaryfirst Canarylast", ["NG"]),
        Job.biometric_kyc("kyc", pictures.selfie, info),
        Job.enhanced_document_verification("edv", pictures.selfie, card),
    ]
    lost = Job.basic_kyc("ada", info)
    telling.sandbox.mend("request")
    telling.sandbox.fault("request", status=502, effect=True, job_id=lost.job_id)
    telling.sandbox.settings.without_status = ("basic_kyc",)
    async with session_of(telling, ledger=url) as session:
        verdicts = await asyncio.gather(*(session.verify(job, "final") for job in jobs))
        with pytest.raises(Exception, match="nobody can tell") as caught:
            await session.verify(lost, patience=1)
        canary.look_at_error(caught.value)
        assert all(verdict.approved for verdict in verdicts)
        assert [ticket.job_id async for ticket in session.pending()] == [lost.job_id]
    tables = tables_of(url)
    assert all(job.job_id in tables["smile_jobs"] for job in [*jobs, lost])
    assert shown(tables, canary.secrets) == set()
    canary.assert_nothing()


LOOKUPS = ("enhanced_kyc", "basic_kyc", "business_verification", "aml_check", "biometric_kyc")
#: What the provider does to a command's request: it answers, refuses and repeats what was sent, or forges.
ENDS: dict[str, dict[str, Any]] = {
    "ok": {"tamper": tell_more},
    "refused": {"status": 400},
    "forged": {"tamper": lambda reply: (tell_more(reply), reply.update(signature="A" * 43 + "="))},
}


def refusal(*sent: str) -> dict[str, str]:
    """A refusal that repeats what was sent."""
    return {"error": f"Invalid: {sent}", "code": "2413"}


def told_to(product: str) -> dict[str, str]:
    """What a command reads about a person."""
    if product == "aml_check":
        return {"full_name": f"{PERSON['first_name']} {PERSON['last_name']}", "countries": "NG"}
    if product == "business_verification":
        company = {"type": "BASIC_BUSINESS_REGISTRATION", "business_type": "co"}
        return {"country": "NG", "id_number": PERSON["id_number"], **company}
    return {"country": "NG", "type": "NIN_V2", **PERSON}


@pytest.mark.parametrize("end", ENDS)
async def test_nothing_of_a_lookup_is_said_by_a_command(
    end: str,
    telling: RunningSandbox,
    pictures: Pictures,
    canary: Canary,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """verify, submit, status and wait, for people and as JSON: output, errors and logs show nobody."""
    canary.secrets += [*PERSON.values(), RECORD]
    # Those of the fixture would be found first.
    telling.sandbox.mend()
    for leg in ("upload", "job_status") if end == "refused" else ("request", "job_status"):
        telling.sandbox.fault(leg, times=None, **ENDS[end])  # type: ignore[arg-type]
    for product in LOOKUPS:
        if end == "refused":
            about = told_to(product)
            for user in (f"{product}-{verb}{form}" for verb in ("verify", "submit") for form in ("", "--json")):
                telling.sandbox.fault("request", times=None, user_id=user, status=400, body=refusal(*about.values()))
        face = [pictures.selfie_path] if product == "biometric_kyc" else []
        verbs = ("verify",) if product == "aml_check" else ("verify", "submit")
        for verb in verbs:
            for form in ([], ["--json"]):
                monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(told_to(product))))
                user = f"{product}-{verb}{''.join(form)}"
                asked = [verb, *face, "--user-id", user, "--product", product, "--id-info", "-"]
                code = await command(canary, capsys, *asked, "--patience", "20", *form)
                assert (code == 0) == (end == "ok" or (end, verb, code) == ("forged", "submit", 0)), (asked, code)
    for job in list(telling.sandbox.jobs.values()):
        ticket = json.dumps({"user_id": job.user_id, "job_id": job.job_id, "job_type": job.job_type})
        for verb in ("status", "wait"):
            for form in ([], ["--json"]):
                code = await command(canary, capsys, verb, ticket, *form)
                assert (code == 0) == (end == "ok"), (verb, code)
    assert len(canary.seen) > 2 * len(LOOKUPS)
    canary.assert_nothing()


@pytest.mark.parametrize("end", ENDS)
async def test_nothing_of_a_batch_is_left_by_a_command(
    end: str,
    telling: RunningSandbox,
    pictures: Pictures,
    canary: Canary,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Run, status, resume and report: output, logs, ledger with -wal and -shm, JSONL, CSV and page show nobody."""
    canary.secrets += [*ROWS, RECORD]
    telling.sandbox.mend()
    for leg in ("upload", "job_status") if end == "refused" else ("request", "job_status"):
        telling.sandbox.fault(leg, times=None, **ENDS[end])  # type: ignore[arg-type]
    for row in rows_of(pictures, len(PRODUCTS)) if end == "refused" else ():
        sent = [str(value) for name, value in row.items() if name.startswith("id.")]
        telling.sandbox.fault("request", times=None, user_id=row["user_id"], status=400, body=refusal(*sent))
    kept = tmp_path / "kept"
    kept.mkdir()
    ledger, manifest = kept / "l.db", manifest_in(tmp_path, pictures)
    for form in ([], ["--json"]):
        for out in ("out.jsonl", "out.csv"):
            run = ("batch", "run", manifest, "--ledger", ledger, "--out", kept / out, "--patience", 3)
            code = await command(canary, capsys, *run, *form)
            assert code == (0 if end == "ok" else 3)
        for verb in ("status", "resume"):
            code = await command(canary, capsys, "batch", verb, "--ledger", ledger, *form)
            assert code == (0 if end == "ok" else 3)
        report = ("batch", "report", "--ledger", ledger, "--out", kept / "p.html", "--csv", kept / "p.csv")
        await command(canary, capsys, *report, *form)
        files = [path for path in kept.rglob("*") if path.is_file()]
        assert {"l.db", "out.jsonl", "out.csv", "p.html", "p.csv"} <= {path.name for path in files}
        canary.seen += [path.read_bytes().decode("latin-1") for path in files]
    canary.assert_nothing()
