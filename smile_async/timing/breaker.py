"""Whether anybody is home at a server: when many failures are one outage, and who may try again, and when.

An outage is one event, so it is noticed once, by all requests together, and asked about by one at a time. What fails
says how far it reaches: while one kind of request fails, or one user's alone, the others go their way.
"""

from collections import Counter, deque
from typing import NamedTuple

__all__ = ["FIRST_PAUSE", "JOBS", "LONGEST_PAUSE", "Asker", "Breaker"]

#: It opens at so many failures, on so many jobs, if they are this share of the answers of as many seconds.
FAILURES, JOBS, SHARE, WINDOW = 8, 5, 0.8, 1.0
#: Seconds between two probes, at first and at most; each that fails doubles them.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0


class Asker(NamedTuple):
    """What a request is, and for whose job."""

    leg: str
    user_id: str
    job_id: str


class Breaker:
    """Closed while somebody is home; else it holds requests back, but for one probe at a time.

    All moments are seconds of one monotonic clock. A probe that gets no answer in LONGEST_PAUSE holds up no other; who
    needs longer to come, because his pictures are read first, finds his turn kept.
    """

    __slots__ = (
        *("_answers", "_closed_at", "_failed_leg", "_legs", "_pause", "_probers", "_tally", "_tried", "_unreached_at"),
        *("_users", "_well", "opened_at", "probe_at", "reached"),
    )

    def __init__(self) -> None:
        #: The last second's answers, from the first failure on: when each came and its request left, for whom, and
        #: whether it is a failure. And how many answers, and how many failures, each leg has.
        self._answers: deque[tuple[float, float, Asker, bool]] = deque()
        self._tally: Counter[tuple[str, bool]] = Counter()
        #: Of each leg the two users who were answered last, when the request left and when the answer came.
        self._well: dict[str, list[tuple[str, float, float]]] = {}
        self._pause = 0.0
        self._closed_at = float("-inf")
        #: When a connection could not be made, the latest time, and whether somebody was answered afterwards.
        self._unreached_at = float("-inf")
        self.reached = False
        #: When it opened, None while it is closed.
        self.opened_at: float | None = None
        #: When the next probe may go.
        self.probe_at = 0.0
        #: Whom it lets go.
        self._probers: set[Asker] = set()
        #: The legs and users that fail, the leg that failed last then or as a probe, and whose probes failed how often.
        self._legs: set[str] = set()
        self._users: set[str] = set()
        self._failed_leg = ""
        self._tried: Counter[str] = Counter()

    def holds(self, asker: Asker) -> bool:
        """Whether this request must wait until a probe is answered, or be one."""
        return self._fails(*asker[:2]) and asker not in self._probers

    def holds_all(self, leg: str) -> bool:
        """Whether such requests of everybody must wait, and not only one user's."""
        return leg in self._legs and len(self._users) > 1

    def _fails(self, leg: str, user_id: str) -> bool:
        return self.holds_all(leg) or (leg in self._legs and user_id in self._users)

    def doubt(self, asker: Asker) -> tuple[bool, bool, int]:
        """Of those who wait the one with the least doubt should probe: of another kind, then of another user."""
        return asker.leg == self._failed_leg, asker.user_id in self._users, self._tried[asker.user_id]

    def let(self, asker: Asker, now: float) -> None:
        """This request goes, or will in a while: as a probe, if it was held."""
        if self.holds(asker):
            self._probers.add(asker)
            self.probe_at = now + LONGEST_PAUSE

    def answered(self, asker: Asker, left_at: float, now: float) -> bool:
        """Somebody answered a request that *left_at*; whether that was the end of an outage."""
        others = [one for one in self._well.get(asker.leg, ()) if one[0] != asker.user_id]
        self._well[asker.leg] = [(asker.user_id, left_at, now), *others[:1]]
        self.reached = self.reached or left_at >= self._unreached_at
        if self.opened_at is None or not self._fails(*asker[:2]):
            # What left before the first that failed tells of a time when somebody was home.
            if self._answers and left_at >= self._answers[0][1]:
                self._note(asker, left_at, now, failed=False)
            return False
        # What left before says nothing of now.
        if left_at < self.opened_at:
            return False
        self.opened_at, self._closed_at = None, now
        for known in (self._legs, self._users, self._probers, self._tried, self._answers, self._tally):
            known.clear()
        return True

    def missed(self, asker: Asker, left_at: float, now: float, *, away: bool = True) -> bool:
        """A request that *left_at* failed; whether an outage begins. Not *away*: nobody knows whose fault it was."""
        if self.opened_at is None or self._is_apart(asker, self.opened_at):
            if away:
                self._note(asker, left_at, now, failed=True)
            return away and self._opens(now)
        if asker in self._probers:
            self._pause = min(LONGEST_PAUSE, 2 * self._pause)
            self.gave_up(asker, now)
            self._failed_leg = asker.leg
            self._tried[asker.user_id] += 1
        if away:
            self._legs.add(asker.leg)
            self._users.add(asker.user_id)
        return False

    def unreached(self, now: float) -> None:
        """No connection could be made: if nobody can make one, that says nothing of any job."""
        self._unreached_at, self.reached = now, False

    def gave_up(self, asker: Asker, now: float) -> None:
        """This request was abandoned: was it the probe, another may go."""
        if asker in self._probers:
            self._probers.discard(asker)
            self.probe_at = now + self._pause

    def _is_apart(self, asker: Asker, since: float) -> bool:
        """Whether it is not held, and others on its leg who are not are answered all the while."""
        well = (user for user, left_at, _ in self._well.get(asker.leg, ()) if left_at > since)
        return not self._fails(*asker[:2]) and not all(self._fails(asker.leg, user) for user in well)

    def _note(self, asker: Asker, left_at: float, now: float, *, failed: bool) -> None:
        self._answers.append((now, left_at, asker, failed))
        self._tally[asker.leg, failed] += 1
        while self._answers and (self._answers[0][0] <= now - WINDOW or not self._answers[0][3]):
            _, _, old, was_failed = self._answers.popleft()
            self._tally[old.leg, was_failed] -= 1

    def _opens(self, now: float) -> bool:
        # A leg that answers most requests is no part of it.
        failing = {leg: failures for (leg, failed), failures in self._tally.items() if failed and failures}
        legs = {leg for leg, failures in failing.items() if failures >= SHARE * (failures + self._tally[leg, False])}
        failed = [asker for _, _, asker, failed in self._answers if failed and asker.leg in legs]
        users = {asker.user_id for asker in failed}
        if len(failed) < FAILURES or len({asker[1:] for asker in failed}) < JOBS:
            return False
        well = (one for leg in legs for one in self._well.get(leg, ()))
        if len(users) == 1 and any(user not in users and when > now - WINDOW for user, _, when in well):
            return False
        self._legs |= legs
        self._users |= users
        self._answers.clear()
        self._tally.clear()
        if self.opened_at is not None:
            return False
        # A server that is home for a moment only is not asked as often as before.
        again = now - self._closed_at <= WINDOW
        self._pause = min(LONGEST_PAUSE, 2 * self._pause) if again else FIRST_PAUSE
        self.opened_at, self.probe_at, self._failed_leg = now, now + self._pause, failed[-1].leg
        return True
