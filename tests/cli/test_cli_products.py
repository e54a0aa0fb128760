"""The command line and the account's products: where an id number may come from, and what a shell is told."""

import io
import json
import sys
from pathlib import Path

import pytest
from cli_support import Run
from street import Pictures

from smile_async.sandbox import RunningSandbox

NUMBER, OTHER = "90817263540", "90817263541"
LOOKUP = ("verify", "--user-id", "bob", "--country", "NG", "--id-type", "NIN_V2", "--product")


def pipe(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Give a command *text* as its standard input."""
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


async def test_where_an_id_number_comes_from(
    run: Run, account: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard input, a file or a variable; what was read decides, and is printed nowhere."""
    pipe(monkeypatch, f"{NUMBER}\n")
    piped = await run(*LOOKUP, "enhanced_kyc", "--id-number", "-")
    (tmp_path / "number").write_text(f"\ufeff{OTHER}\r\n")
    filed = await run(*LOOKUP, "basic-kyc", "--id-number", f"@{tmp_path / 'number'}", "--json")
    monkeypatch.setenv("SMILE_ID_NUMBER", NUMBER)
    known = await run(*LOOKUP, "basic_kyc", "--json")
    assert [ran.code for ran in (piped, filed, known)] == [0, 1, 0]
    assert "Enhanced KYC" in piped.out
    assert known.document["ticket"]["product"] == "basic_kyc"
    assert [job.id_info["id_number"] for job in account.sandbox.jobs.values()] == [NUMBER, OTHER, NUMBER]
    assert not any(NUMBER in ran.out + ran.err or OTHER in ran.out + ran.err for ran in (piped, filed, known))


async def test_further_fields_and_lists(run: Run, account: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """--id-info brings names and dates, for a lookup or a check of lists."""
    said = {"country": "NG", "type": "NIN_V2", "number": NUMBER, "first_name": "Ada", "dob": "1990-01-31"}
    pipe(monkeypatch, json.dumps(said))
    assert (await run("verify", "--user-id", "bob", "--product", "basic_kyc", "--id-info", "-")).code == 0
    pipe(monkeypatch, json.dumps({"full_name": "Ada Obi", "countries": "NG;GH", "birth_year": "1990"}))
    assert (await run("verify", "--user-id", "bob", "--product", "aml_check", "--id-info", "-")).code == 0
    looked_up, screened = account.sandbox.jobs.values()
    assert (looked_up.id_info["first_name"], looked_up.id_info["dob"]) == ("Ada", "1990-01-31")
    assert screened.id_info["countries"] == ["NG", "GH"]


async def test_a_document_and_a_person(run: Run, account: RunningSandbox, pictures: Pictures) -> None:
    """Front and back of a card travel with a selfie; `submit` prints a ticket that `status` and `wait` take."""
    front, back, *_ = pictures.liveness_paths
    card = ("--country", "NG", "--id-type", "PASSPORT", "--front", front, "--back", back)
    sent = await run("submit", pictures.selfie_path, "--user-id", "bob", "--product", "doc_verification", *card)
    waited = await run("wait", sent.out, "--json")
    asked = await run("status", sent.out, "--json")
    assert (sent.code, waited.code, asked.code) == (0, 0, 0)
    assert waited.document["code"] == asked.document["verdict"]["code"] == "0810"
    (job,) = account.sandbox.jobs.values()
    assert (job.product, len(job.images)) == ("document_verification", 3)


async def test_attention_is_exit_code_5(run: Run, account: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is finished and for a person to look at is neither an approval nor a rejection for a shell."""
    account.sandbox.script("bob", code="1017")
    pipe(monkeypatch, json.dumps({"full_name": "Ada Obi", "countries": "NG"}))
    ran = await run(
        "verify", "--user-id", "bob", "--job-id", "j1", "--product", "aml_check", "--id-info", "-", "--json"
    )
    assert (ran.code, ran.document["decision"], ran.document["approved"]) == (5, "attention", False)
    ticket = json.dumps(ran.document["ticket"])
    assert [(await run(verb, ticket)).code for verb in ("status", "wait")] == [5, 5]


async def test_a_wait_ends_with_its_patience(run: Run, account: RunningSandbox, pictures: Pictures) -> None:
    """Without a verdict `wait` says so, and how to ask again."""
    account.sandbox.script("bob", code="0840", after=60)
    sent = await run("submit", pictures.selfie_path, "--user-id", "bob", "--register")
    waited = await run("wait", sent.out, "--patience", "0.3", "--json")
    assert (waited.code, waited.document["error"]) == (2, "StillPending")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("enhanced_kyc", "--id-number", NUMBER), "--id-number takes '-' (standard input) or @FILE: everybody"),
        (("enhanced_kyc", "--id-number", "-", "--id-info", "-"), "can not both be read"),
        (("enhanced_kyc", "--id-number", "@{folder}/none"), "can not be read (No such file"),
        (("enhanced_kyc", "--id-number", "@{folder}/empty"), "there is nothing in it"),
        (("enhanced_kyc", "--id-number", "@{folder}/binary"), "is no UTF-8 text"),
        (("enhanced_kyc", "--id-info", "@{folder}/list"), "is no JSON object"),
        (("enhanced_kyc", "--id-info", "@{folder}/text"), "is no JSON object"),
        (("enhanced_kyc", "--id-info", "@{folder}/number"), "number is a number, which has lost its leading zeros"),
        (("enhanced_kyc", "--id-info", "@{folder}/shoe"), "shoe is not known"),
        (("enhanced_kyc",), "there is no id_number"),
        (("enhanced_kyc", "--front", "{selfie}"), "a picture of a card"),
        (("kyc",), "'kyc' is not known: give one of"),
        (("doc_verification",), "there is no selfie"),
        (("aml_check",), "AML Check takes no country"),
        (("basic_kyc", "--register"), "--register does not go with --product basic_kyc"),
        (("basic_kyc", "--allow-new-enroll"), "--allow-new-enroll does not go with Basic KYC"),
    ],
)
async def test_what_no_lookup_can_be_made_of(
    arguments: tuple[str, ...], says: str, run: Run, account: RunningSandbox, pictures: Pictures, tmp_path: Path
) -> None:
    """Bad input is exit code 4, before anything is sent, and no message repeats a number."""
    files = {"empty": b" \n", "binary": b"\xff\xfe", "list": b"[1]", "text": b"{", "number": b'{"number": 90817263540}'}
    for name, content in {**files, "shoe": b'{"shoe": "44", "bank_code": null}'}.items():
        (tmp_path / name).write_bytes(content)
    words = [word.format(folder=tmp_path, selfie=pictures.selfie_path) for word in arguments]
    ran = await run(*LOOKUP, *words)
    assert (ran.code, says in ran.err, NUMBER in ran.err) == (4, True, False)
    assert not account.sandbox.jobs
