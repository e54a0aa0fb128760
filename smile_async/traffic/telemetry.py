"""OpenTelemetry spans and metrics, where its API package is installed (extra `otel`); otherwise nothing at all.

Spans: `smile_async.upload` or `smile_async.request` (one job on its way) and `smile_async.poll` (one status query,
linked to the first of the same session). Metrics: the counter `smile_async.jobs` by decision or error, and the
histogram `smile_async.wait` in seconds. Attributes name job ids and codes; never a user, a key or a URL, whose query
would be a credential.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

try:
    from opentelemetry import metrics, trace
except ImportError:  # pragma: no cover - the extra is part of the development tools
    _tracer = None
else:
    _tracer = trace.get_tracer("smile_async")
    _meter = metrics.get_meter("smile_async")
    _jobs = _meter.create_counter("smile_async.jobs", unit="{job}", description="Jobs that ended, by outcome")
    _wait = _meter.create_histogram("smile_async.wait", unit="s", description="Upload to verdict")

__all__ = ["ended", "link_to", "span", "waited"]

_NOTHING: AbstractContextManager[Any] = nullcontext()


def _nobody_listens() -> bool:
    # Without an SDK spans go nowhere, and making one would cost 10 µs.
    return isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def span(name: str, upload: Any = None, **attributes: str | int) -> AbstractContextManager[Any]:
    """A span `smile_async.<name>` around a block; an exception that passes marks it, without its message.

    *upload*: what `link_to` gave for the upload that it goes back to, in another trace perhaps.
    """
    if _tracer is None or (isinstance(_tracer, trace.ProxyTracer) and _nobody_listens()):
        return _NOTHING
    facts = {f"smile_async.{key}": value for key, value in attributes.items()}
    # Messages are fit for logs, but stack traces of other libraries may show a URL.
    links = () if upload is None else (upload,)
    return _tracer.start_as_current_span(f"smile_async.{name}", attributes=facts, links=links, record_exception=False)


def link_to(begun: Any) -> Any:
    """What leads back to a span that has *begun*; None if nobody records it."""
    return trace.Link(begun.get_span_context()) if begun is not None and begun.is_recording() else None


def ended(outcome: str, code: str = "") -> None:
    """A job ended: *outcome* is a decision, or the name of an error."""
    if _tracer is not None:
        _jobs.add(1, {"smile_async.outcome": outcome, "smile_async.code": code})


def waited(seconds: float, decision: str) -> None:
    """A verdict arrived so many *seconds* after its upload."""
    if _tracer is not None:
        _wait.record(seconds, {"smile_async.decision": decision})
