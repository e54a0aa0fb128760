"""What lies between this machine and a server, one storey at a time: names, a connection, a handshake."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from typing import Any

from smile_async.doctor.reading import Tls
from smile_async.transport.tls import tls_context

__all__ = ["ALPN", "addresses_of", "connected", "shaken"]

#: What our engines offer: for the API, and for the storage.
ALPN = {True: ["http/1.1", "h2"], False: ["http/1.1"]}


async def addresses_of(host: str, port: int) -> list[tuple[int, str]]:
    """Family and address of *host*, the preferred first. Raises OSError.

    In a thread that nobody waits for: a resolver that hangs must not keep the program from ending.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Any] = loop.create_future()

    def tell(deed: Any, value: Any) -> None:
        if not answer.done():
            deed(value)

    def ask() -> None:
        told: tuple[Any, Any]
        try:
            told = answer.set_result, socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            told = answer.set_exception, error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(tell, *told)

    threading.Thread(target=ask, daemon=True, name="smile_async doctor asks for a name").start()
    return [(int(family), str(address[0])) for family, _, _, _, address in await answer]


async def connected(family: int, address: str, port: int) -> socket.socket:
    """A connection to *address*. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (address, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def shaken(sock: socket.socket, host: str, ca_file: str | None, *, http2: bool) -> Tls:
    """The handshake over *sock*, which is closed at the end. Raises OSError, ssl.SSLError among them."""
    context = tls_context(ca_file, http2=http2)
    context.set_alpn_protocols(ALPN[http2])
    try:
        _, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=host)
    except BaseException:
        sock.close()
        raise
    try:
        shaken = writer.get_extra_info("ssl_object")
        certificate = shaken.getpeercert()
        names = {name: value for part in certificate["issuer"] for name, value in part}
        issuer = names.get("organizationName") or names.get("commonName") or "somebody unnamed"
        days = int((ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()) / 86_400)
        return Tls(shaken.version() or "", shaken.selected_alpn_protocol() or "", str(issuer), days)
    finally:
        writer.transport.abort()
