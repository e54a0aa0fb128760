"""timers.py: what is due when."""

from smile_async.timing.timers import Timed, TimerHeap

FAR = float("inf")


class Item(Timed):
    """One of a thousand."""

    def __init__(self, number: int) -> None:
        self.number = number


def test_an_agenda_forgets_what_is_crossed_out() -> None:
    """Items come out in order of time, crossed-out ones never, and they do not pile up."""
    timers: TimerHeap[Item] = TimerHeap()
    entries = [timers.add(float(number % 10), Item(number)) for number in range(1000)]
    for number, entry in enumerate(entries):
        if number % 100 >= 5:
            timers.cross_out(entry)
            timers.cross_out(entry)
    timers.cross_out(None)
    assert len(timers) == 50
    assert len(timers._entries) < 200
    assert timers.next_at() == 0.0
    assert timers.pop_due(-1.0) is None
    found = []
    while (item := timers.pop_due(100.0)) is not None:
        found.append(item.number)
    assert [number % 10 for number in found] == sorted(number % 10 for number in found)
    assert sorted(found) == [number for number in range(1000) if number % 100 < 5]
    assert timers.next_at() == FAR
    assert len(timers) == 0
