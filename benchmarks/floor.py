"""Bare loops: the same requests over the same engine with nothing around them, the least any library could cost.

`prebuilt` sends bytes that were made beforehand: what the engine alone costs. `plain` does the job's work in the
plainest way: it reads the nine files, lets zipfile store them, signs, parses replies. Both use the engine's client
class; `bare` is `plain` without that client, on the transport itself, which is where smile_async sits too.
"""

import asyncio
import hmac
import io
import ssl
import uuid
import zipfile
from base64 import b64encode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
from meter import Window, spec, tell

JSON = [("Content-Type", "application/json"), ("Accept", "application/json")]
ZIP = [("Content-Type", "application/zip")]
Send = Callable[[str, str, list[tuple[str, str]], bytes], Awaitable[bytes]]


def rust(told: dict[str, Any], http2: bool) -> Any:
    from pyreqwest.client import ClientBuilder  # noqa: PLC0415 - an extra

    builder = ClientBuilder().http2(http2).no_proxy().follow_redirects(False)
    return builder.add_root_certificate_pem(Path(told["ca_file"]).read_bytes()).build()


def transport(told: dict[str, Any], library: ModuleType, http2: bool) -> Any:
    if told["engine"] != "pyreqwest":
        context = ssl.create_default_context(cafile=told["ca_file"])
        limits = library.Limits(max_connections=None, max_keepalive_connections=100)
        return library.AsyncHTTPTransport(verify=context, http2=http2, limits=limits, trust_env=False)
    from pyreqwest.compatibility.httpx import HttpxTransport  # noqa: PLC0415 - an extra

    return HttpxTransport(rust(told, http2))


def bare(told: dict[str, Any], http2: bool) -> tuple[Callable[[], Awaitable[None]], Send]:
    """How to close what lies below the engine's client class, and how to send one request over it."""
    if told["engine"] == "pyreqwest":
        client = rust(told, http2)

        async def send_rust(method: str, url: str, headers: list[tuple[str, str]], content: bytes) -> bytes:
            response = await client.request(method, url).headers(headers).body_bytes(content).build().send()
            return checked(response.status, bytes(await response.bytes()))

        return client.close, send_rust
    core = __import__("httpcore2" if told["engine"] == "httpx2" else "httpcore")
    context = ssl.create_default_context(cafile=told["ca_file"])
    pool = core.AsyncConnectionPool(ssl_context=context, http2=http2, max_connections=None)

    async def send_core(method: str, url: str, headers: list[tuple[str, str]], content: bytes) -> bytes:
        response = await pool.request(method, url, headers=headers, content=content)
        return checked(response.status, response.content)

    return pool.aclose, send_core


def sender(told: dict[str, Any], library: ModuleType, http2: bool) -> tuple[Callable[[], Awaitable[None]], Send]:
    """How to close, and how to send one request."""
    if told["kind"] == "bare":
        return bare(told, http2)
    client = library.AsyncClient(transport=transport(told, library, http2), timeout=None, trust_env=False)

    async def send(method: str, url: str, headers: list[tuple[str, str]], content: bytes) -> bytes:
        response = await client.request(method, url, headers=headers, content=content)
        return checked(response.status_code, response.content)

    return client.aclose, send


def checked(status: int, body: bytes) -> bytes:
    if status != 200:
        raise RuntimeError(f"HTTP {status}")
    return body


class Floor:
    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        library = __import__("httpx2" if told["engine"] == "httpx2" else "httpx")
        self.closing, self.api = sender(told, library, http2=True)
        self.closing_too, self.storage = sender(told, library, http2=False)
        self.whole = self.archive({"user_id": "user", "job_id": str(uuid.uuid4()), "job_type": 2}, {"code": "2202"})

    def signed(self, body: dict[str, Any]) -> bytes:
        now = datetime.now(UTC).isoformat()
        message = f"{now}{self.told['partner_id']}sid_request".encode()
        made = hmac.digest(self.told["api_key"].encode(), message, "sha256")
        return orjson.dumps({**body, "timestamp": now, "signature": b64encode(made).decode()})

    def archive(self, params: dict[str, Any], slot: dict[str, Any]) -> bytes:
        info = {
            "package_information": {"apiVersion": {"buildNumber": 0, "majorVersion": 2, "minorVersion": 0}},
            "misc_information": {"retry": "false", "partner_params": params, "smile_client_id": "001"},
            "id_info": {},
            "images": [{"image_type_id": 4, "image": "", "file_name": f"{n}.jpg"} for n in range(9)],
            "server_information": slot,
        }
        whole = io.BytesIO()
        with zipfile.ZipFile(whole, "w") as file:
            file.writestr("info.json", self.signed(info))
            for number, path in enumerate(self.told["images"]):
                file.writestr(f"{number}.jpg", Path(path).read_bytes())
        return whole.getvalue()

    def prepare(self, params: dict[str, Any]) -> bytes:
        body = {"file_name": "selfie.zip", "smile_client_id": "001", "partner_params": params, "model_parameters": {}}
        sdk = {"callback_url": "", "use_enrolled_image": False, "source_sdk": "rest_api", "source_sdk_version": "0.1.0"}
        return self.signed({**body, **sdk})

    def question(self, params: dict[str, Any]) -> bytes:
        whose = {"partner_id": "001", "user_id": params["user_id"], "job_id": params["job_id"]}
        return self.signed({**whose, "image_links": False, "history": False})

    async def plain(self, params: dict[str, Any]) -> Any:
        slot = orjson.loads(await self.api("POST", self.told["base_url"] + "/upload", JSON, self.prepare(params)))
        # In the loop: handing it to a thread costs more CPU than it saves, and CPU is what is compared.
        await self.storage("PUT", slot["upload_url"], ZIP, self.archive(params, slot))
        while True:
            reply = await self.api("POST", self.told["base_url"] + "/job_status", JSON, self.question(params))
            status = orjson.loads(reply)
            if status["job_complete"]:
                return status["result"]

    async def lookup(self, params: dict[str, Any]) -> Any:
        body = {"partner_id": "001", "partner_params": params, "source_sdk": "rest_api", "source_sdk_version": "0.1.0"}
        asked = self.signed({**self.told["lookups"], **body})
        return orjson.loads(await self.api("POST", self.told["base_url"] + "/id_verification", JSON, asked))

    async def prebuilt(self, made: tuple[bytes, bytes, str]) -> Any:
        prepare, question, url = made
        await self.api("POST", self.told["base_url"] + "/upload", JSON, prepare)
        await self.storage("PUT", url, ZIP, self.whole)
        reply = b""
        for _ in range(self.told["polls"]):
            reply = await self.api("POST", self.told["base_url"] + "/job_status", JSON, question)
        return orjson.loads(reply)["result"]

    async def all(self, count: int, window: Window) -> None:
        kind = 5 if self.told.get("lookups") else 2
        every = [{"user_id": f"user-{n}", "job_id": str(uuid.uuid4()), "job_type": kind} for n in range(count)]
        one: Any = self.lookup if self.told.get("lookups") else self.plain
        work: Any = every
        if self.told["kind"] == "prebuilt":
            put = self.told["storage_url"] + "/videos/001/{}/selfie.zip" + self.told["upload_query"]
            work = [(self.prepare(each), self.question(each), put.format(each["job_id"])) for each in every]
            one = self.prebuilt
        queue = iter(work)

        async def worker() -> None:
            for each in queue:
                window.verdict(await one(each))

        window.open()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self.told["uploads"]):
                tasks.create_task(worker())


async def run(told: dict[str, Any]) -> dict[str, Any]:
    window = Window(told)
    floor = Floor(told)
    for count in (told["warm"], told["jobs"]):
        await floor.all(count, window)
    figures = window.close()
    for each in (floor.closing, floor.closing_too):
        await each()
    await asyncio.sleep(0.05)  # pyreqwest's thread may still hold the GIL: see transport/pyreqwest_engine.py
    return figures | {"api": "HTTP/2"}


if __name__ == "__main__":
    tell(asyncio.run(run(spec())))
