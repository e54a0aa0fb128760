"""All that can be done to a running sandbox from outside, in one table: the control API's and the console's.

Each operation calls the sandbox's public methods, so that whatever is done here a test in Python can do as well. It
raises ValueError or RuntimeError with a sentence for people where it cannot be done.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from smile_async.sandbox.faults import Leg, waiting_text
from smile_async.sandbox.records import JobRecord
from smile_async.sandbox.request_log import LogEntry
from smile_async.sandbox.search import STANDINGS, search, standing
from smile_async.sandbox.texts import clip, seconds_text

from .documents import fault_document, job_document
from .reading import Reader, anything, flag, headers, obj, one_of, read, seconds, steps, text, whole

if TYPE_CHECKING:
    from smile_async.sandbox.sandbox import Sandbox

__all__ = ["OPERATIONS", "NoSuchJob", "Operation"]

Said = dict[str, Any]
Run = Callable[["Sandbox", Said], Awaitable[dict[str, Any]]]

_DONE = {"approve": "approved", "reject": "rejected", "spoof": "rejected as a spoof"}
#: Seconds; a delay holds a request open in real time.
_LONGEST, _LONGEST_DELAY = 30 * 86_400.0, 600.0
#: Entries of one answer.
_MOST = 1_000


class NoSuchJob(ValueError):
    """There is no job of that id."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing to do or, where it is no action, to ask for; see `read` for what it is told."""

    does: str
    run: Run
    takes: Mapping[str, Reader] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    nulls: tuple[str, ...] = ()
    action: bool = True

    async def __call__(self, sandbox: "Sandbox", given: Mapping[str, Any]) -> dict[str, Any]:
        """Do it; an action's answer has a sentence as its `message`. Raises ValueError and RuntimeError."""
        return await self.run(sandbox, read(given, self.takes, self.needs, self.nulls))


def _message(sentence: str, **more: Any) -> dict[str, Any]:
    return {"message": sentence, **more}


async def _script(sandbox: "Sandbox", said: Said) -> dict[str, Any]:
    sandbox.script(**said)
    codes = [said["code"], *(code for _, code in said.get("then", ()))]
    return _message(f"jobs of {clip(said['user_id'])} come to {', then '.join(codes)}")


async def _enroll(sandbox: "Sandbox", said: Said) -> dict[str, Any]:
    sandbox.enroll(**said)
    return _message(f"user {clip(said['user_id'])} is enrolled")


async def _forget(sandbox: "Sandbox", said: Said) -> dict[str, Any]:
    known = sandbox.forget(**said)
    return _message(f"user {clip(said['user_id'])} {'is forgotten' if known else 'was not enrolled'}")


async def _fault(sandbox: "Sandbox", said: Said) -> dict[str, Any]:
    wrong = ("status", "body", "headers", "delay", "cut", "tamper")
    if not any(said.get(name) for name in wrong):
        raise ValueError("choose what goes wrong: a status, a delay, a dropped connection, or another body or header")
    leg, patch = said["leg"], said.pop("tamper", None)
    sandbox.fault(**said, tamper=None if patch is None else lambda content: _merge(content, patch))
    waiting = [fault for each, fault in sandbox.faults.waiting() if each == leg]
    return _message(f"fault waiting: {waiting_text(leg, waiting[-1])}")


def _merge(content: dict[str, Any], patch: Mapping[str, Any]) -> None:
    """Apply a JSON merge patch (RFC 7396)."""
    for name, value in patch.items():
        if value is None:
            content.pop(name, None)
        elif isinstance(value, dict):
            below = content[name] = dict(content[name]) if isinstance(content.get(name), dict) else {}
            _merge(below, value)
        else:
            content[name] = value


async def _mend(sandbox: "Sandbox", said: Said) -> dict[str, Any]:
    sandbox.mend(**said)
    return _message(f"faults of {said['leg']} cleared" if said else "all faults cleared")


async def _review(sandbox: "Sandbox", said: Said) -> dict[str, Any]:
    job, judgement = _job(sandbox, said), said["judgement"].strip()
    sandbox.review(job.job_id, judgement)
    done = _DONE.get(judgement, f"got result {judgement}")
    return _message(f"{_name(job)} {done}", job=job_document(job, sandbox.settings.clock.time()))


async def _resend(sandbox: "Sandbox", said: Said) -> dict[str, Any]:
    job, copies, back = _job(sandbox, said), said.get("copies", 1), said.get("back", 0)
    sandbox.resend(job.job_id, copies=copies, back=back)
    times = "sent again" if copies == 1 else f"sent {copies} times over"
    return _message(f"callback {job.history[back].code} of {_name(job)} {times}")


async def _timing(sandbox: "Sandbox", said: Said) -> dict[str, Any]:
    if not said:
        raise ValueError("give latency or review, in seconds")
    settings = sandbox.settings
    for name, value in said.items():
        setattr(settings, name, value)
    reviewed = "nobody reviews" if settings.review is None else f"reviews take {seconds_text(settings.review)}"
    when = f"results come after {seconds_text(settings.latency)}"
    return _message(f"{when}, {reviewed}; jobs already planned keep their plan")


async def _expire(sandbox: "Sandbox", _: Said) -> dict[str, Any]:
    sandbox.tokens.expire()
    return _message("no token of V3 made so far is good any more")


async def _reset(sandbox: "Sandbox", _: Said) -> dict[str, Any]:
    sandbox.reset()
    return _message("the sandbox is as it was started: no jobs, users, scripts, faults, and nothing in the log")


async def _jobs(sandbox: "Sandbox", said: Said) -> dict[str, Any]:
    registry, now = sandbox.registry, sandbox.settings.clock.time()
    most, before, state = said.pop("limit", 100), said.pop("before", 0), said.pop("state", None)

    def fits(job: JobRecord) -> bool:
        same = all(getattr(job, name) == value for name, value in said.items())
        return same and state in (None, standing(job, now))

    if "job_id" in said:
        job = registry.jobs.get(said["job_id"])
        jobs, older = [job] if job is not None and fits(job) else [], None
    else:
        found = await search(registry, fits if said or state else None, before, most)
        jobs, older = [*found.jobs], found.older
    return {"jobs": [job_document(job, now) for job in jobs], "older": older, "total": len(registry.jobs)}


async def _users(sandbox: "Sandbox", said: Said) -> dict[str, Any]:
    return {"users": sandbox.registry.enrolled_users(said.get("limit", _MOST))}


async def _faults(sandbox: "Sandbox", _: Said) -> dict[str, Any]:
    return {"faults": [fault_document(leg, fault) for leg, fault in sandbox.faults.waiting()]}


async def _scripts(sandbox: "Sandbox", _: Said) -> dict[str, Any]:
    scripts = sandbox.registry.scripts.items()
    return {"scripts": {user: {"code": it.code, "after": it.after, "then": it.then} for user, it in scripts}}


async def _log(sandbox: "Sandbox", said: Said) -> dict[str, Any]:
    return {"log": _entries(sandbox, said)}


async def _callbacks(sandbox: "Sandbox", said: Said) -> dict[str, Any]:
    return {"callbacks": _entries(sandbox, {**said, "kind": "callback"})}


def _entries(sandbox: "Sandbox", said: Said) -> list[dict[str, Any]]:
    most, after = said.pop("limit", _MOST), said.pop("after", 0)

    def fits(entry: LogEntry) -> bool:
        return entry.number > after and all(getattr(entry, name) == value for name, value in said.items())

    return [entry.document() for entry in sandbox.log if fits(entry)][-most:]


def _job(sandbox: "Sandbox", said: Said) -> JobRecord:
    if not said.keys() & {"job_id", "ref"}:
        raise ValueError("give job_id")
    registry = sandbox.registry
    job = registry.jobs.get(said["job_id"]) if "job_id" in said else registry.by_ref(said["ref"])
    if job is None:
        raise NoSuchJob(f"there is no such job: {len(registry.jobs)} are known, was the sandbox reset or started anew?")
    return job


def _name(job: JobRecord) -> str:
    return f"job {clip(job.job_id, 60)} of {clip(job.user_id, 60)}"


_USER: Mapping[str, Reader] = {"user_id": text}
_JOB: Mapping[str, Reader] = {"job_id": text, "ref": text}
_WHOSE: Mapping[str, Reader] = {"user_id": text, "job_id": text}
_LEG = one_of(get_args(Leg))
_ANY_LEG = one_of((*get_args(Leg), "image"))
_PART: Mapping[str, Reader] = {"limit": whole(1, _MOST), "after": whole(0, 10**15), **_WHOSE}
_TIMES: Mapping[str, Reader] = {"latency": seconds(_LONGEST), "review": seconds(_LONGEST)}
_WRONG: Mapping[str, Reader] = {
    "status": whole(200, 599),
    "body": anything,
    "headers": headers,
    "delay": seconds(_LONGEST_DELAY),
    "times": whole(1, 1_000_000),
    "effect": flag,
    "cut": flag,
    "tamper": obj,
}
_SCRIPT: Mapping[str, Reader] = {**_USER, "code": text, "after": seconds(_LONGEST), "then": steps}
_FOUND: Mapping[str, Reader] = {**_WHOSE, "state": one_of(STANDINGS), "limit": whole(1, _MOST)}

#: By the last part of their addresses.
OPERATIONS: Mapping[str, Operation] = {
    "script": Operation("say what jobs of a user come to", _script, _SCRIPT, ("user_id", "code"), ("after",)),
    "enroll": Operation("make a user an enrolled one", _enroll, _USER, ("user_id",)),
    "forget": Operation("make a user a stranger again", _forget, _USER, ("user_id",)),
    "fault": Operation(
        "let something go wrong on a leg; tamper is a merge patch of the true reply, times null = always",
        _fault,
        {"leg": _LEG, **_WRONG, **_WHOSE},
        ("leg",),
        ("times",),
    ),
    "mend": Operation("forget the faults of a leg, or all", _mend, {"leg": _LEG}),
    "review": Operation(
        "decide a job: approve, reject, spoof, or a code", _review, {**_JOB, "judgement": text}, ("judgement",)
    ),
    "resend": Operation(
        "send a job's callback again", _resend, {**_JOB, "copies": whole(1, 10), "back": whole(0, 1_000)}
    ),
    "timing": Operation("say how long results and reviews take", _timing, _TIMES, nulls=("review",)),
    "expire": Operation("let all tokens of V3 expire", _expire),
    "reset": Operation("forget everything that has happened since the start", _reset),
    "jobs": Operation("list jobs, newest first", _jobs, {**_FOUND, "before": whole(1, 10**15)}, action=False),
    "users": Operation("list enrolled users", _users, {"limit": whole(1, _MOST)}, action=False),
    "faults": Operation("list the faults that wait", _faults, action=False),
    "scripts": Operation("list what jobs come to, by user", _scripts, action=False),
    "log": Operation("list the last exchanges, oldest first", _log, {**_PART, "leg": _ANY_LEG}, action=False),
    "callbacks": Operation("list the callbacks among them", _callbacks, _PART, action=False),
}
