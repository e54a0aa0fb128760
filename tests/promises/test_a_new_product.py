"""A product that this file makes up runs through session, ledger, batch, command line, sandbox and console.

Each of them asks the product; nothing but what is registered here knows of it.
"""

import asyncio
import json
from pathlib import Path

import pytest
import sqlalchemy as sa
from batch_support import command
from sandbox_support import partner_of
from street import session_of

from smile_async import Decision, Finished, IdInfo, Job, Product, Ticket, classify, explain
from smile_async.cli import main
from smile_async.errors import InvalidJob, SubmissionUnknown
from smile_async.jobs import product as products
from smile_async.jobs.product import AfterSilence, Family, ProductSpec, register
from smile_async.ledger import Ledger
from smile_async.ledger.schema import id_info
from smile_async.protocol.v1.endpoints import ENDPOINTS, Endpoint
from smile_async.sandbox import Sandbox
from smile_async.sandbox import products as desk
from smile_async.sandbox.authorities import person

NUMBER, OTHER = "90817263540", "90817263541"
CODES = (
    "7101 | address_check | approved | yes | no  | ours | the person lives there",
    "1013 | address_check | rejected | yes | yes | ours | nobody of that number lives there",
)
SPEC = ProductSpec(
    "address_check",
    72,
    "Address Check",
    needs=("id_info", "id_info.id_number"),
    takes=frozenset({"id_info"}),
    family=Family.REQUEST,
    after_silence=AfterSilence.NOTHING,
    codes=CODES,
)


@pytest.fixture
def address_check(monkeypatch: pytest.MonkeyPatch) -> Product:
    """The made-up product, at ours and at the sandbox, for one test."""
    for name in ("PRODUCTS", "_BY_NAME", "_BY_TYPE"):
        monkeypatch.setattr(products, name, dict(getattr(products, name)))
    kind = register(SPEC)
    monkeypatch.setitem(ENDPOINTS, kind, Endpoint("/v1/address", "/v1/async_address"))
    offered = desk.Product(
        name="address_check",
        title="Address check",
        job_type=72,
        result_type="Address",
        approved="7101",
        rejected="1013",
        needed=(("country",), ("id_type",), ("id_number",)),
        answer=person,
        path="/v1/address",
        later_path="/v1/async_address",
    )
    monkeypatch.setitem(desk.PRODUCTS, "address_check", offered)
    return kind


def job_of(kind: Product, number: str = NUMBER, job_id: str = "j1") -> Job:
    """One of its jobs."""
    return Job.of(kind, "ada", id_info=IdInfo("NG", "NIN_V2", number), job_id=job_id)


async def test_session_and_ledger(address_check: Product, tmp_path: Path) -> None:
    """Every verb knows it, with codes of its own; the ledger keeps it, and what a lost answer means of it."""
    async with Sandbox.serve() as running:
        async with session_of(running, ledger=tmp_path / "l.db") as session:
            verdict = await session.verify(job_of(address_check))
            assert (verdict.approved, verdict.code, verdict.text) == (True, "7101", verdict.text)
            assert (await session.verify(job_of(address_check))).approved
            ticket = await session.submit(job_of(address_check, OTHER, "j2"))
            assert Ticket.from_json(ticket.to_json()).product is address_check
            assert (await session.wait(ticket)).decision is Decision.REJECTED
            async with session.stream([job_of(address_check, job_id="j3")]) as outcomes:
                assert [type(outcome) async for outcome in outcomes] == [Finished]
            with pytest.raises(InvalidJob, match="its id fields have changed since it was sent"):
                await session.verify(job_of(address_check, OTHER))
            with pytest.raises(InvalidJob, match="there is no id_number: give one"):
                Job.of(address_check, "ada", id_info=IdInfo("NG", "NIN_V2"))
            running.sandbox.settings.without_status = ("address_check",)
            running.sandbox.fault("request", cut=True, effect=True)
            with pytest.raises(SubmissionUnknown):
                await session.verify(job_of(address_check, job_id="j4"), patience=2)
            assert [waiting.job_id async for waiting in session.pending()] == ["j4"]
        async with partner_of(running).http as reader:
            page = await reader.get(running.base_url.removesuffix("v1"), follow_redirects=True)
        assert (page.status_code, "Address check" in page.text, NUMBER in page.text) == (200, True, False)
        assert max(running.sandbox.count(f"j{number}") for number in (1, 2, 3, 4)) == 1


async def test_batch(
    address_check: Product, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manifest names it, its rows are driven, reported and forgotten like those of any other."""
    manifest, out = tmp_path / "m.csv", tmp_path / "out.jsonl"
    rows = [f"u{n},address_check,NG,NIN_V2,{number}" for n, number in enumerate((NUMBER, OTHER))]
    manifest.write_text("\n".join(["user_id,product,id.country,id.type,id.number", *rows]))
    async with Sandbox.serve() as running:
        code, said, _ = await command(running, capsys, monkeypatch, "run", manifest, "--out", out)
    assert (code, said["decisions"], said["id_fields_kept"]) == (0, {"approved": 1, "rejected": 1}, 0)
    told = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(line["product"], line["job_type"], line["code"]) for line in told] == [
        *(("address_check", 72, "7101"), ("address_check", 72, "1013")),
    ]
    async with Ledger(f"{manifest}.ledger", read_only=True) as ledger, ledger.reading() as connection:
        assert (await connection.execute(sa.select(id_info))).all() == []
    page = tmp_path / "page.html"
    code, _, _ = await command(running, capsys, monkeypatch, "report", "--ledger", f"{manifest}.ledger", "--out", page)
    assert (code, NUMBER in page.read_text(), "nobody of that number lives there" in page.read_text()) == (
        0,
        False,
        True,
    )


async def test_command_line(
    address_check: Product, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`verify`, `submit`, `wait` and `explain` know it by its name."""
    async with Sandbox.serve() as running:
        for name, value in (
            *(("SMILE_PARTNER_ID", running.partner_id), ("SMILE_API_KEY", running.api_key)),
            *(("SMILE_BASE_URL", running.base_url), ("SMILE_CA_FILE", running.ca_file)),
        ):
            monkeypatch.setenv(name, str(value))
        monkeypatch.setenv("SMILE_ID_NUMBER", NUMBER)
        about = ["--product", "address_check", "--user-id", "ada", "--country", "NG", "--id-type", "NIN_V2"]
        assert await asyncio.to_thread(main, ["verify", *about]) == 0
        assert "Address Check" in capsys.readouterr().out
        assert await asyncio.to_thread(main, ["submit", *about]) == 0
        ticket = capsys.readouterr().out
        assert await asyncio.to_thread(main, ["wait", ticket, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["code"] == "7101"
    assert main(["explain", "1013", "--product", "address_check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["meanings"][0]["decision"] == "rejected"
    assert [meaning.text for meaning in explain("1013", address_check)] == ["nobody of that number lives there"]
    assert (classify("1013", address_check), explain("1013", 2)) == (Decision.REJECTED, [])
