"""What costs nothing: the way to a server, its clock, the key, the lists, and what a wrong request is answered with."""

import time
from functools import partial
from urllib.parse import urlsplit
from uuid import uuid4

import anyio

from smile_async.doctor.answers import Answer
from smile_async.doctor.examination import Examination
from smile_async.doctor.findings import Finding, State
from smile_async.doctor.network import addresses_of, connected, shaken
from smile_async.doctor.reading import (
    of_catalogue,
    of_clock,
    of_key,
    of_lists,
    of_no_lists,
    of_silence,
    of_tcp,
    of_tls,
    of_version,
)
from smile_async.doctor.wire import Wire
from smile_async.errors import BadConfiguration
from smile_async.jobs.ticket import UNKNOWN_JOB_TYPE, Ticket
from smile_async.protocol.steps import Call
from smile_async.protocol.v1.account import (
    PRODUCTS,
    SERVICES,
    account_body,
    documents_call,
    read_documents,
    read_products,
    read_services,
)
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
    way = _Way(url, where)
    if not await exam.probe(f"dns {where}", way.dns, leg="dns", within=NAME):
        return False
    _proxy(exam, way.host)
    if not await exam.probe(f"tcp {where}", way.tcp, leg="tcp", within=ADDRESSES * CONNECT + 1):
        return False
    if urlsplit(url).scheme != "https":
        return exam.tell(Finding(f"tls {where}", State.WARNING, "none: the URL is http", "give one with https"))
    return await exam.probe(f"tls {where}", partial(way.tls, ca_file, http2=http2), leg="tls", within=CONNECT)


class _Way:
    """What is known so far of the way to one server."""

    def __init__(self, url: str, where: str) -> None:
        parts = urlsplit(url)
        self.host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._where = where
        self._addresses: list[tuple[int, str]] = []

    async def dns(self) -> list[Finding]:
        """Its addresses."""
        self._addresses = await addresses_of(self.host, self._port)
        told = ", ".join(address for _, address in self._addresses)
        return [Finding(f"dns {self._where}", State.OK, f"{self.host} is {told}")]

    async def tcp(self) -> list[Finding]:
        """The first of its addresses that takes a connection; what comes before it is forgotten."""
        failures = []
        for family, address in self._addresses[:ADDRESSES]:
            try:
                with anyio.fail_after(CONNECT):
                    (await connected(family, address, self._port)).close()
            except (OSError, TimeoutError) as error:
                failures.append(f"{address}: {str(error) or 'no answer'}")
                continue
            self._addresses = [(family, address)]
            return [of_tcp(self._where, f"port {self._port} of {address}", failures)]
        return [of_silence(f"tcp {self._where}", "tcp", f"port {self._port} of {'; '.join(failures)}")]

    async def tls(self, ca_file: str | None, *, http2: bool) -> list[Finding]:
        """The handshake with that address."""
        sock = await connected(*self._addresses[0], self._port)
        shaking = await shaken(sock, self.host, ca_file, http2=http2)
        return of_tls(self._where, shaking, wanted="h2" if http2 else "http/1.1")


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
    asked_for = (*PRODUCTS, *documents_call(None))
    products, documents = [await _called(wire, call) for call in asked_for]
    answers = list(zip((*SERVICES, *asked_for), (services, products, documents), strict=True))
    missing = [f"/{call.path}: {answer.said}" for call, answer in answers if not answer.found.keys() & {*call.wanted}]
    if missing:
        return [of_no_lists(missing)]
    catalogue = of_catalogue(
        read_services(services.found), read_products(products.found), read_documents(documents.found)
    )
    return [catalogue, of_lists(services)]


async def _called(wire: Wire, call: Call) -> Answer:
    partner_id = wire.settings.signer.partner_id
    return await wire.post(f"/v1/{call.path}", lambda stamp: account_body(call, partner_id=partner_id, stamp=stamp))
