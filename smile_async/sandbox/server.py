"""Real sockets for a sandbox: HTTP/2 over TLS for the API, HTTP/1.1 over TLS for storage, as in production.

The servers run inside the caller's event loop, so a test keeps the sandbox object in its hands while real clients talk
to it. One host task owns them: fixtures enter and leave in different tasks, which a task group would not bear.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import httpx

from smile_async.undivided import undivided
from smile_async.urls import SERVED

from .certificates import certificates_for, is_wildcard
from .listener import Listener
from .readers import in_threads

if TYPE_CHECKING:
    from .sandbox import Sandbox

__all__ = ["RunningSandbox", "Serving"]


@dataclass(frozen=True)
class RunningSandbox:
    """A sandbox with open sockets: `base_url` is the API's (it ends in /v1), `ca_file` what clients must trust.

    With a certificate of one's own (`Settings.cert_file`) that is "": whom to trust is known already.
    """

    sandbox: "Sandbox"
    base_url: str
    storage_url: str
    ca_file: str

    @property
    def base_url_v3(self) -> str:
        """V3's base URL, for the same account; it ends in /v3."""
        return self.base_url.removesuffix("/v1") + "/v3"

    @property
    def partner_id(self) -> str:
        """The partner account to sign for."""
        return self.sandbox.partner_id

    @property
    def api_key(self) -> str:
        """The key to sign with."""
        return self.sandbox.api_key

    @property
    def account(self) -> dict[str, str]:
        """What leads a session here: `SmileSession(**running.account)`."""
        where = {"base_url": self.base_url, **({"ca_file": self.ca_file} if self.ca_file else {})}
        return {"partner_id": self.partner_id, "api_key": self.api_key, **where}

    @property
    def account_v3(self) -> dict[str, str]:
        """The same for a session that speaks V3: `SmileSession(**running.account_v3, consent=Consent(…))`."""
        return {**self.account, "base_url": self.base_url_v3, "api": "v3"}

    @property
    def control_url(self) -> str:
        """Where the control API is."""
        return self.base_url.removesuffix("/v1") + "/_sandbox"

    @property
    def guarded(self) -> bool:
        """Whether others than this machine's user can reach it, who must show the token."""
        return self.sandbox.console.guarded

    @property
    def token(self) -> str:
        """The access token: what the header X-Smile-Sandbox shows, and the console's address."""
        return self.sandbox.console.token

    @property
    def console_url(self) -> str:
        """Where a browser finds the console, with the access token where one is needed; "" if it is switched off."""
        console = self.sandbox.console
        if not self.sandbox.settings.console:
            return ""
        url = httpx.URL(self.base_url).copy_with(path="/")
        return str(url.copy_with(params={"token": console.token})) if console.guarded else str(url)


class Serving:
    """`async with` this to open the sockets of *sandbox*; may be entered in one task and left in another.

    Entering raises OSError if a port is taken. Leaving gives requests in flight 1 s and cancels nothing of the
    caller's.
    """

    def __init__(self, sandbox: "Sandbox", host: str = "127.0.0.1", port: int = 0, storage_port: int = 0) -> None:
        self._sandbox = sandbox
        self._where = (host, port, storage_port)
        self._leave = asyncio.Event()
        self._host: asyncio.Task[None] | None = None
        self._running: RunningSandbox | None = None

    async def __aenter__(self) -> RunningSandbox:
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._host = asyncio.create_task(self._run(ready), name="sandbox host")
        try:
            await asyncio.wait({self._host, ready}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self._host.cancel()
            await asyncio.wait({self._host})
            raise
        if self._running is None:
            await self._host  # raises what kept it from opening
            raise RuntimeError("the sandbox ended before it began")  # pragma: no cover - it raised
        return self._running

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await undivided(self._end)

    async def _end(self) -> None:
        self._leave.set()
        if self._host is not None:
            await self._host

    async def _run(self, ready: asyncio.Future[None]) -> None:
        async with _open(self._sandbox, *self._where) as self._running:
            ready.set_result(None)
            await self._leave.wait()


@contextlib.asynccontextmanager
async def _open(sandbox: "Sandbox", host: str, port: int, storage_port: int) -> AsyncIterator[RunningSandbox]:
    if sandbox.closing is not None:
        raise RuntimeError("this sandbox is being served already")
    settings = sandbox.settings
    with tempfile.TemporaryDirectory(prefix="smile-sandbox-") as folder, in_threads(sandbox):
        names = [name for name in (host, settings.public_host) if name]
        certificates = await anyio.to_thread.run_sync(certificates_for, settings, Path(folder), names)
        api = Listener(sandbox.api_app, host, port, certificates, http1_only=False)
        storage = Listener(sandbox.storage_app, host, storage_port, certificates, http1_only=True)
        name = settings.public_host or ("127.0.0.1" if is_wildcard(host) else host)
        name = f"[{name}]" if ":" in name else name
        sandbox.closing = anyio.Event()
        try:
            await api.start()
            await storage.start()
            SERVED[api.port] = asyncio.get_running_loop()
            sandbox.storage_url = f"https://{name}:{storage.port}"
            base_url = f"https://{name}:{api.port}/v1"
            sandbox.console.exposed = not api.loopback
            sandbox.console.bound = host
            sandbox.running = RunningSandbox(sandbox, base_url, sandbox.storage_url, str(certificates.ca_file or ""))
            async with sandbox.sending_callbacks():
                yield sandbox.running
        finally:
            sandbox.closing.set()
            SERVED.pop(api.port, None)
            await asyncio.gather(api.stop(), storage.stop())
            sandbox.storage_url = sandbox.closing = sandbox.running = None
