import random
from collections import Counter

import anyio
import pytest
from hand_clock import HandClock, settle

from smile_async.transport.limiter import FIRST_CLOSURE, LONGEST_CLOSURE, Limiter, RateLimiter

FAR = 1e9


class Crowd:
    """Visitors of one limiter, who note when they came in."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self.inside: list[object] = []
        self.turned_away: list[object] = []

    async def visit(self, name: object, deadline: float = FAR) -> None:
        (self.inside if await self.limiter.enter(deadline) else self.turned_away).append(name)


async def test_no_more_than_the_limit_at_once_and_in_order() -> None:
    """Requests beyond the limit wait, and enter first come, first served."""
    limiter = Limiter(2, HandClock())
    crowd = Crowd(limiter)
    async with anyio.create_task_group() as tasks:
        for number in range(6):
            tasks.start_soon(crowd.visit, number)
        await settle()
        assert crowd.inside == [0, 1]
        assert (limiter.busy, len(limiter._waiting)) == (2, 4)
        for done in range(4):
            limiter.leave()
            await settle()
            assert crowd.inside == list(range(done + 3))
    assert len(limiter._waiting) == 0


async def test_a_newcomer_does_not_overtake_who_waits() -> None:
    """While somebody waits, a newcomer queues even if a place is free at that moment."""
    limiter = Limiter(1, HandClock())
    crowd = Crowd(limiter)
    async with anyio.create_task_group() as tasks:
        for name in ("first", "second"):
            tasks.start_soon(crowd.visit, name)
        await settle()
        limiter.leave()
        # "second" has been told but has not run yet.
        tasks.start_soon(crowd.visit, "third")
        await settle()
        assert crowd.inside == ["first", "second"]
        limiter.leave()
    assert crowd.inside == ["first", "second", "third"]


async def test_the_deadline_turns_away() -> None:
    """A request whose turn does not come by its deadline is told so, and leaves no trace in the queue."""
    clock = HandClock()
    limiter = Limiter(1, clock)
    crowd = Crowd(limiter)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(crowd.visit, "in")
        await settle()
        tasks.start_soon(crowd.visit, "late", clock.now + 5)
        tasks.start_soon(crowd.visit, "patient")
        await clock.advance(6)
        assert crowd.turned_away == ["late"]
        limiter.leave()
    assert crowd.inside == ["in", "patient"]


async def test_a_deadline_in_the_past_turns_away_at_once() -> None:
    """Who comes too late does not even wait."""
    limiter = Limiter(1, HandClock())
    assert await limiter.enter(FAR)
    assert not await limiter.enter(0.0)
    assert len(limiter._waiting) == 0


@pytest.mark.parametrize("victim", [1, 2, 3])
async def test_a_cancelled_waiter_does_not_block_the_others(victim: int) -> None:
    """Whoever in the queue is cancelled, even if its turn has just come, the others get through, in order."""
    limiter = Limiter(1, HandClock())
    scopes = [anyio.CancelScope() for _ in range(4)]
    through = []

    async def visit(number: int) -> None:
        with scopes[number]:
            assert await limiter.enter(FAR)
            try:
                await settle()
                through.append(number)
            finally:
                limiter.leave()

    assert await limiter.enter(FAR)
    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(visit, number)
        await anyio.sleep(0.001)
        limiter.leave()
        scopes[0].cancel()  # its turn has come, but it has not run yet
        scopes[victim].cancel()
    assert through == [number for number in range(1, 4) if number != victim]
    assert (limiter.busy, len(limiter._waiting)) == (0, 0)


async def test_throttling_halves_and_success_reopens() -> None:
    """Each throttle halves what is let through, never below one; successes open it again, up to the limit."""
    clock = HandClock()
    limiter = Limiter(8, clock)
    widths = []
    for _ in range(5):
        limiter.close_for(1)
        await clock.advance(LONGEST_CLOSURE + 1)
        widths.append(await _width(limiter, clock))
    assert widths == [4, 2, 1, 1, 1]
    for _ in range(200):
        assert await limiter.enter(FAR)
        limiter.leave(well=True)
    assert await _width(limiter, clock) == 8


async def _width(limiter: Limiter, clock: HandClock) -> int:
    """How many the limiter lets through at once; they all leave without teaching it anything."""
    inside = 0
    while await limiter.enter(clock.now):
        inside += 1
    for _ in range(inside):
        limiter.leave(well=False)
    return inside


async def test_a_failed_request_opens_nothing() -> None:
    """Only answers that show a healthy server widen the limiter."""
    clock = HandClock()
    limiter = Limiter(8, clock)
    limiter.close_for(1)
    await clock.advance(2)
    for _ in range(100):
        assert await limiter.enter(FAR)
        limiter.leave(well=False)
    assert await _width(limiter, clock) == 4


async def test_retry_after_is_honoured() -> None:
    """For as long as the server asked, nobody gets through; then those who waited do, by themselves."""
    clock = HandClock()
    limiter = Limiter(4, clock)
    crowd = Crowd(limiter)
    limiter.close_for(30)
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(crowd.visit, number)
        await clock.advance(29)
        assert crowd.inside == []
        await clock.advance(2)
        assert crowd.inside == [0, 1]  # half of four
        limiter.leave()
    assert crowd.inside == [0, 1, 2]


@pytest.mark.parametrize("again", [False, True])
async def test_nobody_is_stopped_for_a_day(again: bool) -> None:
    """Whatever a server asks for, and however often, after five minutes it is asked again."""
    clock = HandClock()
    limiter = Limiter(4, clock)
    crowd = Crowd(limiter)
    limiter.close_for(1 if again else 86_400)
    if again:
        limiter.close_for(86_400)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(crowd.visit, "patient")
        await clock.advance(299)
        assert crowd.inside == []
        await clock.advance(1)
        assert crowd.inside == ["patient"]


async def test_without_retry_after_closures_double() -> None:
    """A server that does not say how long gets one second, then two, then four, at most twenty."""
    clock = HandClock()
    limiter = Limiter(4, clock)
    lengths = []
    for _ in range(7):
        limiter.close_for(None)
        closed_at = clock.now
        async with anyio.create_task_group() as tasks:
            crowd = Crowd(limiter)
            tasks.start_soon(crowd.visit, "probe")
            while not crowd.inside:
                await clock.advance(0.5)
        lengths.append(clock.now - closed_at)
        limiter.leave(well=False)
    assert lengths == [FIRST_CLOSURE, 2, 4, 8, 16, LONGEST_CLOSURE, LONGEST_CLOSURE]


async def test_one_storm_counts_once() -> None:
    """Throttles for requests that left before the closure are the same news: they neither halve nor prolong again."""
    clock = HandClock()
    limiter = Limiter(16, clock)
    for _ in range(10):
        limiter.close_for(None)
    await clock.advance(FIRST_CLOSURE + 0.1)
    assert await _width(limiter, clock) == 8


async def test_one_storm_counts_once_with_retry_after_too() -> None:
    """Ten answers of one storm, each with its own Retry-After, halve the window once; the longest wish counts."""
    clock = HandClock()
    limiter = Limiter(8, clock)
    begun = clock.monotonic()
    for seconds in (2.0, 1.0, 3.0, 2.0):
        limiter.close_for(seconds)
    crowd = Crowd(limiter)
    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(crowd.visit, number)
        await clock.advance(2.9)
        assert not crowd.inside
        await clock.advance(0.2)
        assert len(crowd.inside) == 4
        assert clock.monotonic() - begun == pytest.approx(3.1)
        tasks.cancel_scope.cancel()


async def test_a_gate_that_is_shut_turns_everybody_away() -> None:
    """When the session ends, who waits and who comes later are turned away at once, closure or not."""
    limiter = Limiter(1, HandClock())
    limiter.close_for(1000.0)
    crowd = Crowd(limiter)
    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(crowd.visit, number)
        await settle()
        limiter.shut_for_good()
        await settle()
        assert crowd.turned_away == [0, 1, 2]
        await crowd.visit(3)
    assert crowd.turned_away == [0, 1, 2, 3]
    assert len(limiter._waiting) == 0


@pytest.mark.parametrize("limit", [1, 2, 4])
async def test_successes_shorten_the_next_closure(limit: int) -> None:
    """After good answers a new throttle is not punished for old ones, however few are let through at once."""
    clock = HandClock()
    limiter = Limiter(limit, clock)
    for _ in range(4):
        limiter.close_for(None)
        await clock.advance(LONGEST_CLOSURE)
    for _ in range(40):
        assert await limiter.enter(FAR)
        limiter.leave()
    limiter.close_for(None)
    assert not await limiter.enter(clock.now)
    await clock.advance(2 * FIRST_CLOSURE)
    assert await limiter.enter(clock.now)


async def test_who_already_waited_gets_in_after_a_closure() -> None:
    """A request that queued before the throttle arrived is woken when the closure ends, though nobody else leaves."""
    clock = HandClock()
    limiter = Limiter(1, clock)
    crowd = Crowd(limiter)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(crowd.visit, "throttled")
        await settle()
        tasks.start_soon(crowd.visit, "waiting", clock.now + 100)
        await settle()
        limiter.close_for(3)
        limiter.leave(well=False)
        await clock.advance(4)
        assert crowd.inside == ["throttled", "waiting"]


async def test_the_next_in_line_inherits_the_end_of_the_closure() -> None:
    """If the first in line gives up during a closure, the second is woken when the closure ends."""
    clock = HandClock()
    limiter = Limiter(4, clock)
    crowd = Crowd(limiter)
    limiter.close_for(10)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(crowd.visit, "hasty", clock.now + 5)
        tasks.start_soon(crowd.visit, "patient", clock.now + 100)
        await clock.advance(11)
        assert (crowd.turned_away, crowd.inside) == (["hasty"], ["patient"])


@pytest.mark.parametrize("seed", range(25))
async def test_any_interleaving_keeps_the_books(seed: int) -> None:
    """Random arrivals, cancels, throttles, departures and pauses: the limit holds, and in the end all got an answer."""
    chance, clock = random.Random(seed), HandClock()
    limit = chance.randint(1, 5)
    limiter = Limiter(limit, clock)
    tally: Counter[str] = Counter()
    most = 0

    async def visitor(scope: anyio.CancelScope) -> None:
        nonlocal most
        with scope:
            if not await limiter.enter(clock.now + chance.choice([0.0, 3.0, 500.0])):
                tally["turned away"] += 1
                return
            most = max(most, limiter.busy)
            try:
                await clock.sleep(chance.random() * 3)
                if chance.random() < 0.1:
                    limiter.close_for(chance.choice([None, 0.5, 4.0]))
            finally:
                limiter.leave(well=chance.random() < 0.8)
            tally["served"] += 1
        tally["cancelled"] += scope.cancelled_caught

    async with anyio.create_task_group() as tasks:
        scopes = []
        for _ in range(60):
            scopes.append(anyio.CancelScope())
            tasks.start_soon(visitor, scopes[-1])
            if chance.random() < 0.3:
                chance.choice(scopes).cancel()
            if chance.random() < 0.5:
                await clock.advance(chance.random())
        await clock.advance(2000)
        assert tally.total() == 60, tally
    assert most <= limit
    assert (limiter.busy, len(limiter._waiting)) == (0, 0)


async def test_the_pacer_spaces_jobs_evenly() -> None:
    """Jobs start one gap apart, and an idle hour does not allow a burst afterwards."""
    clock = HandClock()
    rate = RateLimiter(2, clock)
    starts: list[float] = []

    async def job() -> None:
        await rate.turn()
        starts.append(clock.now)

    for _ in range(2):
        starts.clear()
        begun = clock.now
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(job)
            await clock.advance(5)
        assert [start - begun for start in starts] == [0.0, 0.5, 1.0, 1.5]
        await clock.advance(3600)


async def test_without_a_rate_nobody_waits() -> None:
    """No rate, no waiting: turn() returns at once."""
    rate = RateLimiter(None, HandClock())
    for _ in range(100):
        await rate.turn()


async def test_cancelled_jobs_do_not_use_up_the_rate() -> None:
    """Jobs that are cancelled while they wait leave their turn to the next."""
    clock = HandClock()
    rate = RateLimiter(1, clock)
    await rate.turn()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(rate.turn)
            await settle()
            scope.cancel()
    started = anyio.Event()

    async def job() -> None:
        await rate.turn()
        started.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(job)
        await clock.advance(2)
        assert started.is_set()
        tasks.cancel_scope.cancel()
