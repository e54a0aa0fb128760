"""One of several web workers, as a process: takes one callback from standard input, and says what came of it.

`python callback_process.py PARTNER_ID API_KEY BASE_URL CA_FILE`
"""

import asyncio
import json
import sys

from callback_support import post

from smile_async import CallbackReceiver, SmileSession, Verdict


async def main(partner_id: str, api_key: str, base_url: str, ca_file: str) -> None:
    """Take the callback, and print the answer and what the handler heard."""
    heard: list[str] = []

    async def handler(verdict: Verdict) -> None:
        heard.append(f"{verdict.code} {verdict.confirmed}")

    async with SmileSession(partner_id, api_key, base_url=base_url, ca_file=ca_file) as session:
        answer = await post(CallbackReceiver(session, handler), sys.stdin.buffer.read())
    print(json.dumps([answer, heard]))


asyncio.run(main(*sys.argv[1:]))
