"""Listens for what nobody may see: in logs, reprs, errors, locals of frames, and what serialisers make of values."""

import dataclasses
import logging
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from fastapi.encoders import jsonable_encoder
from pydantic import PydanticUserError, TypeAdapter

#: What a test itself holds in its frames is no leak.
PROMISES = Path(__file__).parent / "promises"


class Canary:
    """Collects what may be seen, and looks for secrets in it."""

    def __init__(self, caplog: pytest.LogCaptureFixture, *more: str) -> None:
        self.caplog = caplog
        self.secrets = [*more]
        self.seen: list[str] = []

    def look(self, *things: object) -> None:
        """Their repr and str may be seen."""
        for thing in things:
            self.seen += [repr(thing), str(thing)]

    def look_at_error(self, error: BaseException) -> None:
        """An exception, all it was raised from or beside, and the locals of all their frames may be seen."""
        seen: set[int] = set()
        queue: list[BaseException | None] = [error]
        while queue:
            one = queue.pop()
            if one is None or id(one) in seen:
                continue
            seen.add(id(one))
            queue += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
            self.look(one, *one.args)
            for name, value in vars(one).items():
                self.look(name, value)
            self.seen += self._frames(one)

    def _frames(self, error: BaseException) -> Iterator[str]:
        told = traceback.TracebackException(type(error), error, error.__traceback__, capture_locals=True)
        for frame in told.stack:
            if Path(frame.filename).parent != PROMISES:
                yield f"{frame.filename}:{frame.lineno} {frame.name} {frame.locals}"
        yield from told.format_exception_only()

    def assert_nothing(self) -> None:
        """No secret in what was seen, nor in any log record."""
        formatter = logging.Formatter()
        for record in self.caplog.records:
            self.seen += [formatter.format(record), repr(record.args), repr(vars(record))]
        shown = "\n".join(dict.fromkeys(self.seen))
        for secret in self.secrets:
            for sought in (secret, secret.encode().hex()):
                at = shown.find(sought)
                assert at < 0, f"{secret!r} shows in {shown[max(at - 1500, 0) : at + 1500]}"


@cache
def adapter_of(kind: type[Any]) -> TypeAdapter[Any]:
    """Pydantic's serialiser of a type: to make one takes longer than all else that is done with it."""
    return TypeAdapter(kind)


def serialised(value: Any) -> Iterator[str]:
    """What the usual serialisers make of *value*; one that refuses it shows nothing."""
    encoders: list[Any] = [
        dataclasses.asdict,
        dataclasses.astuple,
        lambda one: adapter_of(type(one)).dump_python(one),
        lambda one: adapter_of(type(one)).dump_json(one),
        lambda one: orjson.dumps(one, default=repr),
        jsonable_encoder,
    ]
    for encode in encoders:
        try:
            yield repr(encode(value))
        except (TypeError, ValueError, PydanticUserError) as refusal:
            yield repr(refusal)
