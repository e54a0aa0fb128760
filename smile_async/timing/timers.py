"""What is due when: a heap whose entries can be crossed out.

A hundred thousand pending jobs put off and cancel their polls all the time. Taking an entry out of the middle of a heap
is dear, so it is crossed out in place, and the heap is rebuilt before the crossed-out outnumber the others by far.
"""

from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

__all__ = ["Entry", "Timed", "TimerHeap"]

Item = TypeVar("Item")


class Timed:
    """What may be crossed out: of two that are due at the same moment neither comes first.

    A number that told them apart would take 36 bytes of each entry.
    """

    __slots__ = ()

    def __lt__(self, other: object) -> bool:
        return False

    __gt__ = __lt__


class Entry(list[object], Generic[Item]):
    """[when, item]; a list, because lists compare in C and an item can be crossed out in place."""

    __slots__ = ()

    @property
    def when(self) -> float:
        """When it is due."""
        return self[0]  # type: ignore[return-value]


class TimerHeap(Generic[Item]):
    """What is due when; crossing an entry out is cheap, and of more than 128 entries at most half are crossed out.

    Items are compared where they are due at the same moment; those that may be crossed out are Timed.
    """

    __slots__ = ("_crossed", "_entries")

    def __init__(self) -> None:
        self._entries: list[Entry[Item]] = []
        self._crossed = 0

    def __len__(self) -> int:
        return len(self._entries) - self._crossed

    def add(self, when: float, item: Item) -> "Entry[Item]":
        """Note *item* for *when*."""
        entry: Entry[Item] = Entry((when, item))
        heappush(self._entries, entry)
        return entry

    def cross_out(self, entry: "Entry[Item] | None") -> None:
        """Forget *entry*."""
        if entry is None or entry[1] is None:
            return
        entry[1] = None
        self._crossed += 1
        if self._crossed > 64 and self._crossed * 2 > len(self._entries):
            self._entries = [kept for kept in self._entries if kept[1] is not None]
            heapify(self._entries)
            self._crossed = 0

    def next_at(self) -> float:
        """When the first entry is due, infinity if there is none."""
        while self._entries and self._entries[0][1] is None:
            heappop(self._entries)
            self._crossed -= 1
        return self._entries[0].when if self._entries else float("inf")

    def pop_due(self, now: float) -> Item | None:
        """Take the first item that is due by *now*, None if none is."""
        if not self._entries or self.next_at() > now:
            return None
        entry = heappop(self._entries)
        item, entry[1] = entry[1], None
        return item  # type: ignore[return-value]
