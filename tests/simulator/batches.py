"""A batch at a place: rows instead of callers, planned anew by each process, driven by a worker until all are over."""

from asyncio import sleep
from typing import TYPE_CHECKING

from smile_async import SmileError, SmileSession
from smile_async.batch import Planner, Run
from smile_async.ledger import Ledger, State
from smile_async.ledger.batches import Batches

if TYPE_CHECKING:
    from simulator.errands import Errand
    from simulator.places import Place

__all__ = ["batch_of"]

#: Seconds that jobs under way get when the worker is told to stop.
DRAIN = 5.0


async def batch_of(place: "Place", session: SmileSession, ledger: Ledger, errands: "list[Errand]") -> None:
    """Run the batch of *errands* again and again until each has its last word on record."""
    world = place.world
    while any(not errand.end for errand in errands) and not place.stopping and session.host.open:
        try:
            await _run(place, session, ledger, errands)
            await ledger.flush()
            known = await Batches(ledger).known([errand.job_id for errand in errands])
        except SmileError as error:
            world.tell(f"{place.name}: the run ends with {type(error).__name__}: {error}")
            known = {}
        for errand in errands:
            row = known.get(errand.job_id)
            if row is not None and row["state"] == State.FINAL and not errand.end:
                world.tell(f"{place.name} {errand.job_id[:8]}: {row['code']} on record")
                errand.end = row["code"]
            elif row is not None and row["state"] == State.FAILED:
                errand.wrote_off(row["error"])
        await sleep(world.weather.uniform(0.5, 20.0))


async def _run(place: "Place", session: SmileSession, ledger: Ledger, errands: "list[Errand]") -> None:
    told = {"until": "final", "patience": place.world.weather.choice((30.0, 600.0)), "rate": None, "drain": DRAIN}
    number = await Batches(ledger).start("batch", told)
    planner = Planner(ledger, "batch", number, "all", chunk_jobs=place.world.weather.choice((1, 2, 500)))
    place.run = Run(session, ledger, planner, drain=DRAIN)
    try:
        rows = [errand.row(line) for line, errand in enumerate(errands, 2)]
        await place.run.go(iter(rows))
        if place.run.trouble is not None:
            place.world.tell(f"{place.name}: trouble: {place.run.trouble}")
    finally:
        place.run = None
