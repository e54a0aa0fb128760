"""A plain Smile ID client for the sandbox's own tests, written from wire.md with the stdlib and httpx only."""

import asyncio
import base64
import hashlib
import hmac
import io
import json
import ssl
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
import anyio.lowlevel
import httpx
from PIL import Image as Picture

from smile_async.sandbox import RunningSandbox, Sandbox

KEY = "test-api-key"


async def told_by(command: Sequence[str], said: Any, env: Mapping[str, str], calls: int) -> list[dict[str, Any]]:
    """What *command*, which drives an official SDK, answers to *said* on its standard input: a line for each call."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=env
    )
    lines, _ = await asyncio.wait_for(process.communicate(json.dumps(said).encode()), 60)
    answers = [json.loads(line) for line in lines.splitlines()]
    assert (process.returncode, len(answers)) == (0, calls)
    return answers


class HandClock:
    """A clock that a test turns by hand."""

    def __init__(self, now: float = 1_767_323_045.678) -> None:  # the moment of wire.md's vector (§2.1)
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds

    async def wait(self, event: anyio.Event, timeout: float | None) -> bool:
        await anyio.lowlevel.checkpoint()
        return event.is_set()


class TurningClock(HandClock):
    """A clock that jumps to whatever is waited for."""

    async def wait(self, event: anyio.Event, timeout: float | None) -> bool:
        await anyio.sleep(0.001)
        if timeout is None:
            with anyio.move_on_after(0.05):
                await event.wait()
        elif not event.is_set():
            self.now += max(timeout, 0)
        return event.is_set()


def iso(moment: float) -> str:
    """*moment* as JavaScript and Android write it."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def sign(timestamp: str, partner_id: str = "001", key: str = KEY) -> str:
    """The signature of wire.md §2.1."""
    digest = hmac.new(key.encode(), f"{timestamp}{partner_id}sid_request".encode(), hashlib.sha256).digest()
    return base64.b64encode(digest).decode()


def jpeg(size: tuple[int, int] = (64, 80), colour: tuple[int, int, int] = (200, 150, 120)) -> bytes:
    """A real JPEG."""
    out = io.BytesIO()
    Picture.new("RGB", size, colour).save(out, "JPEG")
    return out.getvalue()


def png() -> bytes:
    """A real PNG."""
    out = io.BytesIO()
    Picture.new("RGB", (30, 20)).save(out, "PNG")
    return out.getvalue()


def zipped(info: object = None, /, **members: bytes) -> bytes:
    """A zip with *info* as info.json (bytes as they are, None = the usual one) and *members*, `__` meaning a dot."""
    files = {name.replace("__", "."): content for name, content in members.items()} or {"selfie.jpg": jpeg()}
    if info is None:
        info = {"images": [entry(0 if "selfie" in name else 4, name) for name in files], "id_info": {}}
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("info.json", info if isinstance(info, bytes) else json.dumps(info))
        for name, content in files.items():
            archive.writestr(name, content)
    return out.getvalue()


def entry(kind: int, file_name: str = "", image: str = "") -> dict[str, Any]:
    """One entry of `images` in info.json."""
    return {"image_type_id": kind, "image": image, "file_name": file_name}


class Partner:
    """Talks to one sandbox as a partner's server would, one plain request at a time."""

    def __init__(self, sandbox: Sandbox, http: httpx.AsyncClient, base_url: str = "https://sandbox.test/v1") -> None:
        self.sandbox, self.http, self.base_url = sandbox, http, base_url

    def signed(self, **fields: Any) -> dict[str, Any]:
        timestamp = iso(self.sandbox.settings.clock.time())
        return {"timestamp": timestamp, "signature": sign(timestamp, key=self.sandbox.api_key), **fields}

    def prep(self, user_id: str, job_id: str, job_type: Any = 2, /, **params: Any) -> dict[str, Any]:
        return self.signed(
            smile_client_id="001",
            partner_params={"user_id": user_id, "job_id": job_id, "job_type": job_type, **params},
            file_name="selfie.zip",
            model_parameters={},
            callback_url="",
        )

    async def post(self, path: str, payload: object) -> httpx.Response:
        """*path* is of the first API, or whole with its slash."""
        content = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        url = f"{self.base_url.removesuffix('/v1')}{path}" if path[0] == "/" else f"{self.base_url}/{path}"
        return await self.http.post(url, content=content, headers={"content-type": "application/json"})

    async def upload(self, user_id: str, job_id: str, job_type: Any = 2, /, **params: Any) -> dict[str, Any]:
        reply = await self.post("upload", self.prep(user_id, job_id, job_type, **params))
        assert reply.status_code == 200, reply.text
        return dict(reply.json())

    async def put(self, url: str, content: bytes, **headers: str) -> httpx.Response:
        return await self.http.put(url, content=content, headers={"content-type": "application/zip", **headers})

    async def status(self, user_id: str, job_id: str, **asked: bool) -> dict[str, Any]:
        reply = await self.post("job_status", self.signed(partner_id="001", user_id=user_id, job_id=job_id, **asked))
        body = dict(reply.json())
        if reply.status_code == 200:
            assert body["signature"] == sign(body["timestamp"], key=self.sandbox.api_key)
        return body

    async def submit(
        self, user_id: str, job_id: str, job_type: Any = 2, /, content: bytes | None = None, **params: Any
    ) -> None:
        prepared = await self.upload(user_id, job_id, job_type, **params)
        reply = await self.put(prepared["upload_url"], zipped() if content is None else content)
        assert reply.status_code == 200, reply.text


@contextmanager
def in_process(**settings: Any) -> Iterator[Partner]:
    """A partner of a sandbox without sockets, whose clock the test turns (`partner.sandbox.settings.clock`)."""
    settings.setdefault("clock", HandClock())
    sandbox = Sandbox("001", KEY, **settings)
    yield Partner(sandbox, httpx.AsyncClient(transport=httpx.ASGITransport(sandbox.app)))


def partner_of(running: RunningSandbox, *, http2: bool = True) -> Partner:
    """A partner over real sockets; close its `http` when done."""
    context = ssl.create_default_context(cafile=running.ca_file)
    client = httpx.AsyncClient(http2=http2, verify=context, trust_env=False)
    return Partner(running.sandbox, client, running.base_url)
