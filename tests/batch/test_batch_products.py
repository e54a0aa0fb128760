"""Batches of every product: what a manifest may say, what a ledger keeps of it, and for how long."""

import asyncio
import csv
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest
import sqlalchemy as sa
from batch_support import command
from product_rows import NAMES, PRODUCTS, number_of, row_of, rows_of
from street import Pictures, session_of

from smile_async import IdInfo, Job, Product
from smile_async.batch import Flaw, Planner, Row, Run, job_of, read_manifest
from smile_async.batch.dry_run import check
from smile_async.cli import main
from smile_async.errors import BadConfiguration, InvalidJob
from smile_async.ledger import Ledger
from smile_async.ledger.batches import Batches
from smile_async.ledger.schema import id_info, jobs
from smile_async.sandbox import RunningSandbox

Tell = tuple[RunningSandbox, pytest.CaptureFixture[str], pytest.MonkeyPatch]


@pytest.fixture
def tell(running: RunningSandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Tell:
    """What a batch command needs."""
    return running, capsys, monkeypatch


def lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A manifest as a program writes it: what a row has not is not there."""
    path.write_text("\n".join(map(json.dumps, rows)) + "\n")
    return path


def table(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """The same as a spreadsheet has it: all columns, empty cells."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def left_behind(folder: Path, *unless: Path) -> bytes:
    """All bytes that lie in *folder*, write-ahead logs included."""
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file() and path not in unless)


async def kept_in(where: Path | str) -> dict[str, str]:
    """The id fields that a ledger holds."""
    async with Ledger(where, read_only=True) as ledger, ledger.reading() as connection:
        query = sa.select(jobs.c.row_key, id_info.c.fields).join(jobs, jobs.c.job_id == id_info.c.job_id)
        return {row.row_key: row.fields for row in await connection.execute(query)}


@pytest.mark.parametrize("write", [lines, table])
async def test_a_batch_of_every_product(write: Any, tell: Tell, pictures: Pictures, tmp_path: Path) -> None:
    """One manifest, as JSON or CSV, holds rows of all products; none of whom they are about is left anywhere."""
    rows = rows_of(pictures, 10)
    manifest = write(tmp_path / ("m.csv" if write is table else "m.jsonl"), rows)
    ledger, out, page = tmp_path / "kept" / "l.db", tmp_path / "kept" / "out.csv", tmp_path / "kept" / "p.html"
    ledger.parent.mkdir()
    code, said, _ = await command(*tell, "run", manifest, "--ledger", ledger, "--dry-run")
    assert (code, said) == (0, {"rows": 10, "problems": []})
    code, said, _ = await command(*tell, "run", manifest, "--ledger", ledger, "--out", out)
    assert (code, said["states"], said["failures"], said["id_fields_kept"]) == (0, {"final": 10}, [], 0)
    assert (await command(*tell, "report", "--ledger", ledger, "--out", page, "--csv", page.with_suffix(".csv")))[
        0
    ] == 0
    told = {line["key"]: line for line in csv.DictReader(out.read_text().splitlines())}
    assert [told[f"k{n}"]["product"] for n in range(8)] == list(PRODUCTS)
    assert {told[f"k{n}"]["decision"] for n in (4, 5)} == {"approved", "rejected"}
    left = left_behind(ledger.parent)
    assert b"smile_id_info" in left
    for secret in ("Canarina", "1971-03-04", *(number_of(n) for n in (1, 4, 5))):
        assert secret.encode() not in left
    assert await kept_in(ledger) == {}


async def test_a_corrected_number_is_an_objection(tell: Tell, pictures: Pictures, tmp_path: Path) -> None:
    """A row that was sent with another number is refused; so says a run after the key was changed, too."""
    row = row_of("basic_kyc", 2, pictures)
    manifest, ledger = tmp_path / "m.jsonl", tmp_path / "l.db"
    assert (await command(*tell, "run", lines(manifest, [row]), "--ledger", ledger))[0] == 0
    assert (await command(*tell, "run", manifest, "--ledger", ledger))[0] == 0
    code, said, _ = await command(
        *tell, "run", lines(manifest, [{**row, "id.number": number_of(7)}]), "--ledger", ledger
    )
    (problem,) = said["problems"]
    assert (code, problem["line"]) == (4, 1)
    assert problem["why"].startswith("key 'k2': its id fields have changed since it was sent: give the row a key")
    assert number_of(7) not in json.dumps(said)
    lines(manifest, [{**row, "product": "enhanced_kyc"}])
    code, said, _ = await command(*tell, "run", manifest, "--ledger", ledger)
    assert "was sent with another product (basic_kyc then, enhanced_kyc now)" in said["problems"][0]["why"]
    assert len(tell[0].sandbox.jobs) == 1


async def test_a_failure_that_may_pass_keeps_the_fields(tell: Tell, pictures: Pictures, tmp_path: Path) -> None:
    """What may be tried again keeps them, and the status counts those; what is refused for good does not."""
    sandbox = tell[0].sandbox
    sandbox.fault("upload", status=500, times=None, user_id="u4")
    sandbox.fault("request", status=400, body={"error": "value not allowed", "code": "2413"}, times=None, user_id="u8")
    rows = [row_of("biometric_kyc", 4, pictures), row_of("basic_kyc", 8, pictures), row_of("basic_kyc", 7, pictures)]
    manifest, ledger = lines(tmp_path / "m.jsonl", rows), tmp_path / "l.db"
    code, said, _ = await command(*tell, "run", manifest, "--ledger", ledger)
    assert (code, said["states"], said["id_fields_kept"]) == (3, {"failed": 2, "final": 1}, 1)
    assert {key: number_of(4) in fields for key, fields in (await kept_in(ledger)).items()} == {"k4": True}
    assert (await command(*tell, "status", "--ledger", ledger))[1]["id_fields_kept"] == 1
    await asyncio.to_thread(main, ["batch", "status", "--ledger", str(ledger)])
    assert "id fields kept  1" in tell[1].readouterr().out
    sandbox.faults.clear()
    code, said, _ = await command(*tell, "retry-failed", "--ledger", ledger)
    assert (code, said["states"], said["id_fields_kept"]) == (0, {"final": 3}, 0)
    assert number_of(4).encode() not in left_behind(tmp_path, manifest)


async def test_erasing_and_purging_take_the_fields_along(tell: Tell, pictures: Pictures, tmp_path: Path) -> None:
    """What is forgotten of a job is its id fields too."""
    tell[0].sandbox.fault("upload", status=500, times=None)
    manifest = lines(tmp_path / "m.jsonl", [row_of("biometric_kyc", n, pictures) for n in (1, 2, 3)])
    ledger = tmp_path / "l.db"
    assert (await command(*tell, "run", manifest, "--ledger", ledger))[1]["id_fields_kept"] == 3
    assert (await command(*tell, "erase", "--ledger", ledger, "--user-id", "u2"))[1] == {"erased": 1}
    assert set(await kept_in(ledger)) == {"k1", "k3"}
    assert number_of(2).encode() not in left_behind(tmp_path, manifest)
    await asyncio.sleep(0.01)
    assert (await command(*tell, "purge", "--ledger", ledger, "--older-than", "0s"))[1] == {"erased": 2}
    assert await kept_in(ledger) == {}
    for number in (1, 3):
        assert number_of(number).encode() not in left_behind(tmp_path, manifest)


BAD = [
    ({"id": {"country": "NG", "type": "NIN_V2", "number": 90817263540}}, "id.number is a number, which has lost its"),
    ({"id.country": "ng", "id.type": "NIN_V2", "id.number": "1"}, "country is 'ng'"),
    ({"id.country": "NG", "id.number": "1"}, "there is no id_type"),
    ({"id.country": "NG", "id.type": "NIN_V2"}, "there is no id_number: give one, or a session_id"),
    ({"id.country": "NG", "id.type": "NIN_V2", "id.number": "1", "id.dob": "4.3.1971"}, "dob is no date"),
    ({"id.country": "NG", "id.type": "NIN_V2", "id.number": "1", "front": "x.jpg"}, "with a picture of a card"),
    ({"id.country": "NG", "id.type": "NIN_V2", "id.number": "1", "selfie": "x.jpg"}, "takes no selfie"),
    (
        {"id.country": "NG", "id.type": "NIN_V2", "id.number": "1", "allow_new_enroll": True},
        "takes no allow_new_enroll",
    ),
    ({"id.country": "NG", "id.type": "NIN_V2", "id.number": "1", "id.full_name": "A"}, "takes no full_name"),
    ({"id.shoe": "44"}, "has an unknown field 'id.shoe'"),
    ({"id": {"shoe": "44"}}, "id.shoe is unknown"),
    ({"id": ["x"]}, "id is list"),
    ({"product": "kyc"}, "product is 'kyc': give one of"),
    ({"product": "aml_check", "job_type": "5"}, "job_type is 5"),
    (
        {"product": "aml_check", "id.full_name": "A", "id.countries": "NG", "id.strict_match": "maybe"},
        "strict_match is str",
    ),
    ({"consent": "{"}, "consent is not JSON"),
    ({"consent": [1]}, "consent is list"),
    ({"use_enrolled_image": "perhaps"}, "use_enrolled_image is neither true nor false"),
]


@pytest.mark.parametrize(("fields", "why"), BAD)
def test_a_row_that_can_not_be_meant(fields: dict[str, Any], why: str, tmp_path: Path) -> None:
    """What is wrong is said of the row, and never repeats who it is about."""
    manifest = lines(tmp_path / "m.jsonl", [{"user_id": "ada", **fields}])
    (row,) = read_manifest(manifest, Product.ENHANCED_KYC)
    if isinstance(row, Row):
        with pytest.raises(InvalidJob, match=why) as refused:
            job_of(row, "j1")
        said = str(refused.value)
    else:
        said = row.why
        assert why in said
    assert "90817263540" not in said
    assert "4.3.1971" not in said


def test_a_number_that_a_spreadsheet_has_shortened(tmp_path: Path) -> None:
    """A cell such as 9.08E+10 is a flaw of its row, and is not repeated."""
    manifest = tmp_path / "m.csv"
    manifest.write_text("user_id;id.country;ID.Type;id.number\nada;NG;NIN_V2;9,08E+10\nbob;NG;NIN_V2;00123456780\n")
    flaw, row = read_manifest(manifest, Product.BASIC_KYC)
    assert isinstance(flaw, Flaw)
    assert flaw.why == "id.number is a number in short, not what it was before a spreadsheet: format the column as text"
    assert isinstance(row, Row)
    assert "00123456780" not in repr(row)
    assert "00123456780" not in row.spec()
    info = IdInfo("NG", "NIN_V2", "00123456780")
    assert job_of(row, "j").subject() == Job.basic_kyc("bob", info).subject()


def test_a_row_comes_back_from_the_ledger_whole(pictures: Pictures, tmp_path: Path) -> None:
    """Its spec and the id fields beside it make the same job again; flags, consent and fields of one's own too."""
    rows = rows_of(pictures, 8)
    rows[1] |= {
        "allow_new_enroll": "true",
        "consent": {"consented": {"personal_details": True}},
        "id.extra.shoe": "a_44",
    }
    for row in read_manifest(lines(tmp_path / "m.jsonl", rows)):
        assert isinstance(row, Row)
        record = {"spec": row.spec(), "line": 1, "row_key": "k", "user_id": row.user_id, "job_id": "j"}
        again = job_of(Row.of({**record, "fields": json.dumps(dict(row.about))}), "j")
        made = job_of(row, "j")
        assert (again.product, again.subject(), again.images) == (made.product, made.subject(), made.images)
        assert (again.allow_new_enroll, again.consent) == (made.allow_new_enroll, made.consent)
        assert not any(secret in row.spec() for secret in (*NAMES.values(), "a_44", "Canarina"))


async def test_a_product_for_all_rows(tell: Tell, pictures: Pictures, tmp_path: Path) -> None:
    """--product is that of rows that do not say; told otherwise later, nothing of the batch changes."""
    row = row_of("basic_kyc", 2, pictures)
    del row["product"]
    manifest, ledger = table(tmp_path / "m.csv", [row]), tmp_path / "m.csv.ledger"
    assert (await command(*tell, "run", manifest, "--product", "basic_kyc"))[0] == 0
    assert [job.product for job in tell[0].sandbox.jobs.values()] == ["basic_kyc"]
    code, said, _ = await command(*tell, "run", manifest, "--product", "enhanced_kyc")
    assert (code, "batch m was sent with --product basic_kyc (line 2: user u2" in said["message"]) == (4, True)
    assert (await command(*tell, "resume", "--ledger", ledger))[0] == 0
    code, said, _ = await command(*tell, "run", manifest, "--product", "kyc")
    assert (code, "'kyc' is not known: give one of" in said["message"]) == (4, True)
    with pytest.raises(BadConfiguration, match="does not tell the product"):
        list(read_manifest(manifest, 5))


async def test_a_dry_run_writes_nobody_down(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its temporary ledger holds no id field, while it is there."""
    seen: list[bytes] = []
    removed = tempfile.TemporaryDirectory.cleanup

    def looked_at(folder: tempfile.TemporaryDirectory[str]) -> None:
        seen.append(left_behind(Path(folder.name)))
        removed(folder)

    monkeypatch.setattr(tempfile.TemporaryDirectory, "__exit__", lambda folder, *_: looked_at(folder))
    rows = [row_of("basic_kyc", n, pictures) for n in range(3)]
    assert await check(read_manifest(lines(tmp_path / "m.jsonl", rows)), "b") == (3, [])
    (found,) = seen
    assert (b"smile_id_info" in found, b"Canarina" in found) == (True, False)


async def test_a_row_whose_fields_are_gone_comes_to_an_end(
    running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """Without the fields no job can be made of a row that may have been sent: it fails, and is not tried for ever."""
    manifest = lines(tmp_path / "m.jsonl", [row_of("basic_kyc", 2, pictures)])
    async with Ledger(tmp_path / "l.db", delay=0.0) as ledger, session_of(running, ledger=ledger) as session:
        batches = Batches(ledger)
        planner = Planner(ledger, "b", await batches.start("b", {}))
        work = await planner.next(read_manifest(manifest))
        assert work is not None
        ((_, job),) = work.send
        await ledger.begin(job, hashlib.sha256().digest())
        async with ledger.writing() as connection:
            await connection.execute(id_info.delete())
        run = Run(session, ledger, Planner(ledger, "b", 1))
        await run._queue.put(work.chunks)
        with anyio.fail_after(20):
            await run.go(iter(()))
        (row,) = [row async for row in batches.rows("b")]
        assert (row["state"], row["error"]) == ("failed", "InvalidJob")
    assert not running.sandbox.jobs
