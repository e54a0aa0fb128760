"""What goes out, as values: a method, a path below the base URL, and a body whose length is known (v3/wire.md §2-§7).

The token is added as a call leaves, so that a retry carries a fresh one.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import orjson

from smile_async.errors import BadConfiguration, InvalidJob, SubmissionUnknown
from smile_async.jobs.image import media_type
from smile_async.jobs.job import Job
from smile_async.jobs.ticket import Ticket
from smile_async.protocol.apis import check_ticket
from smile_async.protocol.callback_urls import webhook_url_of
from smile_async.protocol.signature import Secret, Signer
from smile_async.protocol.steps import Call as Lookup
from smile_async.protocol.v3.endpoints import Endpoint, part_name
from smile_async.protocol.v3.multipart import Multipart, Part
from smile_async.protocol.v3.needs import JOB_PARAM, Rules, check, check_contents, check_length, consent_of
from smile_async.protocol.v3.tokens import UNBOUND, Scope
from smile_async.protocol.v3.type_id import FITTING

__all__ = [
    "Call",
    "idempotency_key",
    "lookup_call",
    "partner_id_as_sent",
    "replay_call",
    "scope_of",
    "status_call",
    "submission_call",
    "token_call",
    "token_headers",
]

_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Call:
    """One request; *scope*: of the token it needs, None for none."""

    method: str
    path: str
    about: str
    body: Multipart | None = None
    scope: Scope | None = UNBOUND
    extra: tuple[tuple[str, str], ...] = field(default=())

    def headers(self, partner_id: str, token: Secret | None = None) -> list[tuple[str, str]]:
        """All headers but those of the connection; *partner_id* as `partner_id_as_sent` gives it."""
        told = [("Accept", _JSON), ("SmileID-Partner-ID", partner_id), *self.extra]
        if token is not None:
            told.append(("SmileID-Token", token.reveal()))
        return told if self.body is None else [*told, ("Content-Type", self.body.media_type)]


def partner_id_as_sent(partner_id: str) -> str:
    """*partner_id* without the zeros that the portal shows in front. Raises BadConfiguration."""
    sent = partner_id.lstrip("0")
    if not (sent.isascii() and sent.isdigit()):
        raise BadConfiguration("partner_id is no number: give it as the portal shows it, e.g. '085'")
    return sent


def scope_of(endpoint: Endpoint, user_id: str, *, per_job: bool) -> Scope:
    """Of the token for a submission: one for all of them, or, *per_job*, one for this product and user."""
    return Scope(endpoint.token, user_id) if per_job else UNBOUND


def token_call(scope: Scope, seed: bytes) -> Call:
    """`POST /token`; its headers are `token_headers`."""
    told = (("user_id", scope.user_id), ("product", scope.product))
    parts = [Part(name, value.encode()) for name, value in told if value is not None]
    return Call("POST", "/token", "/token", Multipart(parts, seed) if parts else None, None)


def token_headers(call: Call, partner_id: str, api_key: Secret) -> list[tuple[str, str]]:
    """The headers of a token call: the only one that carries the key itself."""
    return [*call.headers(partner_id), ("SmileID-API-Key", api_key.reveal())]


def submission_call(
    job: Job, contents: Sequence[bytes], rules: Rules, signer: Signer, now: float, *, later: bool, per_job: bool = False
) -> Call:
    """The one request of *job*, whose pictures are *contents*, at *now* (seconds since 1970, server's time).

    *later*: by the endpoint that does not wait for the result, if there is a choice. Raises InvalidJob.
    """
    endpoint = check(job, rules, now)
    check_contents(job, contents)
    sync = endpoint.sync if endpoint.keyed or not later else ""
    path = sync or endpoint.path
    texts = _texts(job, endpoint, rules, signer, now)
    seed = signer.seal(orjson.dumps([job.user_id, job.job_id]))
    body = Multipart([*(_part(name, value) for name, value in texts.items()), *_pictures(job, contents)], seed)
    del contents, texts
    check_length(job, body.length, rules)
    keyed = (("SmileID-Idempotency-Key", idempotency_key(job, rules, signer.partner_id)),) if endpoint.keyed else ()
    about = f"{path} for job {job.job_id} of user {job.user_id}"
    return Call("POST", path, about, body, scope_of(endpoint, job.user_id, per_job=per_job), keyed)


def idempotency_key(job: Job, rules: Rules, partner_id: str) -> str:
    """The same for the same request, whenever it is made, and for no other: SHA-256 in hex."""
    consent = consent_of(job, rules)
    agreed = None if consent is None else [consent.privacy_policy_url, consent.language, consent.moment()]
    said = [job.subject().decode(), dict(job.partner_params), agreed]
    whole = [partner_id_as_sent(partner_id), job.user_id, job.job_id, said]
    return hashlib.sha256(orjson.dumps(whole, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _texts(job: Job, endpoint: Endpoint, rules: Rules, signer: Signer, now: float) -> dict[str, Any]:
    consent = consent_of(job, rules)
    assert consent is not None and job.person is not None  # noqa: S101, PT018 - `check` saw both
    granted = consent.moment() or datetime.fromtimestamp(now, UTC)
    url = job.callback_url or webhook_url_of(rules.callback_url, signer, job.job_id, now, job.user_id)
    told = {
        "user_id": job.user_id,
        **endpoint.fields(job),
        "consent": {
            "granted": True,
            "granted_at": granted.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "notice_language": consent.language,
            "notice_privacy_policy_url": consent.privacy_policy_url,
        },
        "user_details": job.person.fields(),
        "partner_params": {**job.partner_params, JOB_PARAM: job.job_id},
    }
    forced = job.partner_params.get("sandbox_result", "") if endpoint.forced else ""
    told |= {"sandbox_result": str(int(forced))} if forced.isascii() and forced.isdigit() else {}
    return told | ({"callback_url": url} if job.callback_url or rules.callback_url else {})


def _part(name: str, value: Any) -> Part:
    if isinstance(value, Mapping | tuple | list):
        return Part(name, orjson.dumps(value), _JSON)
    return Part(name, str(value).lower().encode() if isinstance(value, bool) else value.encode())


def _pictures(job: Job, contents: Sequence[bytes]) -> list[Part]:
    parts = []
    for (name, _), content in zip(job.named_images(), contents, strict=True):
        kind = media_type(content)
        file = f"{name.replace('[', '_').rstrip(']')}.{'png' if kind == 'image/png' else 'jpg'}"
        parts.append(Part(part_name(name)[0], content, kind, file))
    return parts


def _path_of(ticket: Ticket) -> str:
    check_ticket(ticket, "v3")
    if ticket.smile_job_id is None:
        whose = f"job {ticket.job_id} of user {ticket.user_id}"
        cure = "only a webhook can tell it, so wait for one, or ask the provider"
        raise SubmissionUnknown(f"nobody knows the provider's name of {whose}: {cure}", ticket=ticket)
    if not FITTING.fullmatch(ticket.smile_job_id):
        raise InvalidJob(f"smile_job_id {ticket.smile_job_id!r:.60} is no name of a job", ticket=ticket)
    return quote(ticket.smile_job_id, safe="")


def status_call(ticket: Ticket) -> Call:
    """`GET /status/{TypeID}`. Raises SubmissionUnknown for a ticket without one, InvalidJob for one of v1."""
    return Call("GET", f"/status/{_path_of(ticket)}", f"/status of job {ticket.job_id} of user {ticket.user_id}")


def replay_call(ticket: Ticket, callback_url: str | None) -> Lookup:
    """`POST /replay/{TypeID}`: the webhook once more, to the job's own URL, or to *callback_url*; raises as above."""
    fields = () if callback_url is None else (("callback_url", callback_url),)
    return Lookup(f"replay/{_path_of(ticket)}", ("status",), fields)


def lookup_call(lookup: Lookup, seed: bytes) -> Call:
    """What is said for *lookup*: only a signed one needs a token."""
    parts = [Part(name, value.encode()) for name, value in lookup.fields]
    body, method = (Multipart(parts, seed) if parts else None), "POST" if lookup.signed else "GET"
    return Call(method, f"/{lookup.path}", f"/{lookup.path}", body, UNBOUND if lookup.signed else None)
