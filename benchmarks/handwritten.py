"""The client a competent user writes in an afternoon: asyncio.gather, httpx.AsyncClient, a semaphore, two-second polls.

One client over HTTP/2 (storage answers HTTP/1.1), uploads bounded so that images do not pile up, polls not: they are
small. It has no retries, no deadlines and believes whatever the API says; so it is a measure of cost, not of safety.
"""

import asyncio
import hmac
import io
import ssl
import uuid
import zipfile
from base64 import b64encode
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from meter import Window, spec, tell


class Client:
    def __init__(self, told: dict[str, Any]) -> None:
        self.told = told
        context = ssl.create_default_context(cafile=told["ca_file"])
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        self.http = httpx.AsyncClient(http2=True, verify=context, timeout=None, limits=limits)
        self.uploads = asyncio.Semaphore(told["uploads"])

    def signed(self) -> dict[str, str]:
        now = datetime.now(UTC).isoformat()
        made = hmac.digest(
            self.told["api_key"].encode(), f"{now}{self.told['partner_id']}sid_request".encode(), "sha256"
        )
        return {"timestamp": now, "signature": b64encode(made).decode()}

    def archive(self, params: dict[str, Any], slot: dict[str, Any]) -> bytes:
        whole = io.BytesIO()
        names = [(path, f"image_{number}.jpg") for number, path in enumerate(self.told["images"])]
        info = {
            "package_information": {"apiVersion": {"buildNumber": 0, "majorVersion": 2, "minorVersion": 0}},
            "misc_information": {**self.signed(), "partner_params": params, "smile_client_id": "001"},
            "id_info": {},
            "images": [
                {"image_type_id": 0 if number == 0 else 4, "image": "", "file_name": name}
                for number, (_, name) in enumerate(names)
            ],
            "server_information": slot,
        }
        with zipfile.ZipFile(whole, "w") as file:
            file.writestr("info.json", httpx.Request("POST", "https://x", json=info).content)
            for path, name in names:
                file.writestr(name, Path(path).read_bytes())
        return whole.getvalue()

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        response = await self.http.post(f"{self.told['base_url']}/{path}", json={**body, **self.signed()})
        response.raise_for_status()
        found: dict[str, Any] = response.json()
        return found

    async def verify(self, user_id: str) -> dict[str, Any]:
        params = {"user_id": user_id, "job_id": str(uuid.uuid4()), "job_type": 2}
        async with self.uploads:
            prepare = {"file_name": "selfie.zip", "smile_client_id": "001", "partner_params": params}
            slot = await self.post("upload", {**prepare, "model_parameters": {}, "callback_url": ""})
            content = await asyncio.to_thread(self.archive, params, slot)
            put = await self.http.put(slot["upload_url"], content=content, headers={"Content-Type": "application/zip"})
            put.raise_for_status()
            del content
        question = {"partner_id": "001", "user_id": user_id, "job_id": params["job_id"]}
        while True:
            await asyncio.sleep(2)
            status = await self.post("job_status", {**question, "image_links": False, "history": False})
            if status["job_complete"]:
                result: dict[str, Any] = status["result"]
                return result


async def run(told: dict[str, Any]) -> dict[str, Any]:
    window = Window(told)
    client = Client(told)

    async def one(number: int) -> None:
        if told.get("per_second"):
            await asyncio.sleep(number / told["per_second"])
        window.verdict(await client.verify(f"user-{number}"))

    async with client.http:
        for count in (told["warm"], told["jobs"]):
            window.open()
            await asyncio.gather(*(one(number) for number in range(count)))
        return window.close() | {"api": "HTTP/2"}


if __name__ == "__main__":
    told = spec()
    tell(asyncio.run(run(told)))
