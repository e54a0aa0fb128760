"""Batches of V3: whom a row is about, what its rows agree to, and rows of which nobody can tell."""

import asyncio
import csv
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from batch_support import command, ledger_at
from street import Pictures, until
from v3_batch_support import CONSENT, PERSON, PRODUCTS, SECRETS, lose_answers, manifest_v3, row_v3, session_v3, taken

from smile_async import Consent, Product
from smile_async.batch import Flaw, Row, job_id_of, job_of, read_manifest
from smile_async.cli import main
from smile_async.ledger.batches import Batches
from smile_async.sandbox import RunningSandbox
from smile_async.traffic.payload import read_in_thread

Batch = Callable[..., Awaitable[tuple[int, Any, str]]]


@pytest.fixture
def batch(running: RunningSandbox, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Batch:
    """Run `smile-async batch … --api v3` against the sandbox, with a consent in the environment."""
    monkeypatch.setenv("SMILE_CONSENT_URL", CONSENT.privacy_policy_url)

    async def batch(*arguments: object, api: str | None = "v3") -> tuple[int, Any, str]:
        url = running.base_url if api is None else running.base_url_v3
        given: tuple[str, ...] = () if arguments[0] in ("status", "report") else ("--base-url", url)
        given += ("--api", api) if given and api else ()
        return await command(running, capsys, monkeypatch, *arguments, *given)

    return batch


def left_in(folder: Path, *unless: Path) -> bytes:
    """All bytes that lie in *folder*."""
    return b"".join(path.read_bytes() for path in folder.iterdir() if path not in unless)


def _again(number: int, pictures: Pictures) -> dict[str, Any]:
    """A registration that may be made twice."""
    return row_v3("smartselfie", number, pictures, allow_new_enroll=True)


def consents(running: RunningSandbox) -> set[str]:
    """The privacy policies that the sandbox was told of."""
    return {job.consent["notice_privacy_policy_url"] for job in running.sandbox.jobs.values()}


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
async def test_a_batch_of_every_product(
    kind: str, batch: Batch, running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """Rows of all of V3's products come to their verdicts, and of whom they are about nothing is left."""
    rows = [row_v3(product, number, pictures) for number, product in enumerate(PRODUCTS)]
    manifest, ledger, out = tmp_path / f"m.{kind}", tmp_path / "kept" / "l.db", tmp_path / "kept" / "out.jsonl"
    ledger.parent.mkdir()
    manifest_v3(manifest, rows)
    if kind == "csv":
        names = list(dict.fromkeys(name for row in rows for name in row))
        with manifest.open("w", newline="") as file:
            writer = csv.DictWriter(file, [name.upper() if "." in name else name for name in names], restval="")
            writer.writeheader()
            writer.writerows({name.upper() if "." in name else name: row[name] for name in row} for row in rows)
    code, said, _ = await batch("run", manifest, "--ledger", ledger, "--dry-run")
    assert (code, said) == (0, {"rows": 7, "problems": []})
    code, said, _ = await batch("run", manifest, "--ledger", ledger, "--out", out)
    assert (code, said["states"], said["failures"], said["unknown"]) == (0, {"final": 7}, [], 0)
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["product"] for line in told] == [str(Product(product)) for product in PRODUCTS]
    assert {(line["decision"], line["code"]) for line in told} == {("approved", "clear")}
    assert all(line["smile_job_id"].startswith("job_") for line in told)
    assert consents(running) == {CONSENT.privacy_policy_url}
    assert not [secret for secret in SECRETS if secret in left_in(ledger.parent)]
    assert (await batch("run", manifest, "--ledger", ledger))[0] == 0
    assert len(running.sandbox.jobs) == 7


async def test_a_person_is_kept_until_the_last_word(
    batch: Batch, running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """While a row waits its person stands apart in the ledger, and another person under its key is refused."""
    running.sandbox.script("u0", code="clear", after=60)
    manifest = manifest_v3(tmp_path / "m.jsonl", [row_v3("smartselfie", 0, pictures)])
    ledger = tmp_path / "l.db"
    code, said, _ = await batch("run", manifest, "--ledger", ledger, "--patience", "0.2")
    assert (code, said["id_fields_kept"], said["pending"]) == (2, 1, 1)
    manifest_v3(manifest, [row_v3("smartselfie", 0, pictures, **{"person.last_name": "Dangerfield"})])
    code, said, _ = await batch("run", manifest, "--ledger", ledger, "--patience", "0.2")
    assert (code, said["problems"][0]["why"].split(":")[:2]) == (
        *(4, ["key 'k0'", " its person or id fields have changed since it was sent"]),
    )
    assert "Dangerfield" not in json.dumps(said)
    assert len(running.sandbox.jobs) == 1


async def test_a_lost_answer_is_sent_again_only_by_who_accepts_duplicates(
    batch: Batch, running: RunningSandbox, pictures: Pictures, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such rows fail, are counted, and stay as they are through run, resume and retry-failed; others are retried."""
    lose_answers(running, user_id="u1")
    running.sandbox.fault("submit", status=402, body={"status": "no_funds", "message": "top up"}, user_id="u2")
    manifest = manifest_v3(tmp_path / "m.jsonl", [_again(number, pictures) for number in range(3)])
    ledger, lost = tmp_path / "l.db", job_id_of("m", "k1")
    code, said, told = await batch("run", manifest, "--ledger", ledger)
    assert (code, said["done"], said["failed"], said["unknown"]) == (3, 1, 2, 1)
    assert "1 failed rows got no answer" in told
    assert "--accept-duplicates" in told
    for verb in (("run", manifest), ("resume",)):
        code, said, _ = await batch(*verb, "--ledger", ledger)
        assert (code, said["failed"], said["unknown"]) == (3, 2, 1)
    code, said, told = await batch("retry-failed", "--ledger", ledger)
    assert (code, said["done"], said["failed"], said["unknown"]) == (3, 2, 1, 1)
    assert ("nobody can tell whether Smile ID has them" in told, "go on with" in told) == (True, False)
    assert said["failures"][0]["error"] == "SubmissionUnknown"
    assert (await batch("status", "--ledger", ledger))[1]["unknown"] == 1
    assert [job.submissions for job in taken(running, lost)] == [1]
    code, said, _ = await batch("retry-failed", "--ledger", ledger, "--accept-duplicates")
    assert (code, said["done"], said["unknown"]) == (0, 3, 0)
    assert len(taken(running, lost)) == 2
    assert len(running.sandbox.jobs) == 4
    assert not [secret for secret in SECRETS if secret in left_in(tmp_path, manifest)]


async def test_a_row_that_was_begun_before_a_crash(
    batch: Batch, running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """It may have been sent: it is unknown, its pictures gone or not; an AML check has a key, and so is sent."""
    place, gone = tmp_path / "l.db", tmp_path / "gone.jpg"
    gone.write_bytes(pictures.selfie)
    rows = [row_v3("smartselfie", 0, pictures, selfie=str(gone)), row_v3("aml_check", 1, pictures)]
    manifest = manifest_v3(tmp_path / "m.jsonl", rows)
    async with ledger_at(place) as ledger, session_v3(running, ledger=ledger):
        for row in read_manifest(manifest):
            assert isinstance(row, Row)
            job = job_of(row, job_id_of("m", row.key))
            await ledger.begin(job, (await read_in_thread(job)).digest())
    gone.unlink()
    code, said, _ = await batch("run", manifest, "--ledger", place)
    assert (code, said["done"], said["failed"], said["unknown"]) == (3, 1, 1, 1)
    assert said["failures"][0]["user_id"] == "u0"
    assert [job.product for job in running.sandbox.jobs.values()] == ["aml"]


async def test_a_killed_run_sends_nothing_twice(
    batch: Batch, running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """Killed while an answer was on its way: the next run reports the row as unknown, and its ticket still waits."""
    manifest = manifest_v3(tmp_path / "m.jsonl", [row_v3("smartselfie", 0, pictures)])
    running.sandbox.fault("submit", delay=60, effect=True, times=None)
    account = {f"SMILE_{name.upper()}": str(value) for name, value in running.account_v3.items()}
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "smile_async.cli", "batch", "run", str(manifest), "--ledger", str(tmp_path / "l.db")),
        env={**os.environ, **account},
        stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    await until(lambda: running.sandbox.jobs, 40)
    child.kill()
    await child.wait()
    running.sandbox.mend()
    code, said, _ = await batch("run", manifest, "--ledger", tmp_path / "l.db")
    assert (code, said["unknown"], len(running.sandbox.jobs)) == (3, 1, 1)
    async with session_v3(running, ledger=tmp_path / "l.db") as session:
        assert [(ticket.user_id, ticket.api) async for ticket in session.pending()] == [("u0", "v3")]


async def test_a_row_that_v3_does_not_take_ends_as_failed(
    batch: Batch, running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """Nobody said whom it is about, or it is v1's product: the dry run names the line, and a run comes to its end."""
    lonely = {name: value for name, value in row_v3("smartselfie", 0, pictures).items() if name not in PERSON}
    png = tmp_path / "face.png"
    png.write_bytes(b"\x89PNG\r\n\x1a\n")
    rows = [
        lonely,
        row_v3("basic_kyc", 1, pictures) | {"selfie": None, "liveness": None},
        row_v3("smartselfie", 2, pictures, liveness=pictures.liveness_paths[0]),
        row_v3("smartselfie", 3, pictures, **{"person.phone_number": "0801"}),
        row_v3("smartselfie", 4, pictures),
    ]
    manifest, ledger = manifest_v3(tmp_path / "m.jsonl", rows), tmp_path / "l.db"
    code, said, _ = await batch("run", manifest, "--ledger", ledger, "--dry-run")
    whys = {problem["line"]: problem["why"] for problem in said["problems"]}
    assert (code, sorted(whys)) == (4, [1, 2, 3, 4])
    for line, words in enumerate(
        ("there is no person", "v3 has no basic_kyc", "liveness frames", "phone_number is"), 1
    ):
        assert words in whys[line]
    assert "0801" not in json.dumps(said)
    code, said, _ = await asyncio.wait_for(batch("run", manifest, "--ledger", ledger), 60)
    assert (code, said["done"], said["failed"]) == (3, 1, 4)
    assert {failure["error"] for failure in said["failures"]} == {"InvalidJob"}


async def test_a_row_of_the_other_api_ends_as_failed(batch: Batch, pictures: Pictures, tmp_path: Path) -> None:
    """A compare row in a batch of v1 is named by the dry run, and does not keep the run waiting."""
    manifest = manifest_v3(tmp_path / "m.jsonl", [row_v3("compare", 0, pictures)])
    code, said, _ = await batch("run", manifest, "--ledger", tmp_path / "l.db", "--dry-run", api=None)
    assert (code, "v1 has no compare: send it with api='v3'" in said["problems"][0]["why"]) == (4, True)
    code, said, _ = await asyncio.wait_for(batch("run", manifest, "--ledger", tmp_path / "l.db", api=None), 60)
    assert (code, said["failed"], said["failures"][0]["error"]) == (3, 1, "InvalidJob")


async def test_what_rows_agree_to(
    batch: Batch, running: RunningSandbox, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row's own consent, else the batch's option, which a resumption knows, else the variable's; else none."""
    monkeypatch.delenv("SMILE_CONSENT_URL")
    own = {"consent.privacy_policy_url": "https://own.example/p", "consent.language": "FR"}
    rows = [row_v3("smartselfie", 0, pictures, **own), row_v3("smartselfie", 1, pictures)]
    manifest, ledger = manifest_v3(tmp_path / "m.jsonl", rows), tmp_path / "l.db"
    running.sandbox.fault("submit", status=402, body={"status": "no_funds", "message": "top up"}, user_id="u1")
    agreed = ("--consent-url", "https://batch.example/p", "--consent-language", "SW")
    assert (await batch("run", manifest, "--ledger", ledger, "--patience", "1", *agreed))[0] != 0
    running.sandbox.mend()
    assert (await batch("retry-failed", "--ledger", ledger))[0] == 0
    assert consents(running) == {"https://own.example/p", "https://batch.example/p"}
    code, said, _ = await batch("run", manifest, "--ledger", ledger, "--consent-language", "SW")
    assert (code, "--consent-language needs --consent-url" in said["message"]) == (4, True)
    code, said, _ = await batch("run", manifest, "--ledger", ledger, "--consent-url", "http://batch.example")
    assert (code, "privacy_policy_url is not https" in said["message"]) == (4, True)


async def test_a_batch_stays_with_its_api(
    batch: Batch, running: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """A run, a resumption or a retry by the other API is refused by name before anything is written or sent."""
    manifest = manifest_v3(tmp_path / "m.jsonl", [row_v3("smartselfie", 0, pictures)])
    ledger = tmp_path / "l.db"
    assert (await batch("run", manifest, "--ledger", ledger))[0] == 0
    for verb in (("run", manifest), ("resume",), ("retry-failed",)):
        code, said, _ = await batch(*verb, "--ledger", ledger, api=None)
        assert (code, "by api 'v3', and this is api 'v1'" in said["message"]) == (4, True)
    async with ledger_at(ledger) as opened:
        assert (await Batches(opened).latest("m"))[0] == 1
    assert len(running.sandbox.jobs) == 1


async def test_sandbox_says_who_speaks_what(capsys: pytest.CaptureFixture[str]) -> None:
    """An API that there is not is refused, also by a dry run."""
    assert await asyncio.to_thread(main, ["batch", "run", "none.csv", "--dry-run", "--api", "v4"]) == 4


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"person": ["x"]}, "person is list: give an object"),
        ({"person": {"shoe": "44"}}, "person.shoe is unknown: give one of given_names, last_name, email"),
        ({"person": {"email": 7}}, "person.email is a number"),
        ({"selfie": "x.jpg", "person": {"given_names": "Amina", "email": "a@b.example"}}, "there is no last_name"),
        ({"person.shoe": "44"}, "has an unknown field 'person.shoe'"),
        ({"consent.shoe": "44"}, "has an unknown field 'consent.shoe'"),
        ({"consent": {"privacy_policy_url": "https://a.example", "shoe": 1}}, "consent: shoe is unknown"),
        ({"consent.privacy_policy_url": "http://a.example"}, "consent: privacy_policy_url is not https"),
        ({"consent.privacy_policy_url": "https://a.example", "consent.granted_at": "now"}, "granted_at is no moment"),
        ({"selfie": "x.jpg", "comparison": "y.jpg", "comparison_type": "dog"}, "comparison_type is none of"),
    ],
)
def test_a_row_that_can_not_be_meant(fields: dict[str, Any], why: str, tmp_path: Path) -> None:
    """What is wrong with person, consent or comparison is said of the row, without a name."""
    (row,) = read_manifest(manifest_v3(tmp_path / "m.jsonl", [{"user_id": "ada", **fields}]), Product.COMPARE)
    said = row.why if isinstance(row, Flaw) else ""
    if isinstance(row, Row):
        with pytest.raises(ValueError, match=r".") as refused:
            job_of(row, "j1")
        said = str(refused.value)
    assert why in said
    assert "Amina" not in said


def test_a_row_comes_back_from_the_ledger_whole(pictures: Pictures, tmp_path: Path) -> None:
    """Its spec, and the person beside it, make the same job again; its repr and spec name nobody."""
    rows = [row_v3(product, 0, pictures) for product in PRODUCTS]
    rows[0] |= {"person": {"phone_number": "+2348012345678"}, "consent": {"privacy_policy_url": "https://a.example/p"}}
    rows[0]["consent.granted_at"] = "2026-11-01T10:00:00+01:00"
    for row in read_manifest(
        manifest_v3(tmp_path / "m.jsonl", rows), consent={"privacy_policy_url": "https://b.example"}
    ):
        assert isinstance(row, Row)
        record = {"spec": row.spec(), "line": 1, "row_key": "k", "user_id": row.user_id, "job_id": "j"}
        made, again = job_of(row, "j"), job_of(Row.of({**record, "fields": json.dumps(dict(row.about))}), "j")
        assert made.person is not None
        assert (again.subject(), again.images, again.consent) == (made.subject(), made.images, made.consent)
        assert isinstance(again.consent, Consent)
        assert not any(name in row.spec() + repr(row) for name in (*PERSON.values(), "+234"))
