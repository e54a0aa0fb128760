"""The words of the command line that more than one command understands, and the job they describe."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from smile_async.cli.id_fields import id_fields
from smile_async.cli.output import aside, plain
from smile_async.jobs.image import Image
from smile_async.jobs.job import Job
from smile_async.jobs.parts import parts_of
from smile_async.jobs.person import Consent
from smile_async.jobs.product import PRODUCTS, Product, known_product
from smile_async.session import SmileSession
from smile_async.traffic.fetching import by_number, matching

__all__ = [
    "NO_ACCOUNT",
    "Account",
    "AllowNewEnroll",
    "CallbackUrl",
    "ConsentLanguage",
    "ConsentUrl",
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
    "WhichProduct",
    "consent_from",
    "frames_of",
    "gathered",
    "job_from",
    "product_from",
    "session_of",
    "with_account",
    "with_job",
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
    bool, typer.Option("--allow-new-enroll", help="With --register and the like: replace a user who is on file.")
]
WhichProduct = Annotated[
    str | None,
    typer.Option("--product", metavar="NAME", help="Such as enhanced_kyc or doc_verification.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="One line of JSON on standard output, and nothing else there.")]


def _told(help_text: str) -> Any:
    return Annotated[str | None, typer.Option(help=help_text, show_default=False)]


_CONSENT_URL = "V3: the privacy policy that the user has agreed to; else SMILE_CONSENT_URL."
_CONSENT_LANGUAGE = "Of that notice: two capital letters; else EN."
ConsentUrl = Annotated[str | None, typer.Option(help=_CONSENT_URL, show_default=False)]
ConsentLanguage = Annotated[str | None, typer.Option(help=_CONSENT_LANGUAGE, show_default=False)]

#: What a job is made of, beside whose it is.
_JOB: Mapping[str, tuple[Any, Any]] = {
    "user_id": (UserId, Parameter.empty),
    "selfie": (Selfie, None),
    "job_id": (JobId, None),
    "liveness": (Liveness, None),
    "product": (WhichProduct, None),
    "register": (Register, False),
    "country": (_told("Of the id, or of the card: two letters, such as NG."), None),
    "id_type": (_told("As Smile ID calls it, such as NIN_V2 or PASSPORT: `smile-async services`."), None),
    "id_number": (_told("'-': read from standard input; @FILE: from a file; else SMILE_ID_NUMBER."), None),
    "id_info": (_told("'-' or @FILE: a JSON object of further id fields, such as first_name."), None),
    "person": (_told("V3: '-' or @FILE: a JSON object of the four that follow."), None),
    "given_names": (_told("V3: of the person; here everybody on this machine can read it."), None),
    "last_name": (_told("V3: the same."), None),
    "email": (_told("V3: this or a phone number."), None),
    "phone_number": (_told("V3: + and country code first."), None),
    "consent_url": (_told(_CONSENT_URL), None),
    "consent_language": (_told(_CONSENT_LANGUAGE), None),
    "front": (_told("The picture of a card's front."), None),
    "back": (_told("The picture of its back."), None),
    "comparison": (_told("V3: the picture that --product compare holds the selfie against."), None),
    "comparison_type": (_told("What that is: DOCUMENT, ID_PHOTO or PORTRAIT."), None),
    "param": (Param, None),
    "callback_url": (CallbackUrl, None),
    "use_enrolled_image": (UseEnrolledImage, False),
    "allow_new_enroll": (AllowNewEnroll, False),
}

_PICTURES = (".jpg", ".jpeg", ".png")


#: What a session is told beyond its environment variables.
Account = Mapping[str, Any]
NO_ACCOUNT: Account = MappingProxyType({})
#: Options that say whose account it is and where.
_ACCOUNT = {
    "api": "v1, or v3 for Smile ID's newer API; else SMILE_API, or v1.",
    "environment": "sandbox or production, for the account of the SMILE_* variables; else SMILE_ENVIRONMENT.",
    "base_url": "Another server, ends in /v1 or /v3; else SMILE_BASE_URL.",
    "ca_file": "PEM file to trust; else SMILE_CA_FILE.",
    "http": "httpx, httpx2 or pyreqwest; else SMILE_HTTP.",
}


def gathered(
    command: Callable[..., int], name: str, own: Sequence[Parameter], make: Callable[[dict[str, Any]], Any]
) -> Callable[..., int]:
    """Give *command* the options *own* in the place of its argument *name*, which is what *make* makes of them."""

    @wraps(command)
    def wrapped(**told: Any) -> int:
        given = {each.name: told.pop(each.name) for each in own}
        return command(**{name: make(given)}, **told)

    told = signature(command).parameters.values()
    parameters = [part for each in told for part in (own if each.name == name else [each])]
    parameters = [each.replace(kind=Parameter.KEYWORD_ONLY) for each in parameters]
    wrapped.__signature__ = Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {each.name: each.annotation for each in parameters}
    return wrapped


def with_account(command: Callable[..., int]) -> Callable[..., int]:
    """Give *command* the options of `_ACCOUNT`; those that were used reach it as one argument, `account`."""
    own = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[str | None, _shown(help_text)])
        for name, help_text in _ACCOUNT.items()
    ]

    def account(given: dict[str, Any]) -> Account:
        return {name: value for name, value in given.items() if value is not None}

    return gathered(command, "account", own, account)


def with_job(command: Callable[..., int]) -> Callable[..., int]:
    """Give *command* the options of `_JOB`; the job they describe reaches it as one argument, `job`."""
    own = [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _JOB.items()
    ]
    return gathered(command, "job", own, lambda given: job_from(**given))


def session_of(account: Account, **more: Any) -> SmileSession:
    """The session that a command is to open; whose it is and which server is meant stands on standard error."""
    session = SmileSession.from_env(**more, **account)
    aside().print(f"[dim]{plain(session.server)}, partner {plain(session.partner_id)}[/dim]")
    return session


def _shown(help_text: str) -> Any:
    return typer.Option(help=help_text, show_default=False)


def product_from(name: str | None, *, register: bool) -> Product:
    """The product that --product or --register names; raises typer.BadParameter."""
    if name is None:
        return Product.REGISTRATION if register else Product.AUTHENTICATION
    product = known_product(name.lower().replace("-", "_"))
    if product is None:
        raise typer.BadParameter(f"--product {name!r} is not known: give one of {', '.join(PRODUCTS)}")
    if register and product is not Product.REGISTRATION:
        raise typer.BadParameter(f"--register does not go with --product {product}")
    return product


def job_from(
    user_id: str,
    selfie: str | None,
    *,
    job_id: str | None,
    liveness: Sequence[str] | None,
    product: str | None,
    register: bool,
    param: Sequence[str] | None,
    callback_url: str | None,
    use_enrolled_image: bool,
    allow_new_enroll: bool,
    country: str | None,
    id_type: str | None,
    id_number: str | None,
    id_info: str | None,
    front: str | None,
    back: str | None,
    comparison: str | None,
    comparison_type: str | None,
    person: str | None,
    consent_url: str | None,
    consent_language: str | None,
    **named: str | None,
) -> Job:
    """The job that the options describe; raises InvalidJob, or typer.BadParameter for what no job can say."""
    kind = product_from(product, register=register)
    flags = {"use_enrolled_image": use_enrolled_image, "allow_new_enroll": allow_new_enroll}
    for name, given in flags.items():
        if given and name not in kind.spec.takes:
            option = name.replace("_", "-")
            raise typer.BadParameter(f"--{option} does not go with {kind.spec.title}: see --register and --product")
    if selfie is None and not use_enrolled_image and "selfie" in kind.spec.takes:
        raise typer.BadParameter("there is no selfie: give the path of a picture")
    said = id_fields(id_number, id_info, person, named, looked_up="id_info" in kind.spec.takes)
    said |= {name: text for name, text in (("country", country), ("id_type", id_type)) if text is not None}
    card = {name: Image.from_path(path) for name, path in (("front", front), ("back", back)) if path is not None}
    return Job.of(
        kind,
        user_id,
        selfie=None if selfie is None else Image.from_path(selfie),
        liveness=tuple(Image.from_path(frame) for given in liveness or () for frame in frames_of(given)),
        job_id=job_id,
        partner_params=dict(_pair(text) for text in param or ()),
        callback_url=callback_url,
        consent=consent_from(consent_url, consent_language),
        comparison=None if comparison is None else Image.from_path(comparison),
        comparison_type=None if comparison_type is None else comparison_type.upper(),
        **parts_of(kind.spec, said, **card),
        **{name: given for name, given in flags.items() if given},
    )


def consent_from(url: str | None, language: str | None) -> Consent | None:
    """What --consent-url and --consent-language say; raises InvalidJob, or typer.BadParameter."""
    if url is None:
        if language is not None:
            raise typer.BadParameter("--consent-language needs --consent-url")
        return None
    return Consent(url, language or "EN")


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
