"""The doctor over real sockets: a sandbox as it should be, and sandboxes that are wrong in one point each."""

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from canary_support import Canary
from street import ENGINES, Pictures
from wrong_sandboxes import WRONG, Ahead, Wrong

from smile_async.doctor import Finding, Report, State
from smile_async.doctor.doctor import Wanted, blank, examine
from smile_async.doctor.points import V1_POINTS
from smile_async.errors import BadConfiguration, InvalidJob
from smile_async.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("hasty")
#: Seconds from a provisional result to the last one: later than the first question, and soon enough.
REVIEW = 2.0


async def examined(account: Mapping[str, Any], **wanted: Any) -> Report:
    """What the doctor reports of *account*."""
    asked = Wanted(**{"patience": 20, **wanted})
    report = blank()
    await examine(account, asked, report)
    return report


def told(report: Report) -> dict[str, Finding]:
    """Its findings by name."""
    return {finding.name: finding for finding in report.findings}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.point)
async def test_a_wrong_point_is_found(wrong: Wrong, pictures: Pictures, tmp_path: Path) -> None:
    """The doctor names the one point in which a sandbox is wrong, says how it is, and what was seen or is to do."""
    sandbox = Sandbox(**{"review": 0.0, **wrong.settings})
    wrong.spoil(sandbox)
    async with contextlib.AsyncExitStack() as stack:
        running = await stack.enter_async_context(sandbox.serve())
        account: dict[str, Any] = dict(running.account)
        if wrong.front is not None:
            account |= await stack.enter_async_context(wrong.front(running, tmp_path))
        selfie = pictures.selfie_path if wrong.selfie else None
        account |= wrong.told
        if wrong.api == "v3":
            account |= {"api": "v3", "base_url": account["base_url"].removesuffix("/v1") + "/v3"}
        report = await examined(account, selfie=selfie, thorough=wrong.thorough, patience=wrong.patience)
    finding = told(report)[wrong.finding]
    assert finding.state is wrong.state, report.findings
    assert wrong.says in f"{finding.text} {finding.cure}"
    if wrong.state is State.FAILURE:
        assert report.failed
    if wrong.finding == "upload host":
        assert not any(job.uploads for job in sandbox.jobs.values())


async def all_is_well(http: str, pictures: Pictures) -> None:
    """For one engine; a review is waited for."""
    async with Sandbox.serve(review=REVIEW) as running:
        wanted = Wanted(selfie=pictures.selfie_path, patience=20)
        heard: list[Finding] = []
        report = blank()
        await examine({**running.account, "http": http}, wanted, report, heard.append)
        jobs = running.sandbox.jobs
    found = told(report)
    assert not report.failed
    assert heard == report.findings
    assert {finding.state for finding in report.findings} <= {State.OK, State.EXPECTED, State.UNKNOWN, State.DIFFERENT}
    # A code that no source has is news even of a sandbox.
    assert [name for name, finding in found.items() if finding.state is State.DIFFERENT] == ["job type 8"]
    assert found["upload host"].cure.endswith("export SMILE_UPLOAD_HOSTS=127.0.0.1")
    assert found["human review"].state is State.EXPECTED
    assert found["human review"].text.startswith("approved, code 1220, after ")
    assert found["http storage, by a session"].text == "HTTP/1.1"
    assert len(jobs) == 9
    assert all(job.user_id.startswith("doctor-") for job in jobs.values())
    open_points = {name for name, finding in found.items() if finding.state is State.UNKNOWN}
    assert {"callbacks", "sizes", "timestamp window"} <= open_points
    assert not {"upload host", "job_complete", "human review", "signed replies"} & open_points


async def test_all_is_well(pictures: Pictures) -> None:
    """Of a sandbox as it should be nothing is warned of, with each engine, and open points are answered."""
    async with asyncio.TaskGroup() as tasks:
        for http in ENGINES:
            tasks.create_task(all_is_well(http, pictures))


async def test_thorough(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    """With patience: the window, the end of a URL, statuses of refusals; six calls are refused, not one more."""
    refused: list[str] = []
    clock = Ahead(0.0)

    async def passes(seconds: float) -> None:
        clock.seconds += seconds

    def spoil(sandbox: Sandbox) -> None:
        for leg in ("upload", "job_status"):
            sandbox.fault(leg, times=None, tamper=lambda body: refused.append(str(body.get("code"))))

    # Until a URL has ended, time passes for the server alone: less than makes a signature too old.
    monkeypatch.setattr("smile_async.doctor.thorough.asyncio", SimpleNamespace(sleep=passes))
    sandbox = Sandbox(review=0.0, clock=clock, url_lifetime=100.0)
    spoil(sandbox)
    async with sandbox.serve() as running:
        report = await examined(running.account, selfie=pictures.selfie_path, thorough=True)
    found = told(report)
    assert not report.failed, report.findings
    assert found["timestamp window"].state is State.EXPECTED
    assert found["timestamp window"].text.count("accepted at 240 s, refused at 330 s") == 2
    for name in (
        "HTTP status of 2203",
        "HTTP status of 2209",
        "HTTP status of 2210",
        "info.json",
        "expired upload URL",
    ):
        assert found[name].state is State.EXPECTED, found[name]
    # What a duplicate and a job that can not exist are answered with is looked at without --thorough as well.
    assert sorted(code for code in refused if code not in ("2202", "2302", "2314", "2304", "2215")) == sorted(
        ["2205", "2205", "2203", "2209", "2210"]
    )


async def test_v3() -> None:
    """Of V3 too nothing is warned of, and what needs a job or a receiver is said to be open."""
    async with Sandbox.serve() as running:
        report = await examined(running.account_v3)
    assert {finding.state for finding in report.findings} == {State.OK, State.EXPECTED, State.UNKNOWN}
    assert told(report)["token's lifetime"].text == "900 s"
    assert told(report)["V3 webhook retries"].state is State.UNKNOWN


async def test_v3_jobs(pictures: Pictures) -> None:
    """A registration and authentications of the test identity answer what jobs can; six frames each, or one."""
    async with Sandbox.serve() as running:
        report = await examined(running.account_v3, selfie=pictures.selfie_path, thorough=True)
        jobs = list(running.sandbox.jobs.values())
    found = told(report)
    assert {finding.state for finding in report.findings} == {State.OK, State.EXPECTED, State.UNKNOWN}
    answered = (
        "token reuse",
        "frames",
        "enrolment",
        "fresh job",
        "sandbox_result",
        "identity: authentication",
        "identity: aml_check",
    )
    assert {found[f"V3 {name}"].state for name in answered} == {State.EXPECTED}
    assert [(job.product, len(job.images)) for job in jobs] == [
        ("registration", 7),
        *[("authentication", 7)] * 2,
        ("enhanced_kyc", 0),
        ("aml", 0),
    ]
    assert "Clearwater" not in json.dumps(report.to_dict())


async def test_nothing_secret_is_reported(pictures: Pictures, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """A server that repeats all it knows gets no key, token, URL, signature or id number into the report."""
    caplog.set_level(logging.DEBUG)
    key, token = "canary-key-7d1e", "eyJjYW5hcnk.eyJpYXQiOjF9.c2lnbmF0dXJl"
    seen: list[str] = []

    def chatty(body: dict[str, Any]) -> None:
        seen.extend(str(body[name]) for name in ("upload_url", "signature", "token") if name in body)
        body["token"] = token
        body["error"] = f"no: {key} {token} https://u.example/x?Signature=canary-url 00000000000 {'QUJD' * 20}"

    sandbox = Sandbox(api_key=key, review=0.0, run_again=("aml_check",))
    for leg in ("upload", "job_status", "request", "account"):
        sandbox.fault(leg, times=None, tamper=chatty)
    async with sandbox.serve() as running:
        report = await examined(running.account, selfie=pictures.selfie_path)
    shown = json.dumps(report.to_dict())
    canary = Canary(caplog, key, token, "canary-url", "00000000000", "QUJDQUJD", "canary-in-the-picture", *seen)
    canary.look(shown, report, *report.findings)
    canary.assert_nothing()
    assert "[hidden]" in shown
    assert seen


async def test_jobs_are_for_sandboxes(pictures: Pictures) -> None:
    """No job goes where it may be billed unless that is typed out; a picture that is none is refused at once."""
    account = {"partner_id": "085", "api_key": "a-key-of-production", "environment": "production"}
    with pytest.raises(BadConfiguration, match="--production"):
        await examined(account, selfie=pictures.selfie_path)
    elsewhere = {**account, "environment": None, "base_url": "https://smile.company.example/v1"}
    with pytest.raises(BadConfiguration, match=r"smile\.company\.example is not known to be a sandbox"):
        await examined(elsewhere, selfie=pictures.selfie_path)
    with pytest.raises(BadConfiguration, match="a person and their consent"):
        await examined({**account, "api": "v3"}, selfie=pictures.selfie_path, production=True)
    async with Sandbox.serve() as running:
        with pytest.raises(InvalidJob, match="can not be opened"):
            await examined(running.account, selfie="/nowhere/face.jpg")
        assert not running.sandbox.jobs


async def test_production_makes_two_jobs(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where jobs may be billed there is a registration and an authentication, and no sandbox_result."""
    monkeypatch.setattr("smile_async.doctor.doctor.is_loopback", lambda _: False)
    async with Sandbox.serve() as running:
        report = await examined(running.account, selfie=pictures.selfie_path, production=True, thorough=True)
        jobs = list(running.sandbox.jobs.values())
    assert [job.job_type for job in jobs] == [4, 2]
    assert not any("sandbox_result" in job.partner_params for job in jobs)
    assert told(report)["verdict: SmartSelfie Authentication"].state is State.OK


async def test_settings_that_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a session would refuse is a finding with its cure, and every point is still unknown."""
    for name in ("SMILE_PARTNER_ID", "SMILE_API_KEY", "SMILE_BASE_URL", "SMILE_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    report = await examined({"partner_id": "001"})
    first, *others = report.findings
    assert (first.name, first.state) == ("settings", State.FAILURE)
    assert "SMILE_API_KEY is not set" in first.text
    assert {finding.name for finding in others} == {point.name for point in V1_POINTS}


async def test_a_probe_ends() -> None:
    """A server that takes a connection and says nothing costs the time of its probe, and no more."""
    hung: list[asyncio.StreamWriter] = []

    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hung.append(writer)

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        account = {"partner_id": "001", "api_key": "a-key", "base_url": url}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("smile_async.doctor.basics.CONNECT", 0.3)
            report = await asyncio.wait_for(examined(account), 30)
        for writer in hung:
            writer.transport.abort()
    tls = told(report)["tls API"]
    assert (tls.state, "no answer within" in tls.text) == (State.FAILURE, True)


async def test_a_resolver_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is never answered for costs its time, and keeps nobody from leaving."""
    answered = threading.Event()
    monkeypatch.setattr("smile_async.doctor.basics.NAME", 0.2)
    monkeypatch.setattr("smile_async.doctor.network.socket.getaddrinfo", lambda *_, **__: answered.wait())
    account = {"partner_id": "001", "api_key": "a-key", "base_url": "https://smile.example/v1"}
    try:
        report = await asyncio.wait_for(examined(account), 30)
    finally:
        answered.set()
    dns = told(report)["dns API"]
    assert (dns.state, "resolver" in dns.cure) == (State.FAILURE, True)
    assert "tcp API" not in told(report)
