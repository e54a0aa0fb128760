"""A process that is nothing but a sandbox, until it is told to stop."""

import asyncio
import signal
import sys
from collections.abc import Callable
from typing import Any

from .sandbox import Sandbox
from .server import RunningSandbox

__all__ = ["serve_forever"]


async def serve_forever(
    announce: Callable[[RunningSandbox], None],
    *,
    host: str = "127.0.0.1",
    port: int = 8443,
    storage_port: int = 8444,
    **settings: Any,
) -> None:
    """Serve a sandbox made of *settings* until SIGINT or SIGTERM, then return.

    *announce* is called once, when it accepts connections. Where the console needs an access token, its address with
    the token is printed on standard error. Raises OSError if a port is taken.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for each in signals:
        loop.add_signal_handler(each, stop.set)
    try:
        async with Sandbox(**settings).serve(host=host, port=port, storage_port=storage_port) as running:
            announce(running)
            if running.sandbox.console.guarded and running.console_url:
                print(f"console: {running.console_url}", file=sys.stderr, flush=True)
            await stop.wait()
    finally:
        for each in signals:
            loop.remove_signal_handler(each)
