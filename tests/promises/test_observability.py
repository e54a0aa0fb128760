"""What operators see: one logger, one INFO line a job, WARNINGs for repairs, spans and metrics, and no secrets."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fault_proxy import FaultProxy, Trouble
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from street import ENGINES, QUICK, Pictures, session_of

from smile_async.errors import StillPending, Unavailable
from smile_async.sandbox import RunningSandbox
from smile_async.traffic import telemetry

engines = pytest.mark.parametrize("http", ENGINES)


def ours(caplog: pytest.LogCaptureFixture, level: int) -> list[logging.LogRecord]:
    """The library's records of exactly this level."""
    return [record for record in caplog.records if record.name == "smile_async" and record.levelno == level]


def facts(record: logging.LogRecord) -> dict[str, Any]:
    """The structured fields of a record."""
    return {name: value for name, value in vars(record).items() if name.startswith("smile_")}


def assert_no_secrets(text: str, running: RunningSandbox) -> None:
    """No key, no presigned query."""
    for secret in (running.api_key, "Signature=", "Expires=", "AWSAccessKeyId"):
        assert secret not in text


def test_one_logger_with_a_null_handler() -> None:
    """The library logs by the name smile_async, and adds nothing but a NullHandler."""
    logger = logging.getLogger("smile_async")
    assert any(isinstance(handler, logging.NullHandler) for handler in logger.handlers)
    assert logger.level == logging.NOTSET
    assert logger.propagate


@engines
async def test_one_info_line_a_job(
    http: str, running: RunningSandbox, pictures: Pictures, caplog: pytest.LogCaptureFixture
) -> None:
    """Each job that ends is one INFO line with its ids, decision and code as fields, however it was waited for."""
    caplog.set_level(logging.DEBUG)
    async with session_of(running, http=http) as session:
        verified = pictures.job()
        await session.verify(verified)
        waited = pictures.job()
        await session.wait(await session.submit(waited))
        streamed = [pictures.job() for _ in range(3)]
        async with session.stream(streamed) as outcomes:
            assert len([outcome async for outcome in outcomes]) == 3
    lines = ours(caplog, logging.INFO)
    jobs = [verified, waited, *streamed]
    assert sorted(line.smile_job_id for line in lines) == sorted(job.job_id for job in jobs)  # type: ignore[attr-defined]
    assert facts(lines[0]) == {
        "smile_job_id": verified.job_id,
        "smile_user_id": "ada",
        "smile_decision": "approved",
        "smile_code": "0820",
        "smile_final": True,
    }
    assert not ours(caplog, logging.WARNING)
    assert_no_secrets(caplog.text, running)
    assert "videos/" not in caplog.text


async def test_one_info_line_for_a_failure(
    running: RunningSandbox, pictures: Pictures, caplog: pytest.LogCaptureFixture
) -> None:
    """A job that fails, or is still pending, is one INFO line as well, with the error's name as a field."""
    caplog.set_level(logging.INFO)
    running.sandbox.settings.latency = 60
    async with session_of(running) as session:
        with pytest.raises(StillPending):
            await session.verify(pictures.job(), patience=0.5)
        running.sandbox.fault("upload", status=500, times=None)
        with pytest.raises(Unavailable):
            await session.verify(pictures.job())
    assert [facts(line)["smile_error"] for line in ours(caplog, logging.INFO)] == ["StillPending", "Unavailable"]


@engines
async def test_repairs_are_warnings(
    http: str, running: RunningSandbox, pictures: Pictures, caplog: pytest.LogCaptureFixture
) -> None:
    """A retry and a connection given up are WARNINGs with fields that say which job, which attempt, and why."""
    caplog.set_level(logging.INFO)
    port = int(running.base_url.rsplit(":", 1)[1].split("/")[0])
    job = pictures.job()
    lost = Trouble("reply", "reset", lambda: job.job_id in running.sandbox.jobs)
    async with FaultProxy(port, lost) as proxy:  # noqa: SIM117 - the session needs the proxy's port
        async with session_of(running, http=http, base_url=f"https://127.0.0.1:{proxy.port}/v1") as session:
            assert (await session.verify(job)).approved
            assert session.stats.retries == 1
    warned = [facts(line) for line in ours(caplog, logging.WARNING)]
    assert {"smile_job_id": job.job_id, "smile_attempt": 1, "smile_sent": "ambiguous"} in warned
    assert any("smile_why" in fields and fields["smile_requests"] >= 1 for fields in warned)
    assert_no_secrets(caplog.text, running)


@contextmanager
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[InMemorySpanExporter, InMemoryMetricReader]]:
    """OpenTelemetry that keeps in memory what this library records."""
    spans, metrics = InMemorySpanExporter(), InMemoryMetricReader()
    tracers, meters = TracerProvider(), MeterProvider([metrics])
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    meter = meters.get_meter("smile_async")
    monkeypatch.setattr(telemetry, "_tracer", tracers.get_tracer("smile_async"))
    monkeypatch.setattr(telemetry, "_jobs", meter.create_counter("smile_async.jobs"))
    monkeypatch.setattr(telemetry, "_wait", meter.create_histogram("smile_async.wait"))
    try:
        yield spans, metrics
    finally:
        tracers.shutdown()
        meters.shutdown()


async def test_spans_and_metrics(running: RunningSandbox, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    """Upload and poll are linked spans, ends are counted, waits are measured; no user, key or URL is in them."""
    with recorded(monkeypatch) as (spans, metrics):
        running.sandbox.enroll("grace-hopper-4711")
        async with session_of(running, pace=QUICK) as session:
            good = pictures.job("grace-hopper-4711")
            await session.verify(good)
            streamed = pictures.job("grace-hopper-4711")
            async with session.stream([streamed]) as outcomes:
                assert [outcome.ticket async for outcome in outcomes]
            running.sandbox.fault("upload", status=500, times=None)
            with pytest.raises(Unavailable):
                await session.verify(pictures.job())
        seen = spans.get_finished_spans()
        found = metrics.get_metrics_data()
    assert {span.name for span in seen} == {"smile_async.upload", "smile_async.poll"}
    uploads = [span for span in seen if span.name == "smile_async.upload"]
    assert dict(uploads[0].attributes or {}) == {"smile_async.job_id": good.job_id, "smile_async.job_type": 2}
    assert [span.status.status_code for span in uploads] == [StatusCode.UNSET, StatusCode.UNSET, StatusCode.ERROR]
    polls = [span for span in seen if span.name == "smile_async.poll"]
    sent = {upload.context.span_id: dict(upload.attributes or {})["smile_async.job_id"] for upload in uploads}
    asked = [(dict(poll.attributes or {})["smile_async.job_id"], poll.links) for poll in polls]
    assert {job_id for job_id, _ in asked} == {good.job_id, streamed.job_id}
    assert [[sent[link.context.span_id] for link in links] for _, links in asked] == [[job_id] for job_id, _ in asked]
    assert all(not span.events for span in seen)
    told = "".join(span.to_json() for span in seen) + found.to_json()  # type: ignore[union-attr]
    assert_no_secrets(told, running)
    for private in ("grace-hopper-4711", "127.0.0.1", "https://"):
        assert private not in told
    by_name = {
        metric.name: list(metric.data.data_points)
        for resource in found.resource_metrics  # type: ignore[union-attr]
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    outcomes = {point.attributes["smile_async.outcome"]: point.value for point in by_name["smile_async.jobs"]}
    assert outcomes == {"approved": 2, "Unavailable": 1}
    (waited,) = by_name["smile_async.wait"]
    assert (waited.count, dict(waited.attributes)) == (2, {"smile_async.decision": "approved"})


async def test_without_opentelemetry(
    running: RunningSandbox, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its API is not installed nothing is recorded and everything works."""
    monkeypatch.setattr(telemetry, "_tracer", None)
    async with session_of(running) as session:
        assert (await session.verify(pictures.job())).approved
