"""Call the API: each request signed as it leaves, by the server's clock, and once more where our clock was wrong."""

from collections.abc import Callable

from smile_async.errors import SmileError
from smile_async.protocol.signature import Secret, SignedStamp, Signer, Stamps, format_timestamp
from smile_async.protocol.steps import Fault, Sent
from smile_async.protocol.v1.refusals import ONE_ID_NUMBER, is_answer, refusal
from smile_async.protocol.v1.replies import Complaint, read_complaint
from smile_async.settings import Settings
from smile_async.timing.clock import Clock
from smile_async.timing.server_clock import SKEW_SECONDS, ServerClock
from smile_async.traffic.origin import Errand, Origin
from smile_async.transport.engine import Body, Reply

__all__ = ["Caller"]

_JSON = [("Content-Type", "application/json"), ("Accept", "application/json")]


class Caller:
    """What every leg to the API shares: whose account it is, the server's clock, the signatures given out."""

    def __init__(self, settings: Settings, api: Origin, clock: Clock) -> None:
        self.settings = settings
        self.origin = api
        self.server_clock = ServerClock(clock)
        self._clock = clock
        self._stamps: Stamps | None = None

    @property
    def signer(self) -> Signer:
        """Who signs and checks for this partner."""
        return self.settings.signer

    def remember_stamps(self) -> None:
        """Keep the timestamps signed from now on, for as long as they are fresh, so that `has_signed` knows them."""
        self._stamps = self._stamps or Stamps(self._clock.monotonic)

    def has_signed(self, timestamp: str) -> bool:
        """Whether a request of this session carried exactly this *timestamp* lately."""
        return self._stamps is not None and timestamp in self._stamps

    def stamp(self) -> SignedStamp:
        """The present moment, signed. Raises Fault."""
        try:
            text = format_timestamp(self.server_clock.now())
        except SmileError as error:
            raise Fault(error, Sent.UNSENT) from None
        if self._stamps is not None:
            self._stamps.add(text)
        return SignedStamp(text, self.signer.sign(text))

    async def send(self, url: str, body: Callable[[], bytes | Body] | None, errand: Errand) -> Reply:
        """Send once; once more if it was refused and the Date shows that we signed with a wrong clock (guarantee G9).

        *body* makes what is posted, each time anew; without one it is a GET. Not after what may have been accepted all
        the same: whether to go on is the story's business. Raises Fault.
        """
        before = self.server_clock.skew
        reply = await self._once(url, body, errand)
        moved = abs(self.server_clock.skew - before) >= SKEW_SECONDS
        if not (moved and 400 <= reply.status < 500 and is_answer(reply.status, read_complaint(reply.body).code)):
            return reply
        try:
            return await self._once(url, body, errand)
        except Fault as fault:
            # The first request did leave, though it was refused.
            fault.sent = Sent.ANSWERED if fault.sent is Sent.UNSENT else fault.sent
            raise

    async def _once(self, url: str, body: Callable[[], bytes | Body] | None, errand: Errand) -> Reply:
        reply = await self.origin.send("POST" if body else "GET", Secret(url), _JSON, body or bytes, errand)
        self.server_clock.hear(reply.headers.get("date", ""))
        if reply.status == 503 or (reply.status == 429 and read_complaint(reply.body).code != ONE_ID_NUMBER):
            self.origin.limiter.close_for(self.wish(reply))
        return reply

    def wish(self, reply: Reply) -> float | None:
        """Seconds for which the server asks to be left alone, None if it does not."""
        return self.server_clock.wish(reply.headers)

    def refused(self, reply: Reply, about: str, complaint: Complaint | None = None) -> Fault:
        """What the refusal of *about* means, by the *complaint* in it."""
        return refusal(reply.status, complaint or read_complaint(reply.body), about, self.wish(reply))
