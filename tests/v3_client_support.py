"""What the tests of sessions that speak V3 share: jobs, a street in virtual time, a look at the provider's jobs."""

import base64
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import orjson
from street import QUICK, Pictures, session_of

from smile_async import Consent, Document, IdInfo, Job, Pace, Person, SmileSession
from smile_async.sandbox import JobRecord, RunningSandbox, Sandbox
from smile_async.timing.virtual_clock import VirtualClock

ME = Person("Amina Fatou", "Clearwater", "amina.clearwater@example.com")
CONSENT = Consent("https://shop.example/privacy")
NIN = IdInfo("NG", "NIN_V2", "00000000000")
#: Seconds a request takes in the street.
LATENCY = 0.02


def v3_session(running: RunningSandbox, **settings: Any) -> SmileSession:
    """A session, not yet entered, that speaks V3 with *running* at test speed."""
    return session_of(running, **{"base_url": running.base_url_v3, "api": "v3", "consent": CONSENT, **settings})


def jobs_of(pictures: Pictures, user_id: str = "ada", **more: Any) -> Iterator[Job]:
    """A job of each product; the first enrolls *user_id*, whom others authenticate."""
    faces: dict[str, Any] = {"liveness": pictures.liveness[:6], "person": ME, **more}
    card = Document("NG", pictures.other, pictures.selfie, "PASSPORT")
    yield Job.register(user_id, pictures.selfie, **faces)
    yield Job.authenticate(user_id, pictures.selfie, **faces)
    yield Job.authenticate(user_id, use_enrolled_image=True, person=ME, **more)
    yield Job.compare(user_id, pictures.selfie, pictures.other, "ID_PHOTO", person=ME, **more)
    yield Job.biometric_kyc(user_id, pictures.selfie, NIN, **faces)
    yield Job.document_verification(user_id, pictures.selfie, card, **faces)
    yield Job.enhanced_document_verification(user_id, pictures.selfie, card, **faces)
    yield Job.enhanced_kyc(user_id, NIN, person=ME, **more)
    yield Job.aml_check(user_id, "Amina Clearwater", ["NG"], birth_year=1990, person=ME, **more)


def made_of(sandbox: Sandbox, job_id: str) -> list[JobRecord]:
    """The provider's jobs that came of ours."""
    return [job for job in sandbox.jobs.values() if job.partner_params.get("smile_async_job") == job_id]


def jwt(**claims: Any) -> str:
    """A token that says *claims*, signed by nobody."""
    said = [{"alg": "HS256", "typ": "JWT"}, claims]
    return ".".join(base64.urlsafe_b64encode(orjson.dumps(each)).rstrip(b"=").decode() for each in said) + ".signature"


class Front(httpx.AsyncBaseTransport):
    """A gateway in front of the sandbox: `weather`, asked with the path, answers in its stead or lets pass (None)."""

    def __init__(self, sandbox: Sandbox, clock: VirtualClock) -> None:
        self._inner = httpx.ASGITransport(sandbox.app)
        self._clock = clock
        self.weather: Callable[[str], httpx.Response | Exception | None] = lambda _path: None
        #: When each request came, and to what path below /v3.
        self.asked: list[tuple[float, str]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/v3")
        self.asked.append((self._clock.monotonic(), path))
        await self._clock.sleep(LATENCY)
        answer = self.weather(path)
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        with self._clock.hold():
            return await self._inner.handle_async_request(request)

    def times(self, path: str) -> list[float]:
        """When requests to *path* came."""
        return [at for at, asked in self.asked if asked == path]


class Street:
    """A sandbox behind a front, in virtual time."""

    def __init__(self, **settings: Any) -> None:
        self.clock = VirtualClock(horizon=3 * 86_400.0)
        self.sandbox = Sandbox(clock=self.clock, decode=False, **settings)
        self.front = Front(self.sandbox, self.clock)
        self._numbers = itertools.count()

    def session(self, **settings: Any) -> SmileSession:
        """A session through the front."""

        async def at_once(work: Callable[..., Any], *args: Any) -> Any:
            return work(*args)

        told: dict[str, Any] = {"partner_id": self.sandbox.partner_id, "api_key": self.sandbox.api_key}
        told |= {"api": "v3", "base_url": "https://sandbox.test/v3", "consent": CONSENT, "http": self.front}
        told |= {"clock": self.clock, "pace": Pace.fixed(0.5, 1, 0.5), "in_thread": at_once}
        return SmileSession(**{**told, **settings})

    def jobs(self, number: int) -> Iterator[Job]:
        """So many lookups of as many people, which go without pictures."""
        for n in itertools.islice(self._numbers, number):
            yield Job.enhanced_kyc(f"u{n}", NIN, person=ME, job_id=f"j{n}")

    def down(self, begin: float, end: float, *paths: str, answer: Any = None) -> None:
        """Let *paths*, or all, be answered like that (by 502) from *begin* to *end*, seconds of the clock."""
        answer = answer or httpx.Response(502)

        def weather(path: str) -> Any:
            return answer if begin <= self.clock.monotonic() < end and (not paths or path in paths) else None

        self.front.weather = weather


__all__ = ["CONSENT", "LATENCY", "ME", "NIN", "QUICK", "Front", "Street", "jobs_of", "jwt", "made_of", "v3_session"]
