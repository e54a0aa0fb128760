"""The words of the command line that more than one command understands, and the job they describe."""

import re
from collections.abc import Sequence
from enum import StrEnum
from glob import glob
from pathlib import Path
from typing import Annotated, Any

import typer

from smile_async.jobs.image import Image
from smile_async.jobs.job import Job

__all__ = [
    "AllowNewEnroll",
    "BaseUrl",
    "CaFile",
    "CallbackUrl",
    "Environment",
    "Http",
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
    "account",
    "frames_of",
    "job_from",
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
Environment = Annotated[
    str | None, typer.Option(help="sandbox or production; else SMILE_ENVIRONMENT.", show_default=False)
]
BaseUrl = Annotated[str | None, typer.Option(help="Ends in /v1; else SMILE_BASE_URL.", show_default=False)]
CaFile = Annotated[str | None, typer.Option(help="PEM file to trust; else SMILE_CA_FILE.", show_default=False)]
Http = Annotated[str | None, typer.Option(help="httpx, httpx2 or pyreqwest; else SMILE_HTTP.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="One line of JSON on standard output, and nothing else there.")]

_PICTURES = (".jpg", ".jpeg", ".png")


def account(environment: str | None, base_url: str | None, ca_file: str | None, http: str | None) -> dict[str, Any]:
    """What a session is told beyond its environment variables: only what was given."""
    found = {"environment": environment, "base_url": base_url, "ca_file": ca_file, "http": http}
    return {name: value for name, value in found.items() if value is not None}


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
    """The files that one --liveness means: itself, the pictures of a directory, or what a pattern matches."""
    if Path(given).is_dir():
        inside = [str(path) for path in Path(given).iterdir() if path.suffix.lower() in _PICTURES]
        if not inside:
            raise typer.BadParameter(f"the directory {given} holds no .jpg or .png")
        return sorted(inside, key=_by_number)
    if Path(given).exists() or not re.search(r"[*?\[]", given):
        return [given]
    found = glob(given)  # noqa: PTH207 - Path.glob takes no absolute pattern
    if not found:
        raise typer.BadParameter(f"no file matches {given}")
    return sorted(found, key=_by_number)


def _by_number(name: str) -> list[tuple[int, str]]:
    # frame_10 comes after frame_9.
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"--param {text!r} is not NAME=VALUE")
    return name, value
