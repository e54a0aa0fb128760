"""A canary for the tests of what nobody may see."""

import base64
import logging
from collections.abc import Iterator

import pytest
from canary_support import Canary
from scripted import KEY
from street import MARKER, Pictures


@pytest.fixture
def canary(caplog: pytest.LogCaptureFixture, pictures: Pictures) -> Iterator[Canary]:
    """A canary that listens to every logger at DEBUG."""
    caplog.set_level(logging.DEBUG)
    names = ["", "smile_async", "httpx", "httpcore", "httpx2", "httpcore2", "h2", "h11", "hpack", "asyncio", "anyio"]
    names += [name for name in logging.root.manager.loggerDict if name.startswith(("http", "h2", "hpack", "pyre"))]
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    picture = base64.b64encode(pictures.selfie).decode()[60:90]
    yield Canary(caplog, KEY, "presigned-canary-81f2", MARKER.decode(), picture)
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)
