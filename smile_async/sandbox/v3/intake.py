"""A submission on its way in: may this token, may this account, is all there, who is it, what will it come to."""

import asyncio
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from smile_async.sandbox.desk import Desk

from .forms import Form
from .identities import identity_of
from .products import V3Product
from .reading import Said, Seen, look_at, read_said
from .records import V3Job
from .refusals import refusal
from .tokens import Bound
from .type_ids import derived, fresh
from .words import word_of

__all__ = ["Intake", "Submission"]


@dataclass(frozen=True, slots=True)
class Submission:
    """One submission as it came.

    *origin* says where to, *at_once* whether the result is awaited, *key* is that of aml/sync.
    """

    product: V3Product
    bound: Bound
    form: Form = field(repr=False)
    origin: str
    at_once: bool = False
    key: str = ""


class Intake:
    """Makes jobs of submissions."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def take(self, sent: Submission) -> V3Job:
        """The job that *sent* makes, planned and saved; raises `Refusal`."""
        self._admit(sent)
        said = read_said(sent.form, sent.product, sent.bound.values(), self._desk.settings)
        self._check_callback(said.values.get("callback_url", ""))
        registry = self._desk.registry
        if sent.key in registry.keyed:
            return self._repeat(registry.keyed[sent.key])
        looking = partial(look_at, said.pictures, decode=self._desk.settings.decode, keep=self._desk.images.put)
        running = asyncio.get_running_loop().run_in_executor
        seen = await running(self._desk.readers, looking) if said.pictures else Seen([], blind=False)
        # No await from here on: two requests can not both be the first of a user or of a key.
        known = registry.keyed.get(sent.key)
        return self._enter(sent, said, seen) if known is None else self._repeat(known)

    def _admit(self, sent: Submission) -> None:
        settings, bound = self._desk.settings, sent.bound
        if bound.product not in (None, sent.product.bound, sent.product.name):
            raise refusal(403, "Token is not authorized for this product.")
        user_ids = {bound.user_id, sent.form.texts.get("user_id")} - {None, ""}
        if len(user_ids) > 1:
            raise refusal(403, "Token is not authorized for this user ID.")
        if sent.product.name in settings.forbidden:
            raise refusal(403, "You are not authorized to use this product.")
        if settings.empty_wallet:
            raise refusal(402, "Insufficient wallet balance. Please top up your wallet.")

    def _check_callback(self, url: str) -> None:
        settings = self._desk.settings
        if settings.demand_callback and not (url or settings.callback_url):
            raise refusal(400, "callback_url is required: none was given and none is configured.")
        if url and settings.callback_hosts is not None and urlsplit(url).hostname not in settings.callback_hosts:
            raise refusal(403, "callback_url is not allowed for this account.")

    def _repeat(self, job: V3Job) -> V3Job:
        job.refusals.append("idempotent")
        if job.code == "error:service_unavailable":  # nothing came of it, and nothing was billed
            job.plan = self._desk.registry.plan(job, self._desk.settings.clock.time(), [job.outcome], forced=False)
            job.notified = len(job.plan)
        return job

    def _enter(self, sent: Submission, said: Said, seen: Seen) -> V3Job:
        settings, registry = self._desk.settings, self._desk.registry
        values, now = said.values, settings.clock.time()
        user_id = values.get("user_id") or fresh("user", now)
        self._check_enrolment(sent.product, user_id, values)
        self._check_number(values.get("id_number", ""))
        outcome, forced = self._outcome(sent.product, user_id, values, seen)
        named = {name: value for name, value in values.items() if name not in _KEPT_APART}
        job = registry.enter(
            V3Job,
            user_id=user_id,
            job_id=derived("job", now, sent.key) if sent.key else fresh("job", now),
            product=sent.product.name,
            job_type=sent.product.job_type,
            partner_params=values.get("partner_params", {}),
            callback_url=values.get("callback_url", ""),
            use_enrolled_image=values.get("use_enrolled_image", False),
            details=values["user_details"],
            consent=values["consent"],
            id_info={**values["user_details"], **named},
            images=seen.images,
            origin=sent.origin,
            at_once=sent.at_once,
            key=sent.key,
            outcome=outcome,
        )
        job.plan = registry.plan(job, now, [outcome], forced=forced)
        if sent.at_once:
            job.notified = len(job.plan)  # the reply tells, and no webhook besides
        registry.save(job)
        return job

    def _check_enrolment(self, product: V3Product, user_id: str, values: dict[str, Any]) -> None:
        enrolled = self._desk.registry.enrolled(user_id)
        if values.get("search_existing_user") and not enrolled:
            raise refusal(404, "User not found")
        if product.enrolled and not enrolled and not self._desk.settings.lenient:
            raise refusal(400, "User is not enrolled: register the user first.")
        if product.name == "registration" and enrolled and not values.get("allow_new_enroll"):
            raise refusal(400, "User is already enrolled: set allow_new_enroll to enroll anew.")

    def _check_number(self, number: str) -> None:
        most, numbers = self._desk.settings.submissions_per_number, self._desk.registry.numbers
        if not number or most is None:
            return
        if numbers[number] >= most:
            raise refusal(429, "This ID number has been blocked due to too many submissions.")
        numbers[number] += 1

    def _outcome(self, product: V3Product, user_id: str, values: dict[str, Any], seen: Seen) -> tuple[str, bool]:
        """What the job comes to, and whether no script can change it."""
        settings, registry = self._desk.settings, self._desk.registry
        if seen.blind:
            return "error:image_unavailable_or_invalid", True
        forced = values.get("sandbox_result")
        identity = identity_of(values["user_details"], product.families)
        if complaint := registry.complaint(user_id, told=forced is not None or identity is not None):
            raise refusal(400, complaint)
        if forced is not None:
            return word_of(f"{forced:04}", product.job_type), True
        if product.enrolled and registry.fraud(user_id):
            return "block:account_locked_fraud", False
        if identity is None and settings.strangers == "refuse" and user_id not in registry.scripts:
            raise refusal(400, _STRANGER)
        stranger = "clear" if settings.strangers == "refuse" else word_of(settings.strangers, product.job_type)
        return identity or stranger, False


_KEPT_APART = {
    *("consent", "user_details", "partner_params", "callback_url", "user_id", "metadata", "sandbox_result"),
    *("use_enrolled_image", "allow_new_enroll"),
}
_STRANGER = (
    "Sandbox mode: user_details must be those of a test identity of this product, such as Amina Fatou Clearwater with"
    " amina.clearwater@example.com."
)
