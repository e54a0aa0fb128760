"""One granian server inside the caller's event loop: opened on a port that is surely ours, closed without leftovers.

granian's embedded mode leaves three things to its host: finding a free port, knowing when it accepts, and ending while
clients keep idle HTTP/2 connections open (its graceful stop waits for them for ever).
"""

import asyncio
import contextlib
import ipaddress
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP2Settings
from granian.server.embed import Server
from starlette.types import ASGIApp, Receive, Scope, Send

from .certificates import Certificates

__all__ = ["Listener"]

#: Requests granian takes at once before it stops reading; its own default of 128 is less than one busy client sends.
_BACKPRESSURE = 10_000
#: Concurrent streams per connection, as Amazon's API gateway and load balancers offer.
_MAX_STREAMS = 128
#: Without "incremental", granian's logging set-up would close every handler the program already has.
_KEEP_LOGGING = {"version": 1, "incremental": True, "handlers": {}, "loggers": {}}
#: Seconds: until a server must accept; given to requests in flight when it stops; for the rest of its end.
_START, _GRACE, _STOP = 10.0, 1.0, 5.0


class Listener:
    """Serves *app* over TLS on *host* (a name or address) and *port* (0 = any free one)."""

    def __init__(self, app: ASGIApp, host: str, port: int, certificates: Certificates, *, http1_only: bool) -> None:
        self._app = app
        self._family, self._address = _resolve(host)
        self._wanted = port
        self._certificates = certificates
        self._mode = HTTPModes.http1 if http1_only else HTTPModes.auto
        self._requests: set[asyncio.Task[Any]] = set()
        self._server: Any = None
        self._serving: asyncio.Task[None] | None = None
        self.port = port

    @property
    def loopback(self) -> bool:
        """Whether only this machine can connect."""
        return ipaddress.ip_address(self._address).is_loopback

    async def start(self) -> None:
        """Open the port; raises OSError if it is taken or the server does not accept within 10 s."""
        with _reserved(self._family, self._address, self._wanted) as self.port:
            self._server = Server(
                self._counted,
                address=self._address,
                port=self.port,
                interface=Interfaces.ASGINL,
                http=self._mode,
                http2_settings=HTTP2Settings(max_concurrent_streams=_MAX_STREAMS),
                websockets=False,
                backlog=1024,
                backpressure=_BACKPRESSURE,
                log_enabled=False,
                log_dictconfig=_KEEP_LOGGING,
                ssl_cert=Path(self._certificates.cert_file),
                ssl_key=Path(self._certificates.key_file),
                ssl_protocol_min=SSLProtocols.tls12,
            )
            self._serving = asyncio.create_task(self._server.serve(), name=f"sandbox port {self.port}")
            await self._accepting()

    async def _accepting(self) -> None:
        loopback = "::1" if self._family == socket.AF_INET6 else "127.0.0.1"
        address = loopback if self._address in ("0.0.0.0", "::") else self._address  # noqa: S104
        give_up = time.monotonic() + _START
        while True:
            try:
                _, writer = await asyncio.open_connection(address, self.port)
            except OSError:
                if time.monotonic() > give_up or self._serving is None or self._serving.done():
                    raise
                await anyio.sleep(0.005)
            else:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
                return

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
        await self._app(scope, receive, send)

    async def stop(self) -> None:
        """Close the port, let requests in flight end for 1 s, then hang up on whoever is still connected."""
        if self._server is None or self._serving is None:
            return
        self._server.signal_handler_interrupt()
        for grace in (_GRACE, _STOP):
            if self._requests:
                await asyncio.wait(self._requests, timeout=grace)
            for request in self._requests:
                request.cancel()
        give_up = time.monotonic() + _STOP
        while not (await asyncio.wait({self._serving}, timeout=0.05))[0] and time.monotonic() < give_up:
            _hang_up(self.port)
        if not self._serving.done():  # pragma: no cover - seen only where open files cannot be listed
            self._serving.cancel()
            await asyncio.wait({self._serving})


def _resolve(host: str) -> tuple[socket.AddressFamily, str]:
    family, _, _, _, address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0]
    return family, str(address[0])


@contextlib.contextmanager
def _reserved(family: socket.AddressFamily, address: str, port: int) -> Iterator[int]:
    """Hold a free port while the server opens it (granian shares ports); a given port must not be in use."""
    with socket.socket(family, socket.SOCK_STREAM) as holder:
        if port:
            # SO_REUSEADDR allows for the last run's closed connections, but not for somebody who listens.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind((address, port))
            holder.close()
            yield port
            return
        if hasattr(socket, "SO_REUSEPORT"):
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((address, 0))
        free = int(holder.getsockname()[1])
        if not hasattr(socket, "SO_REUSEPORT"):  # pragma: no cover - Windows
            holder.close()
        yield free


def _hang_up(port: int) -> None:
    """Shut down this process's connections on local *port*: granian offers no way to close them."""
    with contextlib.suppress(OSError):
        for name in os.listdir("/dev/fd"):  # noqa: PTH208
            with contextlib.suppress(OSError, ValueError):
                _shut_down(int(name), port)


def _shut_down(descriptor: int, port: int) -> None:
    # Asked first, for `socket` neither takes nor closes a descriptor that is no socket.
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return
    with socket.socket(fileno=os.dup(descriptor)) as twin:
        if twin.family in (socket.AF_INET, socket.AF_INET6) and twin.getsockname()[1] == port:
            twin.shutdown(socket.SHUT_RDWR)
