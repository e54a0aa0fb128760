"""The words of the command line that more than one command understands, and the job they describe."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from smile_async.cli.output import aside, plain
from smile_async.jobs.image import Image
from smile_async.jobs.job import Job
from smile_async.session import SmileSession
from smile_async.traffic.fetching import by_number, matching

__all__ = [
    "NO_ACCOUNT",
    "Account",
    "AllowNewEnroll",
    "CallbackUrl",
    "JobId",
    "Json",
    "Liveness",
    "Param",
    "Patience",
    "Register",
    "Selfie",
    "UntilWhat",
    "UseEnrolledImage",
    "UserId",
    "Wanted",
    "frames_of",
    "job_from",
    "session_of",
    "with_account",
]


class Wanted(StrEnum):
    """Which verdict to wait for."""

    DECISION = "decision"
    FINAL = "final"


Selfie = Annotated[str | None, typer.Argument(help="The picture of the face, JPEG or PNG.", show_default=False)]
UserId = Annotated[str, typer.Option(help="Whose face it is.", show_default=False)]
JobId = Annotated[str | None, typer.Option(help="Must be new; by default a UUID.", show_default=False)]
Liveness = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PATH",
        help="A liveness frame, a directory of them, or a quoted pattern; repeatable.",
        show_default=False,
    ),
]
Register = Annotated[
    bool, typer.Option("--register", help="Put the user on file (job type 4) instead of authenticating (2).")
]
UntilWhat = Annotated[Wanted, typer.Option(help="The first verdict, or not before the final one.")]
Patience = Annotated[float, typer.Option(help="Seconds in all; then the job goes on without us.", min=0.0)]
Param = Annotated[
    list[str] | None, typer.Option(metavar="NAME=VALUE", help="A partner parameter; repeatable.", show_default=False)
]
CallbackUrl = Annotated[str | None, typer.Option(help="Where Smile ID posts the result.", show_default=False)]
UseEnrolledImage = Annotated[
    bool, typer.Option("--use-enrolled-image", help="Compare the picture on file; no selfie needed.")
]
AllowNewEnroll = Annotated[
    bool, typer.Option("--allow-new-enroll", help="With --register: replace a user who is on file.")
]
Json = Annotated[bool, typer.Option("--json", help="One line of JSON on standard output, and nothing else there.")]

_PICTURES = (".jpg", ".jpeg", ".png")


#: What a session is told beyond its environment variables.
Account = Mapping[str, Any]
NO_ACCOUNT: Account = MappingProxyType({})
#: Options that say whose account it is and where.
_ACCOUNT = {
    "environment": "sandbox or production, for the account of the SMILE_* variables; else SMILE_ENVIRONMENT.",
    "base_url": "Another server, ends in /v1; else SMILE_BASE_URL.",
    "ca_file": "PEM file to trust; else SMILE_CA_FILE.",
    "http": "httpx, httpx2 or pyreqwest; else SMILE_HTTP.",
}


def with_account(command: Callable[..., int]) -> Callable[..., int]:
    """Give *command* the options of `_ACCOUNT`; those that were used reach it as one argument, `account`."""

    @wraps(command)
    def wrapped(**told: Any) -> int:
        given = {name: told.pop(name) for name in _ACCOUNT}
        return command(**told, account={name: value for name, value in given.items() if value is not None})

    own = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, _shown(help_text)])
        for name, help_text in _ACCOUNT.items()
    ]
    told = [each for name, each in signature(command).parameters.items() if name != "account"]
    parameters = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in (*told, *own)]
    wrapped.__signature__ = Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {each.name: each.annotation for each in parameters}
    return wrapped


def session_of(account: Account, **more: Any) -> SmileSession:
    """The session that a command is to open; whose it is and which server is meant stands on standard error."""
    session = SmileSession.from_env(**more, **account)
    aside().print(f"[dim]{plain(session.server)}, partner {plain(session.partner_id)}[/dim]")
    return session


def _shown(help_text: str) -> Any:
    return typer.Option(help=help_text, show_default=False)


def job_from(
    user_id: str,
    selfie: str | None,
    *,
    job_id: str | None,
    liveness: Sequence[str] | None,
    register: bool,
    param: Sequence[str] | None,
    callback_url: str | None,
    use_enrolled_image: bool,
    allow_new_enroll: bool,
) -> Job:
    """The job that the options describe; raises InvalidJob, or typer.BadParameter for what no job can say."""
    if allow_new_enroll and not register:
        raise typer.BadParameter("--allow-new-enroll goes with --register")
    if use_enrolled_image and register:
        raise typer.BadParameter("--use-enrolled-image does not go with --register")
    if selfie is None and not use_enrolled_image:
        raise typer.BadParameter("there is no selfie: give the path of a picture")
    face = None if selfie is None else Image.from_path(selfie)
    about: dict[str, Any] = {
        "job_id": job_id,
        "liveness": [frame for given in liveness or () for frame in frames_of(given)],
        "partner_params": dict(_pair(text) for text in param or ()),
        "callback_url": callback_url,
    }
    if register and face is not None:
        return Job.register(user_id, face, allow_new_enroll=allow_new_enroll, **about)
    return Job.authenticate(user_id, face, use_enrolled_image=use_enrolled_image, **about)


def frames_of(given: str) -> list[str]:
    """The files that one --liveness means: itself, the pictures of a directory, or what a pattern matches.

    Raises InvalidJob for what no path is, such as a picture itself, and typer.BadParameter.
    """
    # Before a disk is asked, whose error would repeat it.
    Image.from_path(given)
    if Path(given).is_dir():
        inside = [str(path) for path in Path(given).iterdir() if path.suffix.lower() in _PICTURES]
        if not inside:
            raise typer.BadParameter(f"the directory {given} holds no .jpg or .png")
        return by_number(inside)
    found = matching(given)
    if not found:
        raise typer.BadParameter(f"no file matches {given}")
    return found


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"--param {text!r} is not NAME=VALUE")
    return name, value
