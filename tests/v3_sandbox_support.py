"""A plain V3 client for the sandbox's own tests, written from the provider's OpenAPI file with httpx only."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import httpx
from sandbox_support import KEY, HandClock, iso, jpeg, sign

from smile_async.sandbox import JobRecord, Sandbox

HOST = "https://sandbox.test"
FACE = jpeg()
#: Whoever comes to `clear`.
AMINA = {"given_names": "Amina Fatou", "last_name": "Clearwater", "email": "amina.clearwater@example.com"}
NIN = {"country": "NG", "id_type": "NIN_V2", "id_number": "00000000000"}


def person(given: str, last: str) -> dict[str, str]:
    """A test identity."""
    first = given.split(maxsplit=1)[0]
    return {"given_names": given, "last_name": last, "email": f"{first}.{last}@example.com".lower()}


def picture(name: str, content: bytes = FACE, media_type: str = "image/jpeg") -> tuple[str, tuple[str, bytes, str]]:
    """One part that is a picture."""
    return name, (f"{name}.jpg", content, media_type)


#: A selfie with six frames.
FACES = [picture("selfie_image"), *[picture("liveness_images")] * 6]
CARD = [*FACES, picture("document")]


class V3Partner:
    """Talks to one sandbox as a partner's server would."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(sandbox.app), base_url=HOST)
        self.token = ""

    async def fetch_token(self, key: str = KEY, partner: str = "1", **parts: Any) -> httpx.Response:
        """POST /v3/token; *parts* bind it."""
        headers = {"smileid-partner-id": partner, "smileid-api-key": key}
        return await self.http.post("/v3/token", headers=headers, files=form(**parts) if parts else None)

    async def sign_in(self, **parts: Any) -> None:
        """Fetch a token and carry it from now on."""
        reply = await self.fetch_token(**parts)
        assert reply.status_code == 200, reply.text
        self.token = reply.json()["token"]

    async def post(
        self, path: str, *pictures: Any, headers: dict[str, str] | None = None, **parts: Any
    ) -> httpx.Response:
        """POST a form of *parts*, with consent and Amina unless told otherwise (None = leave the part out)."""
        files = [*form(**{**self.usual(), **parts}), *pictures]
        return await self.http.post(
            f"/v3/{path}", files=files, headers={"smileid-token": self.token, **(headers or {})}
        )

    def usual(self) -> dict[str, Any]:
        granted = iso(self.sandbox.settings.clock.time())
        consent = {"granted": True, "granted_at": granted, "notice_language": "EN"}
        return {
            "consent": {**consent, "notice_privacy_policy_url": "https://shop.test/privacy"},
            "user_details": AMINA,
        }

    async def submit(self, path: str, *pictures: Any, **parts: Any) -> JobRecord:
        """The job that a submission makes."""
        reply = await self.post(path, *pictures, **parts)
        assert reply.status_code == 202, reply.text
        return self.sandbox.jobs[reply.json()["job_id"]]

    async def get(self, path: str, **query: str) -> httpx.Response:
        return await self.http.get(f"/v3/{path}", params=query, headers={"smileid-token": self.token})

    async def status(self, job_id: str) -> tuple[int, str]:
        reply = await self.get(f"status/{job_id}")
        return reply.status_code, reply.json()["status"]


def form(**parts: Any) -> list[Any]:
    """Parts that are texts, flags, or JSON; None is left out."""
    said = {name: value for name, value in parts.items() if value is not None}
    texts = {
        name: value if isinstance(value, str) else json.dumps(value).replace("True", "true")
        for name, value in said.items()
    }
    return [(name, (None, text)) for name, text in texts.items()]


class Receiver(httpx.AsyncBaseTransport):
    """Whoever webhooks go to: notes them, and answers with the next of *statuses*, then with 200."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[httpx.Request] = []
        self._news = anyio.Event()

    async def heard(self, count: int) -> None:
        """Come back once so many have arrived."""
        with anyio.fail_after(30):
            while len(self.got) < count:
                self._news = anyio.Event()
                await self._news.wait()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.got.append(request)
        self._news.set()
        return httpx.Response(self.statuses.pop(0) if self.statuses else 200)

    @property
    def words(self) -> list[str]:
        return [json.loads(request.content)["status"] for request in self.got]


def verify(request: httpx.Request, partner_id: str = "1") -> None:
    """A webhook is signed for its own timestamp."""
    assert request.headers["response-signature"] == sign(request.headers["response-timestamp"], partner_id)


@contextmanager
def v3_partner(**settings: Any) -> Iterator[V3Partner]:
    """A partner of a sandbox without sockets, whose clock the test turns."""
    settings.setdefault("clock", HandClock())
    yield V3Partner(Sandbox("001", KEY, **settings))


@asynccontextmanager
async def signed_in(**settings: Any) -> AsyncIterator[V3Partner]:
    """The same with a token."""
    with v3_partner(**settings) as partner:
        await partner.sign_in()
        yield partner
