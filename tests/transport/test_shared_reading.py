"""Who reads from a connection for all that share it."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from smile_async.transport.shared_reading import SharedReading

#: What may happen to a stream: its request waits, something comes for it, it is over, or whoever waits is cancelled.
DEEDS = st.lists(st.tuples(st.sampled_from(["wait", "came", "leave", "cancel"]), st.integers(1, 5)), max_size=40)


class Line:
    """Requests on one connection, each in a task of its own, as httpcore has them."""

    def __init__(self) -> None:
        self.reading = SharedReading()
        self.waiting: dict[int, asyncio.Task[None]] = {}

    async def do(self, deed: str, stream: int) -> None:
        """Let it happen."""
        task = self.waiting.get(stream)
        if deed == "wait" and task is None:
            self.reading.begin(stream)
            self.waiting[stream] = asyncio.create_task(self.reading.wait(stream))
        elif deed == "came":
            self.reading.came([0, stream])
        elif deed == "leave" and task is not None and task.done():
            del self.waiting[stream]
            self.reading.leave(stream)
        elif deed == "cancel" and task is not None:
            task.cancel()
            await asyncio.wait([task])
            del self.waiting[stream]
            self.reading.leave(stream)
        # A task that begins waits from the next turn of the loop on, and one that is woken goes on in the one after it.
        for _ in range(3):
            await asyncio.sleep(0)

    @property
    def parked(self) -> list[int]:
        """Those that still wait."""
        return [stream for stream, task in self.waiting.items() if not task.done()]


@given(DEEDS)
def test_somebody_reads_for_those_who_wait(deeds: list[tuple[str, int]]) -> None:
    """Whatever happens in any order: while one waits another reads, and for whom something has come waits no more."""

    async def run() -> None:
        line = Line()
        told: set[int] = set()
        for deed, stream in deeds:
            await line.do(deed, stream)
            told = (told | {stream} if deed == "came" else told) & line.waiting.keys()
            assert not told & set(line.parked)
            assert not line.parked or any(task.done() for task in line.waiting.values())
        line.reading.end()
        await asyncio.sleep(0)
        assert not line.parked
        for task in line.waiting.values():
            await task

    asyncio.run(run())


def test_as_many_may_look_as_stand_in_line() -> None:
    """After something has come each who may stand in line has one look at it, and whoever is alone has none."""

    async def run() -> None:
        reading = SharedReading()
        looks = []
        for stream in (1, 3, 5):
            reading.begin(stream)
            reading.came([0])
            looks.append([reading.look() for _ in range(4)].count(True))
        await reading.wait(1)
        third = asyncio.create_task(reading.wait(3))
        await asyncio.sleep(0)
        reading.came([0])
        looks.append([reading.look() for _ in range(4)].count(True))
        # Whoever begins now may come before those who have been woken.
        reading.came([3])
        reading.begin(7)
        reading.begin(9)
        looks.append([reading.look() for _ in range(6)].count(True))
        await third
        assert looks == [0, 1, 2, 1, 4]

    asyncio.run(run())
