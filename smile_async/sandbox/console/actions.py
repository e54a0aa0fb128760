"""What a person can do at the console: each action reads a form, does one thing, and says what it did.

All of it goes through the sandbox's public methods, so that whatever the console does a test can do as well.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, cast, get_args

from smile_async.sandbox.faults import Leg
from smile_async.sandbox.records import JobRecord

from .views import clip, fault_text, seconds_text

if TYPE_CHECKING:
    from smile_async.sandbox.sandbox import Sandbox

__all__ = ["ACTIONS"]

Form = Mapping[str, str]

_DONE = {"approve": "approved", "reject": "rejected", "spoof": "rejected as a spoof"}
#: Seconds; a delay holds a request open in real time.
_LONGEST, _LONGEST_DELAY = 30 * 86_400.0, 600.0


def _review(sandbox: "Sandbox", form: Form) -> str:
    job = _job(sandbox, form)
    judgement = form.get("judgement", "").strip()
    sandbox.review(job.job_id, judgement)
    return f"{_name(job)} {_DONE.get(judgement, f'got result {judgement}')}"


def _resend(sandbox: "Sandbox", form: Form) -> str:
    job = _job(sandbox, form)
    copies, back = _whole(form, "copies", 1, 10), _whole(form, "back", 0, 1000)
    sandbox.resend(job.job_id, copies=copies, back=back)
    times = "sent again" if copies == 1 else f"sent {copies} times over"
    return f"callback {job.history[back].code} of {_name(job)} {times}"


def _timing(sandbox: "Sandbox", form: Form) -> str:
    latency = _seconds(form, "latency", _LONGEST)
    review = _seconds(form, "review", _LONGEST) if form.get("review", "").strip() else None
    sandbox.settings.latency, sandbox.settings.review = latency, review
    reviewed = "nobody reviews" if review is None else f"reviews take {seconds_text(review)}"
    return f"results come after {seconds_text(latency)}, {reviewed}; jobs already planned keep their plan"


def _fault(sandbox: "Sandbox", form: Form) -> str:
    leg = form.get("leg", "")
    if leg not in get_args(Leg):
        raise ValueError("choose a leg: " + ", ".join(get_args(Leg)))
    status = _whole(form, "status", 200, 599) if form.get("status", "").strip() else None
    delay = _seconds(form, "delay", _LONGEST_DELAY)
    cut = "cut" in form
    if status is None and not delay and not cut:
        raise ValueError("choose what goes wrong: a status, a delay or a dropped connection")
    sandbox.fault(
        cast("Leg", leg),
        status=status,
        delay=delay,
        times=_whole(form, "times", 1, 1_000_000) if form.get("times", "").strip() else None,
        effect="effect" in form,
        cut=cut,
        user_id=form.get("user_id", "").strip() or None,
        job_id=form.get("job_id", "").strip() or None,
    )
    return "fault waiting: " + fault_text(*[pair for pair in sandbox.faults.waiting() if pair[0] == leg][-1])


def _mend(sandbox: "Sandbox", form: Form) -> str:
    leg = form.get("leg", "")
    if not leg:
        sandbox.mend()
        return "all faults cleared"
    if leg not in get_args(Leg):
        raise ValueError(f"no leg is called {clip(leg)!r}")
    sandbox.mend(cast("Leg", leg))
    return f"faults of {leg} cleared"


def _enroll(sandbox: "Sandbox", form: Form) -> str:
    user_id = _user(form)
    sandbox.enroll(user_id)
    return f"user {clip(user_id)} is enrolled"


def _forget(sandbox: "Sandbox", form: Form) -> str:
    user_id = _user(form)
    known = sandbox.forget(user_id)
    return f"user {clip(user_id)} is forgotten" if known else f"user {clip(user_id)} was not enrolled"


#: By the last part of the address they are posted to. Each raises ValueError or RuntimeError with a sentence for
#: people where it cannot be done.
ACTIONS: dict[str, Callable[["Sandbox", Form], str]] = {
    "review": _review,
    "resend": _resend,
    "timing": _timing,
    "fault": _fault,
    "mend": _mend,
    "enroll": _enroll,
    "forget": _forget,
}


def _job(sandbox: "Sandbox", form: Form) -> JobRecord:
    job = sandbox.registry.by_ref(form.get("ref", ""))
    if job is None:
        raise ValueError("there is no such job: was the sandbox started anew?")
    return job


def _name(job: JobRecord) -> str:
    return f"job {clip(job.job_id, 60)} of {clip(job.user_id, 60)}"


def _user(form: Form) -> str:
    user_id = form.get("user_id", "").strip()
    if not user_id:
        raise ValueError("name a user id")
    return user_id


def _whole(form: Form, name: str, least: int, most: int) -> int:
    text = form.get(name, "").strip() or str(least)
    if text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most:
        return int(text)
    raise ValueError(f"{name} must be a whole number from {least} to {most}")


def _seconds(form: Form, name: str, most: float) -> float:
    text = form.get(name, "").strip() or "0"
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if 0 <= seconds <= most:
        return seconds
    raise ValueError(f"{name} must be a number of seconds from 0 to {most:g}")
