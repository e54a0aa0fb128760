"""Real gateways in front of a sandbox: nginx, haproxy and tinyproxy, each on a port and in a folder of its own.

A gateway shows the sandbox's own certificate, so that clients need trust no more than the sandbox's CA.
"""

import asyncio
import os
import pwd
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from smile_async.sandbox import RunningSandbox

__all__ = ["Gateway", "haproxy", "nginx", "tinyproxy"]

#: Seconds a gateway has to accept connections, and to end.
PATIENCE = 20.0

_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
{user}
events {{ worker_connections 1024; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream smile {{ server 127.0.0.1:{target}; keepalive 32; }}
    server {{
        listen 127.0.0.1:{port} ssl http2 backlog=1024;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        {settings}
        location / {{
            if (-f {folder}/down) {{ return 502; }}
            proxy_pass https://smile;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""

_HAPROXY = """
global
    tune.h2.max-concurrent-streams 10
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    {settings}
frontend clients
    bind 127.0.0.1:{port} ssl crt {folder}/both.pem alpn h2,http/1.1
    default_backend smile
backend smile
    server sandbox 127.0.0.1:{target} ssl verify none alpn http/1.1
"""

_TINYPROXY = """
Port {port}
Listen 127.0.0.1
Timeout 600
MaxClients 500
LogFile "{folder}/access.log"
LogLevel Connect
BasicAuth {credentials}
{settings}
"""


@dataclass
class Gateway:
    """A running gateway."""

    folder: Path
    port: int
    command: Sequence[str]
    process: asyncio.subprocess.Process | None = None

    @property
    def base_url(self) -> str:
        """The API's, through the gateway."""
        return f"https://127.0.0.1:{self.port}/v1"

    async def start(self) -> None:
        """Start, and wait until it accepts."""
        with (self.folder / "out.log").open("ab") as out:
            self.process = await asyncio.create_subprocess_exec(
                *self.command, stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out
            )
        async with asyncio.timeout(PATIENCE):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                assert self.process.returncode is None, (self.folder / "out.log").read_text()
                await asyncio.sleep(0.02)

    def reload(self) -> None:
        """Read the configuration again: new workers take over, the old ones hang up when they have answered."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    @asynccontextmanager
    async def reloading(self, every: float) -> AsyncIterator[None]:
        """Reload *every* so many seconds for as long as the block lasts."""

        async def again() -> None:
            while True:
                await asyncio.sleep(every)
                self.reload()

        task = asyncio.create_task(again(), name="scripted connection")
        try:
            yield
        finally:
            task.cancel()

    @asynccontextmanager
    async def down(self) -> AsyncIterator[None]:
        """Answer 502 to everything for as long as the block lasts (nginx)."""
        flag = self.folder / "down"
        flag.touch()
        try:
            yield
        finally:
            flag.unlink()

    async def stop(self) -> None:
        """End at once, as a crash would: whoever is connected is hung up on."""
        if self.process is None or self.process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await asyncio.wait_for(self.process.wait(), PATIENCE)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def _certificate(running: RunningSandbox) -> tuple[Path, Path]:
    folder = Path(running.ca_file).parent
    return folder / "server.pem", folder / "server.key"


@asynccontextmanager
async def _running(gateway: Gateway) -> AsyncIterator[Gateway]:
    try:
        await gateway.start()
        yield gateway
    finally:
        await gateway.stop()


def _folder(parent: Path, name: str) -> Path:
    folder = parent / name
    folder.mkdir()
    return folder


@asynccontextmanager
async def nginx(running: RunningSandbox, parent: Path, settings: str = "") -> AsyncIterator[Gateway]:
    """Nginx with an HTTP/2 front; *settings* are directives of its server block."""
    program, folder, port = _program("nginx"), _folder(parent, "nginx"), _free_port()
    certificate, key = _certificate(running)
    config = _NGINX.format(
        folder=folder,
        port=port,
        target=urlsplit(running.base_url).port,
        certificate=certificate,
        key=key,
        settings=settings,
        user=f"user {pwd.getpwuid(os.geteuid()).pw_name};" if os.geteuid() == 0 else "",
    )
    (folder / "nginx.conf").write_text(config)
    command = ("setsid", program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log"))
    async with _running(Gateway(folder, port, command)) as gateway:
        yield gateway


@asynccontextmanager
async def haproxy(running: RunningSandbox, parent: Path, settings: str = "") -> AsyncIterator[Gateway]:
    """Haproxy with an HTTP/2 front of ten streams and a backend of HTTP/1.1; *settings* go into its defaults."""
    program, folder, port = _program("haproxy"), _folder(parent, "haproxy"), _free_port()
    both = folder / "both.pem"
    both.touch(mode=0o600)
    both.write_bytes(b"".join(path.read_bytes() for path in _certificate(running)))
    target = urlsplit(running.base_url).port
    (folder / "haproxy.cfg").write_text(_HAPROXY.format(folder=folder, port=port, target=target, settings=settings))
    async with _running(
        Gateway(folder, port, ("setsid", program, "-db", "-f", str(folder / "haproxy.cfg")))
    ) as gateway:
        yield gateway


@asynccontextmanager
async def tinyproxy(parent: Path, credentials: str, settings: str = "") -> AsyncIterator[Gateway]:
    """A proxy that takes CONNECT from who knows the *credentials*, "user password"."""
    program, folder, port = _program("tinyproxy"), _folder(parent, "tinyproxy"), _free_port()
    config = _TINYPROXY.format(folder=folder, port=port, credentials=credentials, settings=settings)
    (folder / "tinyproxy.conf").write_text(config)
    async with _running(
        Gateway(folder, port, ("setsid", program, "-d", "-c", str(folder / "tinyproxy.conf")))
    ) as gateway:
        yield gateway
