"""The endpoints of V3 that are about jobs: token, submissions, answers at once, status, replay."""

import re
from functools import partial

from starlette.responses import Response
from starlette.routing import BaseRoute

from smile_async.sandbox.credentials import timestamp_at
from smile_async.sandbox.desk import Desk

from .calls import Call, route
from .intake import Intake, Submission
from .products import V3_PRODUCTS, V3Product
from .reading import read_parts
from .records import V3Job
from .refusals import as_json, refusal
from .services import service_routes
from .tokens import bound_by, partner_of
from .type_ids import JOB_ID
from .webhooks import API_VERSION, in_header, result_of, signed
from .words import parted

__all__ = ["v3_routes"]

#: The pattern of /v3/replay is looser than that of /v3/status, and a job's id need not be a TypeID there.
_REPLAYED = re.compile(r"job_[0-9a-z]{26}")
_KEY = re.compile(r"[A-Za-z0-9_-]{16,128}")


def v3_routes(desk: Desk) -> list[BaseRoute]:
    """The routes of V3."""
    intake = Intake(desk)
    routes: list[BaseRoute] = [
        route(desk, "token", "POST", "/v3/token", _token),
        route(desk, "status", "GET", "/v3/status/{job_id}", _status),
        route(desk, "replay", "POST", "/v3/replay/{job_id}", _replay),
        *service_routes(desk),
    ]
    for product in V3_PRODUCTS.values():
        routes.append(route(desk, "submit", "POST", product.path, partial(_submit, intake, product)))
        if product.sync:
            answer = partial(_at_once, intake, product)
            routes.append(route(desk, "submit", "POST", f"{product.path}/sync", answer))
    return routes


async def _token(call: Call) -> Response:
    headers, desk = call.request.headers, call.desk
    for name in ("smileid-partner-id", "smileid-api-key"):
        if not headers.get(name):
            raise refusal(400, f"Header '{name}' is required.")
    partner = headers["smileid-partner-id"]
    if not re.fullmatch(r"[1-9]\d*", partner, re.ASCII) and partner != partner_of(desk.settings):
        raise refusal(400, "Header 'smileid-partner-id' is invalid: it has no leading zeros.")
    if partner != partner_of(desk.settings) or not desk.keys.owns(headers["smileid-api-key"]):
        raise refusal(401, "Invalid authentication credentials.")
    bound = bound_by(call.form(optional=True).texts, desk.settings)
    return as_json({"token": desk.tokens.make(bound, f"{call.origin}/v3")})


async def _submit(intake: Intake, product: V3Product, call: Call) -> Response:
    job = await intake.take(Submission(product, call.bound(), call.form(), call.origin))
    call.desk.notify(job)
    said = "Request accepted and queued for processing." if product.dated else "Job submitted successfully"
    body = {"status": "accepted", "message": said, "job_id": job.job_id, "user_id": job.user_id}
    dated = {"created_at": timestamp_at(job.created_at)} if product.dated else {}
    return as_json(body | dated, 202)


async def _at_once(intake: Intake, product: V3Product, call: Call) -> Response:
    bound, key = call.bound(), call.request.headers.get("smileid-idempotency-key", "")
    keyed = key if product.name == "aml" else ""  # documented for that endpoint alone
    if keyed and not _KEY.fullmatch(keyed):
        raise refusal(400, "Header 'SmileID-Idempotency-Key' is invalid.")
    job = await intake.take(Submission(product, bound, call.form(), call.origin, at_once=True, key=keyed))
    settings, about = call.desk.settings, {"SmileID-Job-ID": job.job_id, "User-ID": in_header(job.user_id)}
    # What people review is not waited for, but neither is it an answer.
    due = next((message.at for message in job.plan if job.decides(message.code) != "provisional"), None)
    wait = (due if due is not None else float("inf")) - settings.clock.time()
    await settings.clock.sleep(max(min(wait, settings.sync_patience), 0))
    if wait > settings.sync_patience:
        if product.name == "aml":  # the job has ended, and may be asked for again
            call.desk.registry.review(job, "error:service_unavailable")
        raise refusal(408, "The request took too long to process.", about)
    latest = job.latest or job.plan[-1]
    if latest.code == "error:service_unavailable" and product.name == "enhanced_kyc":
        raise refusal(424, "The ID authority is unavailable.", about)
    return as_json(result_of(call.desk, job, latest), headers=signed(call.desk, settings.clock.time()) | about)


async def _status(call: Call) -> Response:
    call.bound()
    job_id, desk = call.request.path_params["job_id"], call.desk
    if not JOB_ID.fullmatch(job_id):
        raise refusal(400, "Invalid job id.")
    job = desk.registry.jobs.get(job_id)
    body = {"job_id": job_id, "created_at": timestamp_at(desk.settings.clock.time())}
    if not isinstance(job, V3Job) or not desk.registry.recorded(job):
        return as_json({"status": "not_found", "user_id": "unknown", "message": "Job not found", **body}, 404)
    job.polls += 1
    headers = {"api_version": API_VERSION, "job_id": job.job_id, "user_id": in_header(job.user_id)}
    body["user_id"] = job.user_id
    if job.state != "final" or job.latest is None:
        return as_json({"status": "processing", "message": "Job is still processing", **body}, 202, headers)
    return as_json({"status": parted(job.latest.code)[0], "message": "Job completed", **body}, 200, headers)


async def _replay(call: Call) -> Response:
    bound, desk = call.bound(), call.desk
    job_id = call.request.path_params["job_id"]
    if not _REPLAYED.fullmatch(job_id):
        raise refusal(400, "Invalid job id.")
    said = read_parts(call.form(optional=True).texts, ("callback_url",), desk.settings)
    url = (said | bound.values()).get("callback_url", "")
    job = desk.registry.jobs.get(job_id)
    if not isinstance(job, V3Job):
        raise refusal(404, "Job not found")
    if job.state != "final":
        raise refusal(409, "Job is still processing.")
    if not (url or job.callback_url or desk.settings.callback_url):
        raise refusal(400, "callback_url is required: none was given and none is on record.")
    desk.replay(job, url)
    body = {"status": "accepted", "job_id": job.job_id, "user_id": job.user_id}
    return as_json({**body, "message": "Callback replay accepted."}, 202)
