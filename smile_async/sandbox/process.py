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
    the token is printed on standard error. Raises OSError if a port is taken, and ValueError for settings that
    contradict each other or a callback URL that would never be called.
    """
    sandbox = Sandbox(**settings)
    if (url := sandbox.settings.callback_url) and not sandbox.settings.calls(url):
        raise ValueError("callback_url must be https, or http on this machine; insecure_callbacks allows http anywhere")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for each in signals:
        loop.add_signal_handler(each, stop.set)
    try:
        async with sandbox.serve(host=host, port=port, storage_port=storage_port) as running:
            announce(running)
            if running.guarded and running.console_url:
                print(f"console: {running.console_url}", file=sys.stderr, flush=True)
            await stop.wait()
    finally:
        for each in signals:
            loop.remove_signal_handler(each)
