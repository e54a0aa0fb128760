"""Jobs of V3 with a picture, of the sandbox's test identity that comes to `clear`: one request each, then status."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

from smile_async.doctor.answers import Answer
from smile_async.doctor.examination import Examination
from smile_async.doctor.findings import Finding
from smile_async.doctor.reading import of_version
from smile_async.doctor.reading_v3 import (
    of_enrolled_again,
    of_forced,
    of_frames,
    of_fresh,
    of_no_lookup,
    of_reuse,
    of_submitted,
    of_word,
)
from smile_async.doctor.wire import Wire
from smile_async.errors import Refused, StillPending, Unavailable
from smile_async.jobs.id_info import IdInfo
from smile_async.jobs.job import Job
from smile_async.jobs.person import Consent, Person
from smile_async.protocol.signature import Secret
from smile_async.protocol.v3.judging import DECISIONS
from smile_async.protocol.v3.needs import Rules
from smile_async.protocol.v3.requests import partner_id_as_sent, submission_call
from smile_async.session import SmileSession
from smile_async.traffic.payload import read_in_thread

__all__ = ["V3Jobs"]

#: The documented test identity that comes to `clear`.
_AMINA = ("Amina Fatou", "Clearwater", "amina.clearwater@example.com")
#: Of the notice that nobody was shown: the person does not exist.
_NOTICE = "https://example.com/privacy"
#: A result code of v1 that says "rejected", against an identity that says `clear`.
_REJECTED = "821"
_FRAMES = 6
#: Seconds between two questions for a verdict.
_GAP = 1.0
#: A test number of a product without pictures: in the sandbox its form alone counts.
_NUMBER = ("NG", "NIN_V2", "00000000000")


@dataclass(frozen=True, slots=True)
class V3Jobs:
    """Makes jobs of *user_id* with *picture*, by *session* or with *token*, and waits *patience* seconds for each."""

    wire: Wire
    session: SmileSession
    token: Secret
    user_id: str
    picture: str
    patience: float

    async def all(self, exam: Examination, *, thorough: bool) -> None:
        """Register, authenticate, register again, look up; *thorough*: with one frame too."""
        exam.report.redaction.hide(_NUMBER[2])
        longest = self.patience + 60.0
        if not await exam.probe("registration", self._registered, within=longest):
            return
        await exam.probe("authentication", self._authenticated, within=longest)
        await exam.probe("V3 sandbox_result", self._forced, within=longest)
        await exam.probe("V3 enrolment", self._again, within=longest)
        for make, part in ((Job.enhanced_kyc, IdInfo(*_NUMBER)), (Job.aml_check, " ".join(_AMINA[:2]))):
            await exam.probe(f"lookup: {make.__name__}", partial(self._looked_up, make, part), within=longest)
        exam.tell(of_version("API, by a session", self.session.stats.api_http_version, wanted="HTTP/2"))
        if thorough:
            await exam.probe("V3 frames", self._one_frame, within=longest)

    async def _registered(self) -> list[Finding]:
        answer = await self._sent(Job.register)
        submitted = of_submitted(answer)
        if submitted.cure:
            return [submitted]
        began = monotonic()
        fresh = of_fresh(await self._status(answer))
        return [submitted, fresh, of_word("registration", await self._word(answer), monotonic() - began)]

    async def _authenticated(self) -> list[Finding]:
        began = monotonic()
        verdict = await self.session.verify(self._job(Job.authenticate), patience=self.patience)
        return [of_word("authentication", verdict.code, monotonic() - began)]

    async def _looked_up(self, make: Any, part: Any) -> list[Finding]:
        about: dict[str, Any] = {"person": Person(*_AMINA), "consent": Consent(_NOTICE)}
        about |= {"countries": ["NG"]} if make == Job.aml_check else {}
        began = monotonic()
        try:
            verdict = await self.session.verify(make(self.user_id, part, **about), patience=self.patience)
        except Refused as error:
            return [of_no_lookup(make.__name__, error)]
        return [of_word(make.__name__, verdict.code, monotonic() - began)]

    async def _forced(self) -> list[Finding]:
        answer = await self._sent(Job.authenticate, sandbox_result=_REJECTED)
        reuse = of_reuse(answer)
        return [reuse, of_forced(await self._word(answer))] if answer.status == 202 else [reuse]

    async def _again(self) -> list[Finding]:
        answer = await self._sent(Job.register)
        return [of_enrolled_again(answer, await self._word(answer) if answer.status == 202 else "")]

    async def _one_frame(self) -> list[Finding]:
        return [of_frames(await self._sent(Job.authenticate, frames=1))]

    def _job(self, make: Any, frames: int = _FRAMES, **params: str) -> Job:
        about = {"person": Person(*_AMINA), "consent": Consent(_NOTICE), "partner_params": params}
        made: Job = make(self.user_id, self.picture, liveness=[self.picture] * frames, **about)
        return made

    async def _sent(self, make: Any, frames: int = _FRAMES, **params: str) -> Answer:
        """The answer to the one request of a job, with the token that all of these share."""
        settings, job = self.wire.settings, self._job(make, frames, **params)
        contents: Sequence[bytes] = [picture.content for picture in (await read_in_thread(job)).pictures]
        rules = Rules(callback_url=settings.callback_url, frames=range(frames, frames + 1))
        call = submission_call(job, contents, rules, settings.signer, self.wire.clock.now(), later=True)
        assert call.body is not None  # noqa: S101 - a submission has one
        headers = call.headers(partner_id_as_sent(settings.signer.partner_id), self.token)
        return await self.wire.send(f"/v3{call.path}", *headers, body=call.body)

    async def _status(self, submitted: Answer) -> Answer:
        job_id = submitted.found.get("job_id")
        if submitted.status != 202 or not isinstance(job_id, str):
            raise Unavailable(f"the submission was answered: {submitted.said}")
        return await self.wire.get(f"/v3/status/{job_id}", ("SmileID-Token", self.token.reveal()))

    async def _word(self, submitted: Answer) -> str:
        """What the job comes to. Raises StillPending."""
        give_up = monotonic() + self.patience
        while True:
            answer = await self._status(submitted)
            word = str(answer.found.get("status", "")).lower()
            if answer.status == 200 and word in DECISIONS:
                return word
            if monotonic() > give_up:
                raise StillPending(f"still {word} after {self.patience:g} s")
            await asyncio.sleep(_GAP)
