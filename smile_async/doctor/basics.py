"""What costs nothing: the way to a server, its clock, the key, the lists, and what a wrong request is answered with."""

import asyncio
import time
from functools import partial
from urllib.parse import urlsplit
from uuid import uuid4

from smile_async.doctor.answers import Answer
from smile_async.doctor.examination import Examination
from smile_async.doctor.findings import Finding, State
from smile_async.doctor.network import addresses_of, connected, shaken
from smile_async.doctor.reading import of_catalogue, of_clock, of_key, of_lists, of_silence, of_tls, of_version
from smile_async.doctor.wire import Wire
from smile_async.errors import BadConfiguration, Unavailable
from smile_async.jobs.ticket import UNKNOWN_JOB_TYPE, Ticket
from smile_async.protocol.steps import Call, Fault
from smile_async.protocol.v1.account import (
    PRODUCTS,
    SERVICES,
    account_body,
    documents_call,
    read_documents,
    read_products,
    read_services,
)
from smile_async.protocol.v1.refusals import refusal
from smile_async.protocol.v1.replies import Complaint
from smile_async.protocol.v1.requests import status_body
from smile_async.timing.backoff import http_date
from smile_async.transport.proxies import environment_proxies

__all__ = ["asked", "clock_and_version", "key", "lists", "nobody", "way_to"]

#: Seconds for a name, and for a connection or a handshake.
NAME, CONNECT = 10.0, 10.0
#: Addresses of one host that are tried.
ADDRESSES = 4


def nobody() -> Ticket:
    """A job that can not exist."""
    return Ticket(f"doctor-{uuid4().hex[:12]}", f"doctor-{uuid4().hex[:12]}", UNKNOWN_JOB_TYPE)


async def way_to(exam: Examination, url: str, where: str, ca_file: str | None, *, http2: bool) -> bool:
    """Name, connection and handshake of the server at *url*, which people call *where*; whether it was reached."""
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    addresses: list[tuple[int, str]] = []

    async def dns() -> list[Finding]:
        addresses.extend(await addresses_of(host, port))
        return [Finding(f"dns {where}", State.OK, f"{host} is {', '.join(address for _, address in addresses)}")]

    if not await exam.probe(f"dns {where}", dns, leg="dns", within=NAME):
        return False
    _proxy(exam, host)
    found: list[tuple[int, str]] = []

    async def tcp() -> list[Finding]:
        failures = []
        for family, address in addresses[:ADDRESSES]:
            try:
                async with asyncio.timeout(CONNECT):
                    (await connected(family, address, port)).close()
            except (OSError, TimeoutError) as error:
                failures.append(f"{address}: {error or 'no answer'}")
                continue
            found.append((family, address))
            break
        if not found:
            return [of_silence(f"tcp {where}", "tcp", f"port {port} of {'; '.join(failures)}")]
        cure = f"not reached: {'; '.join(failures)}: every new connection tries these first" if failures else ""
        state = State.WARNING if failures else State.OK
        return [Finding(f"tcp {where}", state, f"port {port} of {found[0][1]}", cure)]

    if not await exam.probe(f"tcp {where}", tcp, leg="tcp", within=ADDRESSES * CONNECT + 1):
        return False
    if parts.scheme != "https":
        return exam.tell(Finding(f"tls {where}", State.WARNING, "none: the URL is http", "give one with https"))

    async def tls() -> list[Finding]:
        sock = await connected(*found[0], port)
        return of_tls(where, await shaken(sock, host, ca_file, http2=http2), wanted="h2" if http2 else "http/1.1")

    return await exam.probe(f"tls {where}", tls, leg="tls", within=CONNECT)


def _proxy(exam: Examination, host: str) -> None:
    try:
        named = environment_proxies()("https", host)
    except BadConfiguration as error:
        exam.tell(Finding("proxy", State.WARNING, str(error)))
        return
    if named is not None:
        cure = "if there is no other way out, make the session with trust_env=True"
        exam.tell(Finding("proxy", State.WARNING, f"the environment names one for {host}; it was gone round", cure))


def clock_and_version(answer: Answer, where: str) -> list[Finding]:
    """What any reply tells of the server's clock and of HTTP."""
    try:
        skew = http_date(answer.date) - time.time()
    except (ValueError, TypeError, OverflowError):
        skew = None
    return [of_version(where, answer.http_version, wanted="HTTP/2"), of_clock(skew)]


async def asked(wire: Wire, *, off: float = 0.0) -> Answer:
    """The answer to a signed status query for a job that can not exist."""
    body = partial(_query, nobody(), wire.settings.signer.partner_id)
    return await wire.post("/v1/job_status", body, off=off)


def _query(ticket: Ticket, partner_id: str, stamp: object) -> bytes:
    return status_body(ticket, partner_id=partner_id, stamp=stamp)  # type: ignore[arg-type]


async def key(wire: Wire) -> list[Finding]:
    """Whether the key is accepted."""
    return of_key(await asked(wire))


async def lists(wire: Wire) -> list[Finding]:
    """What can be looked up, and which generation of lists is served."""
    services = await wire.get("/v1/services")
    products, documents = [await _called(wire, call) for call in (PRODUCTS, documents_call(None))]
    for call, answer in ((SERVICES, services), (PRODUCTS, products), (documents_call(None), documents)):
        if answer.status != 200 or not any(name in answer.found for name in call.wanted):
            raise _refused(call, answer)
    catalogue = of_catalogue(
        read_services(services.found), read_products(products.found), read_documents(documents.found)
    )
    return [catalogue, of_lists(services)]


def _refused(call: Call, answer: Answer) -> Exception:
    fault = refusal(answer.status, Complaint(answer.code, answer.message), f"/{call.path}")
    return fault.error if isinstance(fault, Fault) else Unavailable(answer.said)


async def _called(wire: Wire, call: Call) -> Answer:
    partner_id = wire.settings.signer.partner_id
    return await wire.post(f"/v1/{call.path}", lambda stamp: account_body(call, partner_id=partner_id, stamp=stamp))
