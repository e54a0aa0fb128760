"""`smile-async sandbox script|enroll|fault|review|jobs|log|reset …`: a running sandbox, steered from a shell.

Each command is one call of the sandbox's control API, and prints what that says. Needs none of what serving needs.
"""
# ruff: noqa: PLR0917 - typer reads the options from the signature

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from inspect import Parameter
from json import JSONDecodeError, loads
from typing import Annotated, Any
from urllib.parse import urlsplit

import httpx
import typer

from smile_async.cli import options
from smile_async.cli.output import ExitCode, paint, people, plain
from smile_async.cli.streams import print_document
from smile_async.errors import BadConfiguration
from smile_async.settings import environment_of
from smile_async.transport.tls import tls_context
from smile_async.urls import host_of, url_flaw

__all__ = ["TOKEN", "steer"]

#: Where the access token comes from, for who serves and for who steers.
TOKEN = "SMILE_SANDBOX_TOKEN"  # noqa: S105 - the name of a variable
#: Where a sandbox is that was told nothing.
_USUAL = "https://127.0.0.1:8443"
#: Seconds.
_PATIENCE = 30.0
#: What the sandbox says of who asks, and not of what is asked.
_STRANGER = (401, 403, 421)

_OPTIONS = {
    "url": "Where it is; else SMILE_BASE_URL, else https://127.0.0.1:8443.",
    "ca_file": "PEM file to trust; else SMILE_CA_FILE.",
    "token": "Its access token; else SMILE_SANDBOX_TOKEN. None is needed on this machine.",
}


@dataclass(frozen=True)
class Remote:
    """A sandbox that runs elsewhere: its origin, whom to trust, and what to show."""

    origin: str
    ca_file: str | None
    token: str = field(repr=False)

    @classmethod
    def told(cls, given: Mapping[str, str | None]) -> "Remote":
        """The one that options and variables lead to; raises BadConfiguration."""
        url = given["url"] or os.environ.get("SMILE_BASE_URL") or _USUAL
        if name := environment_of(host_of(url)):
            raise BadConfiguration(f"{url} is Smile ID's {name}, which nobody steers: give --url")
        if why := url_flaw(url):
            raise BadConfiguration(f"--url {why}")
        found = urlsplit(url)
        ca_file = given["ca_file"] or os.environ.get("SMILE_CA_FILE") or None
        return cls(f"{found.scheme}://{found.netloc}", ca_file, given["token"] or os.environ.get(TOKEN) or "1")

    def ask(self, name: str, **query: Any) -> dict[str, Any]:
        """A list of the control API. Raises BadConfiguration, typer.BadParameter and OSError."""
        return self._call("GET", name, params={key: value for key, value in query.items() if value is not None})

    def act(self, name: str, **said: Any) -> dict[str, Any]:
        """An action of the control API. Raises BadConfiguration, typer.BadParameter and OSError."""
        return self._call("POST", name, json=said)

    def _call(self, method: str, name: str, **content: Any) -> dict[str, Any]:
        # No proxy: most sandboxes are on this machine, and a token is nothing to show around.
        tls = tls_context(self.ca_file, http2=False)
        try:
            with httpx.Client(verify=tls, trust_env=False, timeout=_PATIENCE) as http:
                headers = {"x-smile-sandbox": self.token}
                reply = http.request(method, f"{self.origin}/_sandbox/{name}", headers=headers, **content)
            answer = loads(reply.content)
        except httpx.HTTPError as error:
            raise OSError(self._unreached(error)) from None
        except (JSONDecodeError, UnicodeDecodeError):
            answer = None
        if not isinstance(answer, dict):
            raise OSError(f"what answers at {self.origin} is no sandbox (status {reply.status_code}): give --url")
        if reply.is_success:
            return answer
        why = str(answer.get("error"))
        raise BadConfiguration(why) if reply.status_code in _STRANGER else typer.BadParameter(why)

    def _unreached(self, error: httpx.HTTPError) -> str:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return f"nothing here vouches for {self.origin} ({error}): give --ca-file, or SMILE_CA_FILE as printed"
        why = str(error) or type(error).__name__
        return f"no sandbox answers at {self.origin} ({why}): start one with `smile-async sandbox`, or give --url"


def _steering(command: Callable[..., int]) -> Callable[..., int]:
    """Give *command* the options of `_OPTIONS`; they reach it as one argument, `remote`."""
    own = [
        Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[str | None, typer.Option(help=help_text, show_default=False)],
        )
        for name, help_text in _OPTIONS.items()
    ]
    return options.gathered(command, "remote", own, Remote.told)


Whose = Annotated[str, typer.Argument(metavar="USER_ID", help="Whose jobs.", show_default=False)]
WhichJob = Annotated[str, typer.Argument(metavar="JOB_ID", help="As `sandbox jobs` has it.", show_default=False)]
OnlyUser = Annotated[str | None, typer.Option("--user-id", help="Of this user only.", show_default=False)]
OnlyJob = Annotated[str | None, typer.Option("--job-id", help="Of this job only.", show_default=False)]
Leg = Annotated[str, typer.Argument(metavar="LEG", help="upload, put, job_status, request, callback; token, submit, …")]
Most = Annotated[int, typer.Option("--limit", help="The newest so many.", min=1, max=1000)]


def _say(answer: dict[str, Any], as_json: bool) -> int:
    if as_json:
        print_document(answer)
    else:
        people().print(plain(str(answer["message"])))
    return ExitCode.DONE


def script(
    user_id: Whose,
    code: Annotated[str, typer.Argument(help="Such as 0820 or, of V3, block:spoof_detected.", show_default=False)],
    remote: Remote,
    after: Annotated[float | None, typer.Option(help="Seconds from the upload.", show_default=False)] = None,
    then: Annotated[
        list[str] | None,
        typer.Option(metavar="SECONDS:CODE", help="A later result, such as 7200:1220; repeatable.", show_default=False),
    ] = None,
    json: options.Json = False,
) -> int:
    """Say what the jobs of a user come to."""
    said = {"user_id": user_id, "code": code, "then": [_step(each) for each in then or ()]}
    return _say(remote.act("script", **said, **({} if after is None else {"after": after})), json)


def _step(text: str) -> tuple[float, str]:
    seconds, colon, code = text.partition(":")
    try:
        return float(seconds if colon else ""), code
    except ValueError:
        raise typer.BadParameter(f"--then {text!r} is not SECONDS:CODE, such as 7200:1220") from None


def enroll(
    user_id: Whose,
    remote: Remote,
    forget: Annotated[bool, typer.Option("--forget", help="Make them a stranger instead.")] = False,
    json: options.Json = False,
) -> int:
    """Make a user an enrolled one."""
    return _say(remote.act("forget" if forget else "enroll", user_id=user_id), json)


def fault(
    leg: Leg,
    remote: Remote,
    status: Annotated[int | None, typer.Option(help="The HTTP status instead.", show_default=False)] = None,
    body: Annotated[str | None, typer.Option(help="The body instead.", show_default=False)] = None,
    tamper: Annotated[
        str | None, typer.Option(metavar="JSON", help="A merge patch of the true reply.", show_default=False)
    ] = None,
    delay: Annotated[float, typer.Option(help="Seconds to hold the reply back.")] = 0.0,
    times: Annotated[int, typer.Option(help="How often; 0: always.", min=0)] = 1,
    effect: Annotated[bool, typer.Option("--effect", help="The work is done, only the reply is faulty.")] = False,
    cut: Annotated[bool, typer.Option("--cut", help="Drop the connection in mid-reply.")] = False,
    user_id: OnlyUser = None,
    job_id: OnlyJob = None,
    json: options.Json = False,
) -> int:
    """Let something go wrong on a leg."""
    said = {"leg": leg, "status": status, "body": body, "delay": delay, "effect": effect, "cut": cut}
    said |= {"user_id": user_id, "job_id": job_id, "times": times or None}
    return _say(remote.act("fault", **said, **({} if tamper is None else {"tamper": _patch(tamper)})), json)


def _patch(text: str) -> Any:
    try:
        return loads(text)
    except JSONDecodeError as error:
        raise typer.BadParameter(f"--tamper is no JSON: {error}") from None


def mend(
    remote: Remote,
    leg: Annotated[str | None, typer.Argument(metavar="LEG", help="By default all.", show_default=False)] = None,
    json: options.Json = False,
) -> int:
    """Forget the faults of a leg, or all."""
    return _say(remote.act("mend", leg=leg), json)


def review(
    job_id: WhichJob,
    judgement: Annotated[str, typer.Argument(help="approve, reject, spoof, or a code.", show_default=False)],
    remote: Remote,
    json: options.Json = False,
) -> int:
    """Decide a job as a human reviewer would."""
    return _say(remote.act("review", job_id=job_id, judgement=judgement), json)


def resend(
    job_id: WhichJob,
    remote: Remote,
    copies: Annotated[int, typer.Option(help="The same bytes so often.")] = 1,
    back: Annotated[int, typer.Option(help="A result so many before the latest.")] = 0,
    json: options.Json = False,
) -> int:
    """Send the callback of a job again."""
    return _say(remote.act("resend", job_id=job_id, copies=copies, back=back), json)


def timing(
    remote: Remote,
    latency: Annotated[float | None, typer.Option(help="Seconds to a result.", show_default=False)] = None,
    review: Annotated[
        float | None, typer.Option(help="Seconds from a provisional one to the final one.", show_default=False)
    ] = None,
    no_review: Annotated[bool, typer.Option("--no-review", help="Nobody reviews.")] = False,
    json: options.Json = False,
) -> int:
    """Say how long results and reviews take."""
    said = {name: value for name, value in (("latency", latency), ("review", review)) if value is not None}
    return _say(remote.act("timing", **said, **({"review": None} if no_review else {})), json)


def reset(remote: Remote, json: options.Json = False) -> int:
    """Forget all that has happened since the start."""
    return _say(remote.act("reset"), json)


def jobs(
    remote: Remote,
    user_id: OnlyUser = None,
    job_id: OnlyJob = None,
    state: Annotated[
        str | None, typer.Option(help="Such as waiting, provisional or approved.", show_default=False)
    ] = None,
    limit: Most = 100,
    json: options.Json = False,
) -> int:
    """List jobs, newest first."""
    answer = remote.ask("jobs", user_id=user_id, job_id=job_id, state=state, limit=limit)
    if json:
        print_document(answer)
        return ExitCode.DONE
    for job in answer["jobs"]:
        what = f"{job['code'] or '':4}  {job['user_id']}  {job['job_id']}  {job['product']}"
        people().print(f"{paint(job['standing'])}  {plain(what)}  [dim]{plain(job['meaning'])}[/dim]")
    return ExitCode.DONE


def log(
    remote: Remote,
    leg: Annotated[str | None, typer.Option(help="Of this leg only; image: links.", show_default=False)] = None,
    user_id: OnlyUser = None,
    job_id: OnlyJob = None,
    after: Annotated[int, typer.Option(help="Only what came after this number.", min=0)] = 0,
    limit: Most = 500,
    json: options.Json = False,
) -> int:
    """List the last exchanges.

    Oldest first: requests, refused ones too, and callbacks.
    """
    answer = remote.ask("log", leg=leg, user_id=user_id, job_id=job_id, after=after, limit=limit)
    if json:
        print_document(answer)
        return ExitCode.DONE
    for entry in answer["log"]:
        at = datetime.fromtimestamp(entry["at"], UTC).strftime("%H:%M:%S")
        status = "no answer" if entry["status"] is None else entry["status"]
        fault = f"fault: {entry['fault']}" if entry["fault"] else ""
        told = (entry["number"], at, entry["leg"] or "-", f"{entry['method']} {entry['path']}", status)
        more = [text for text in (entry["user_id"], entry["job_id"], entry["reason"], fault) if text]
        people().print(plain("  ".join(map(str, (*told, *more)))))
    return ExitCode.DONE


def steer(sandbox: typer.Typer) -> None:
    """Let *sandbox* have these commands."""
    for command in (script, enroll, fault, mend, review, resend, timing, jobs, log, reset):
        sandbox.command()(_steering(command))
