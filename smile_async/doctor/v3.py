"""The V3 API, as far as no job is needed: the key by a token, the clock, the lists, and a job that can not exist."""

from functools import partial
from urllib.parse import urlsplit

from smile_async.doctor.answers import Answer
from smile_async.doctor.basics import clock_and_version
from smile_async.doctor.examination import Examination
from smile_async.doctor.findings import Finding
from smile_async.doctor.lookups import claims_of
from smile_async.doctor.reading_v3 import of_lists_v3, of_nobody_v3, of_token_v3
from smile_async.doctor.wire import Wire
from smile_async.protocol.signature import Secret
from smile_async.protocol.v3.requests import partner_id_as_sent, token_call, token_headers
from smile_async.protocol.v3.tokens import UNBOUND

__all__ = ["v3_account"]

#: What each list holds, by its path.
_LISTS = {
    "supported_id_types": "id_types",
    "supported_documents": "valid_documents",
    "bank_codes": "bank_codes",
    "config": "idSelection",
}
#: A TypeID of the year 1970, in which nobody made a job.
_NOBODY = "job_00000000000000000000000000"


async def v3_account(exam: Examination, wire: Wire) -> Secret | None:
    """Clock, key and lists; the token, None if the key was not accepted."""
    tokens: list[str] = []

    async def first() -> list[Finding]:
        return clock_and_version(await wire.get("/v3/services/bank_codes"), "API")

    async def key() -> list[Finding]:
        signer, call = wire.settings.signer, token_call(UNBOUND, b"")
        headers = token_headers(call, partner_id_as_sent(signer.partner_id), signer.keys[0])
        answer = await wire.send(f"/v3{call.path}", *headers)
        token = answer.found.get("token")
        if isinstance(token, str):
            exam.report.redaction.hide(token)
            tokens.append(token)
        return of_token_v3(answer, claims_of(token), urlsplit(wire.settings.base_url).hostname or "")

    if not await exam.probe("http API", first) or not await exam.probe("key", key):
        return None
    await exam.probe("status of nobody", partial(_nobody, wire, tokens[0]))
    await exam.probe("catalogue", partial(_lists, wire, tokens[0]))
    return Secret(tokens[0])


async def _nobody(wire: Wire, token: str) -> list[Finding]:
    return [of_nobody_v3(await wire.get(f"/v3/status/{_NOBODY}", ("SmileID-Token", token)))]


async def _lists(wire: Wire, token: str) -> list[Finding]:
    found: dict[str, tuple[str, Answer]] = {}
    for path, name in _LISTS.items():
        found[path] = name, await wire.get(f"/v3/services/{path}", ("SmileID-Token", token))
    return [of_lists_v3(found)]
