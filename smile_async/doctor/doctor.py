"""The whole examination, in the order in which one thing rests on another: what fails ends what rests on it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from typing import Any, cast
from uuid import uuid4

from smile_async.doctor import basics
from smile_async.doctor.examination import Examination, Note
from smile_async.doctor.findings import Finding, Report, State
from smile_async.doctor.lookups import lookups, web_token
from smile_async.doctor.points import V1_POINTS
from smile_async.doctor.reading import of_settings
from smile_async.doctor.reading_v3 import V3_POINTS
from smile_async.doctor.redaction import Redaction
from smile_async.doctor.selfie import Subject, selfie_jobs
from smile_async.doctor.thorough import refused_calls, thorough_jobs
from smile_async.doctor.v3 import v3_account
from smile_async.doctor.v3_jobs import V3Jobs
from smile_async.doctor.wire import Wire
from smile_async.errors import BadConfiguration
from smile_async.jobs.job import Job
from smile_async.protocol.signature import Secret, format_timestamp
from smile_async.session import SmileSession
from smile_async.settings import Options, Settings, environment_of, environment_settings, named_as_told
from smile_async.timing.clock import SystemClock
from smile_async.timing.pacing import Pace
from smile_async.traffic.payload import read_in_thread
from smile_async.transport.engines import engine_factory
from smile_async.urls import is_loopback

__all__ = ["Wanted", "blank", "examine"]

#: Settings that are shown, by the names of the session's arguments.
_SHOWN = ("partner_id", "api_key", "api", "environment", "base_url", "callback_url", "ca_file", "http", "upload_hosts")
#: Polls each half second for five, then every two: the time to a verdict is to be measured, of a handful of jobs.
_PACE = Pace.fixed(0.5, 10, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to look at beside what costs nothing; *selfie*: path of a picture, *patience*: seconds for each verdict."""

    selfie: str | None = None
    production: bool = False
    thorough: bool = False
    patience: float = 60.0


@dataclass(frozen=True, slots=True)
class _Account:
    settings: Settings
    options: Options

    @property
    def ca_file(self) -> str | None:
        given = self.options.get("ca_file")
        return None if given is None else os.fspath(given)

    @property
    def sandbox(self) -> bool:
        """Whether its server is known to be a sandbox: the provider's, or one on this machine."""
        host = self.settings.api_host
        return environment_of(host) == "sandbox" or is_loopback(host)


def blank() -> Report:
    """A report without findings, dated by this machine's clock."""
    return Report(smile_async=version("smile-async"), at=format_timestamp(SystemClock().time()).partition(".")[0])


async def examine(told: Mapping[str, Any], wanted: Wanted, report: Report, note: Note = lambda _: None) -> None:
    """Examine the account of the SMILE_* variables and of what is *told* (arguments of a session), into *report*.

    *note* is told of each finding as it comes. Raises BadConfiguration for jobs at a server that is not known to be a
    sandbox, InvalidJob for a picture that is none.
    """
    exam = Examination(report, note)
    api = report.about["api"] = told.get("api") or os.environ.get("SMILE_API") or "v1"
    try:
        account = _account(told, report.redaction)
    except BadConfiguration as error:
        cure = "see `smile-async doctor --help`, and the guide of smile_async.settings"
        exam.tell(Finding("settings", State.FAILURE, str(error), cure))
    else:
        await _check(account, wanted)
        exam.tell(*_settings(told, account))
        await _examined(exam, account, wanted)
    exam.tell(*report.open_points(V3_POINTS if api == "v3" else V1_POINTS))


def _account(told: Mapping[str, Any], redaction: Redaction) -> _Account:
    with named_as_told(cast("Options", told)):
        options = environment_settings(os.environ, cast("Options", told))
        options["api_key"] = key = Secret(options["api_key"])
        redaction.hide(key.reveal())
        settings = Settings.checked(
            partner_id=options["partner_id"],
            api_key=key,
            previous_api_keys=[],
            environment=options.get("environment"),
            base_url=options.get("base_url"),
            callback_url=options.get("callback_url"),
            upload_hosts=options.get("upload_hosts"),
            insecure_callbacks=options.get("insecure_callbacks", False),
            api=options.get("api", "v1"),
        )
        options["pace"] = _PACE
        # What else a session would refuse.
        SmileSession(**options)
    return _Account(settings, options)


async def _check(account: _Account, wanted: Wanted) -> None:
    if wanted.selfie is None:
        return
    if not (account.sandbox or wanted.production):
        raise BadConfiguration(
            f"--selfie makes jobs, and {account.settings.server} is not known to be a sandbox: they may be billed. Type"
            " --production as well if you mean it"
        )
    if account.settings.api == "v3" and not account.sandbox:
        raise BadConfiguration("a job of V3 needs a person and their consent, which only a sandbox makes up")
    await read_in_thread(Job.register("doctor", wanted.selfie))


def _settings(told: Mapping[str, Any], account: _Account) -> list[Finding]:
    options, settings = account.options, account.settings
    used = {**dict.fromkeys(_SHOWN), "http": "httpx", "api": "v1", **options}
    used |= {"base_url": settings.base_url, "environment": environment_of(settings.api_host) or "none of Smile ID's"}
    used["upload_hosts"] = settings.upload_hosts
    there = {name for name in _SHOWN if os.environ.get(f"SMILE_{name.upper()}")}
    said = {name for name, value in told.items() if value is not None}
    return of_settings({name: used[name] for name in _SHOWN}, said, options, there)


async def _examined(exam: Examination, account: _Account, wanted: Wanted) -> None:
    settings, options = account.settings, account.options
    if not await basics.way_to(exam, settings.base_url, "API", account.ca_file, http2=True):
        return
    factory, _ = engine_factory(options.get("http", "httpx"), ca_file=account.ca_file, base_url=settings.base_url)
    async with Wire(settings, factory) as wire:
        if settings.api == "v3":
            await _examined_v3(exam, wire, account, wanted)
            return

        async def first() -> list[Finding]:
            return basics.clock_and_version(await wire.get("/v1/services"), "API")

        await exam.probe("http API", first)
        if not await exam.probe("key", partial(basics.key, wire)):
            return
        await exam.probe("catalogue", partial(basics.lists, wire))
        if wanted.thorough:
            await refused_calls(exam, wire)
        if wanted.selfie is None:
            for host in settings.upload_hosts:
                # Of a pinned host the way is known before an upload; a sandbox on this machine has a port of its own.
                if not host.startswith("*.") and not is_loopback(host):
                    await basics.way_to(exam, f"https://{host}", "storage", account.ca_file, http2=False)
        else:
            await _jobs(exam, wire, account, wanted)


async def _examined_v3(exam: Examination, wire: Wire, account: _Account, wanted: Wanted) -> None:
    token = await v3_account(exam, wire)
    if token is None or wanted.selfie is None:
        return
    async with SmileSession(**account.options) as session:
        jobs = V3Jobs(wire, session, token, _made_up(), wanted.selfie, wanted.patience)
        await jobs.all(exam, thorough=wanted.thorough)


def _made_up() -> str:
    return f"doctor-{uuid4().hex[:12]}"


async def _jobs(exam: Examination, wire: Wire, account: _Account, wanted: Wanted) -> None:
    assert wanted.selfie is not None  # noqa: S101 - asked for
    subject = Subject(_made_up(), wanted.selfie, wanted.patience, account.sandbox)
    async with SmileSession(**account.options) as session:
        enrolled = await selfie_jobs(exam, wire, session, subject, account.ca_file)
        if not subject.sandbox:
            return
        await exam.probe("web token's callback", partial(web_token, wire, subject.user_id, exam.report.redaction))
        await lookups(exam, wire, subject.user_id)
        if enrolled and wanted.thorough:
            await thorough_jobs(exam, wire, session, subject)
