"""What can be known to be wrong with a job before it is sent; each check gives cause and cure, "" for nothing."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from smile_async.jobs.document import Document
from smile_async.jobs.id_info import IdInfo
from smile_async.jobs.image import Image, flaw
from smile_async.jobs.person import Consent, Person
from smile_async.jobs.product import Product, products_of
from smile_async.jobs.screening import Screening
from smile_async.jobs.ticket import UNKNOWN_JOB_TYPE, encodes, job_type_flaw
from smile_async.urls import url_flaw

if TYPE_CHECKING:
    from smile_async.jobs.job import Job

__all__ = ["COMPARISON_TYPES", "FLAGS", "KINDS", "job_flaw", "params_flaw"]

_RESERVED = ("user_id", "job_id", "job_type")
FLAGS = ("use_enrolled_image", "allow_new_enroll")
#: What a part is, if it is there.
KINDS: Mapping[str, type] = {
    "id_info": IdInfo,
    "document": Document,
    "screening": Screening,
    "person": Person,
    "selfie": Image,
    "comparison": Image,
}
#: What a selfie may be compared with (v3/wire.md §4).
COMPARISON_TYPES = ("DOCUMENT", "ID_PHOTO", "PORTRAIT")
#: All that only some products take; a job has it if it is neither None, False nor empty.
_PARTS = ("selfie", "liveness", *FLAGS, "id_info", "document", "screening", "comparison", "comparison_type")


def params_flaw(params: object) -> str:
    """What is wrong with partner_params."""
    if not isinstance(params, Mapping):
        return f"partner_params is {type(params).__name__}: give a dict of texts"
    for name, value in params.items():
        if not isinstance(name, str) or not isinstance(value, str):
            return f"partner_params[{name!r}] is {type(value).__name__}: names and values must be texts"
        if name in _RESERVED:
            return f"partner_params[{name!r}] is set by the job itself: leave it out"
        if not encodes(name + value):
            return f"partner_params[{name!r}] holds half a surrogate pair: give valid text"
    return ""


def job_flaw(job: "Job") -> str:
    """What is wrong with *job*, whose ids and partner_params are well."""
    checks = (_type_flaw, _kinds_flaw, _parts_flaw, _options_flaw, _content_flaw)
    return next((why for check in checks if (why := check(job))), "")


def _type_flaw(job: "Job") -> str:
    why = job_type_flaw(job.job_type) or ("is 0: give a JobType" if job.job_type == UNKNOWN_JOB_TYPE else "")
    if why:
        return f"job_type {why}"
    product: object = job.product
    if product is None:
        # A single one would have been taken.
        several = " and of ".join(products_of(job.job_type))
        return several and f"job_type is {int(job.job_type)}, which is that of {several}: say which product"
    if not isinstance(product, Product):
        return f"product is {type(product).__name__}: give a Product"
    wanted = product.spec.job_type
    return "" if wanted == job.job_type else f"job_type is {int(job.job_type)}: {product} jobs are of type {wanted}"


def _kinds_flaw(job: "Job") -> str:
    for name in FLAGS:
        flag: object = getattr(job, name)
        # The text "false" of a form counts as true, and would put a stranger's face in the place of an enrolled one.
        if not isinstance(flag, bool):
            return f"{name} is {type(flag).__name__}: give True or False"
    for name, kind in KINDS.items():
        part: object = getattr(job, name)
        if part is not None and not isinstance(part, kind):
            return f"{name} is {type(part).__name__}: give {'an' if kind in (IdInfo, Image) else 'a'} {kind.__name__}"
    frames: object = job.liveness
    fit = isinstance(frames, tuple | list) and all(isinstance(frame, Image) for frame in frames)
    return "" if fit else "liveness is no tuple of Images: give one"


def _parts_flaw(job: "Job") -> str:
    spec = None if job.product is None else job.product.spec
    needs = ("selfie|use_enrolled_image",) if spec is None else spec.needs
    for need in needs:
        ways = need.split("|")
        if not any(_part(job, way) for way in ways):
            first, *others = (way.rpartition(".")[2] for way in ways)
            return f"there is no {first}: give one" + "".join(f", or {_given(other)}" for other in others)
    if spec is not None:
        for name in _PARTS:
            if name not in spec.takes and getattr(job, name):
                return f"{spec.title} takes no {name}: leave it out"
    return ""


def _given(name: str) -> str:
    return f"set {name}" if name in FLAGS else f"a {name}"


def _part(job: "Job", path: str) -> Any:
    """`job.id_info.id_number` for "id_info.id_number", None where there is no such thing on the way."""
    found: Any = job
    for name in path.split("."):
        found = getattr(found, name, None)
    return found


def _options_flaw(job: "Job") -> str:
    if job.callback_url is not None:
        # Whether it may be http is the session's to say, which knows whose account it is.
        why = url_flaw(job.callback_url, plain=True)
        if why:
            return f"callback_url {why}"
    if job.comparison_type is not None and job.comparison_type not in COMPARISON_TYPES:
        return f"comparison_type is none of {', '.join(COMPARISON_TYPES)}: give one"
    consent: object = job.consent
    if consent is None or isinstance(consent, Consent):
        return ""
    if not isinstance(consent, Mapping):
        return f"consent is {type(consent).__name__}: give a dict, or a Consent"
    try:
        orjson.dumps(dict(consent))
    except TypeError:
        return "consent holds what is no JSON: give texts, bools and numbers"
    return ""


def _content_flaw(job: "Job") -> str:
    for name, image in job.named_images():
        why = "" if image.content is None else flaw(image.content, image.trusted)
        if why:
            return f"{name} {why}"
    return ""
