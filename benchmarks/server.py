"""A Smile ID API, v1 and V3, and its storage on loopback, so lean that whoever talks to it is the bottleneck.

It does what a client can tell apart from the real thing and nothing else: replies are prebuilt but for ids and the
signature, and a zip is counted, not opened. It knows when each verdict became available and says so in the result, on
the clock both processes share, so that lateness is measured and not guessed.
"""

import argparse
import asyncio
import hmac
import os
import random
import socket
import sys
import tempfile
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from math import exp, inf, log
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import orjson
import trustme
import uvloop
from granian.constants import HTTPModes, Interfaces, SSLProtocols
from granian.http import HTTP2Settings
from granian.server.embed import Server
from meter import accepting
from server_v3 import ApiV3

PARTNER, KEY = "001", "benchmark-key"
#: Concurrent streams per connection, as Amazon's API gateway and load balancers offer.
STREAMS = 128

_JSON = [("content-type", "application/json")]
_ACTIONS = orjson.dumps(
    {
        "Liveness_Check": "Passed",
        "Register_Selfie": "Not Applicable",
        "Verify_ID_Number": "Not Applicable",
        "Human_Review_Compare": "Not Applicable",
        "Return_Personal_Info": "Not Applicable",
        "Selfie_To_ID_Card_Compare": "Not Applicable",
        "Human_Review_Update_Selfie": "Not Applicable",
        "Human_Review_Liveness_Check": "Not Applicable",
        "Selfie_To_ID_Authority_Compare": "Not Applicable",
        "Update_Registered_Selfie_On_File": "Not Applicable",
        "Selfie_To_Registered_Selfie_Compare": "Completed",
    }
)
_DONE = (
    b'{"timestamp":"%b","signature":"%b","code":"2302","job_complete":true,"job_success":true,"result":{"ResultText":'
    b'"Authenticated User - Machine Judgement","ResultType":"SAIA","SmileJobID":"%b","JSONVersion":"1.0.0",'
    b'"IsFinalResult":"true","PartnerParams":{"user_id":"%b","job_id":"%b","job_type":2},"ConfidenceValue":"99",'
    b'"IsMachineResult":"true","ResultCode":"0820","Actions":' + _ACTIONS + b',"Source":"WebAPI",'
    b'"Available":%b,"Polls":%d},'
    b'"image_links":{},"history":[]}'
)
#: As long as an authority's answer without a photo.
_FOUND = (
    b'{"timestamp":"%b","signature":"%b","JSONVersion":"1.0.0","SmileJobID":"%b","PartnerParams":{"user_id":"%b",'
    b'"job_id":"%b","job_type":5},"ResultType":"ID Verification","ResultText":"ID Number Validated",'
    b'"ResultCode":"1012","IsFinalResult":"true","Actions":{"Verify_ID_Number":"Verified","Return_Personal_Info":'
    b'"Returned"},"Country":"NG","IDType":"NIN_V2","IDNumber":"00000000000","ExpirationDate":"NaN-NaN-NaN",'
    b'"FullName":"Ada Obi","DOB":"1990-01-31","Photo":"Not Available","Address":"Not Available","FullData":'
    b'{"firstname":"Ada","lastname":"Obi","gender":"f","birthdate":"31-01-1990","telephoneno":"08000000000",'
    b'"residence_address":"Not Available"},"Source":"WebAPI","Available":null,"Polls":0}'
)
_NOT_YET = (
    b'{"timestamp":"%b","signature":"%b","code":"2302","job_complete":false,"job_success":false,'
    b'"result":"Job is still being processed","image_links":{},"history":[]}'
)
_NO_ZIP = (
    b'{"timestamp":"%b","signature":"%b","code":"2314","job_complete":false,"job_success":false,'
    b'"result":"No zip file received","image_links":{},"history":[]}'
)
_SLOT = b'{"upload_url":"%b","ref_id":"001-%b-k3","smile_job_id":"%b","camera_config":null,"code":"2202"}'
#: As long as the real one's query (wire.md §4), session token included: parsing it is part of what clients pay.
_QUERY = (
    b"?AWSAccessKeyId=%b&Content-Type=application%%2Fzip&Expires=1999999999&Signature=%b%%3D&x-amz-security-token=%b"
    b"&x-amz-server-side-encryption=AES256" % (b"A" * 20, b"s" * 27, b"FwoGZXIvYXdzE%2F" * 50)
)


class Record:
    """One job: `available` is when its verdict is, in seconds of CLOCK_MONOTONIC, and is posted to `callback`."""

    __slots__ = ("available", "callback", "decide", "number", "polls", "whose")

    def __init__(self, number: bytes, decide: float, whose: tuple[bytes, bytes], callback: str) -> None:
        self.number = number
        self.decide = decide
        self.whose = whose
        self.callback = callback
        self.available = inf
        self.polls = 0


def decisions(script: str) -> Callable[[str], float]:
    """Seconds from zip to verdict by user: "0", "10", "never" or "lognormal:MEDIAN:P95:CAP:SEED".

    A user's job takes as long whoever sends it, and whenever: so contenders differ by what they do alone.
    """
    if script == "never":
        return lambda _user_id: inf
    if not script.startswith("lognormal:"):
        return lambda _user_id, seconds=float(script): seconds
    median, p95, cap, seed = (float(part) for part in script.split(":")[1:])
    mu, sigma = log(median), log(p95 / median) / 1.6449
    return lambda user_id: min(cap, exp(random.Random(f"{seed} {user_id}").gauss(mu, sigma)))


class Api:
    """Both servers' state; *polls* N > 0 decides each job at its Nth poll instead of by time."""

    def __init__(self, decide: Callable[[str], float], polls: int) -> None:
        self._decide = decide
        self._polls = polls
        self._jobs: dict[str, Record] = {}
        self._lookups = 0
        self._v3 = ApiV3(polls)
        self._calling: set[asyncio.Task[None]] = set()
        self._signed: tuple[int, bytes, bytes] = (0, b"", b"")
        self.storage_url = b""

    def _stamp(self) -> tuple[bytes, bytes]:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        made = hmac.digest(KEY.encode(), f"{now}{PARTNER}sid_request".encode(), "sha256")
        return now.encode(), b64encode(made)

    async def api(self, scope: Any, protocol: Any) -> None:
        if scope.path.startswith("/v3/"):
            await self._v3.answer(scope, protocol)
            return
        asked = orjson.loads(await protocol())
        if scope.path == "/v1/job_status":
            protocol.response_bytes(200, _JSON, self._status(asked))
        elif scope.path == "/v1/upload":
            protocol.response_bytes(200, _JSON, self._slot(asked))
        elif scope.path == "/v1/id_verification":
            protocol.response_bytes(200, _JSON, self._found(asked))
        else:
            protocol.response_empty(404, [])

    def _found(self, asked: Any) -> bytes:
        user, job = (asked["partner_params"][name].encode() for name in ("user_id", "job_id"))
        self._lookups += 1
        return _FOUND % (*self._stamp(), b"%010d" % self._lookups, user, job)

    def _slot(self, asked: Any) -> bytes:
        job_id = asked["partner_params"]["job_id"]
        number = b"%010d" % (len(self._jobs) + 1)
        user_id = asked["partner_params"]["user_id"]
        whose = (user_id.encode(), job_id.encode())
        self._jobs[job_id] = Record(number, self._decide(user_id), whose, asked.get("callback_url") or "")
        url = b"%b/videos/001/%b/selfie.zip%b" % (self.storage_url, job_id.encode(), _QUERY)
        return _SLOT % (url, number, number)

    def _status(self, asked: Any) -> bytes:
        record = self._jobs[asked["job_id"]]
        record.polls += 1
        if record.available == inf and self._polls and record.polls >= self._polls:
            record.available = monotonic()
        if record.available <= monotonic():
            return self._done(record)
        waiting = record.decide == inf or record.available < inf or self._polls
        return (_NOT_YET if waiting else _NO_ZIP) % self._stamp()

    def _done(self, record: Record) -> bytes:
        return _DONE % (*self._stamp(), record.number, *record.whose, self._when(record), record.polls)

    async def _call_back(self, record: Record) -> None:
        await asyncio.sleep(record.available - monotonic())
        said = orjson.loads(self._done(record))
        body = orjson.dumps(said["result"] | {"timestamp": said["timestamp"], "signature": said["signature"]})
        url = urlsplit(record.callback)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        head = f"POST {url.path or '/'} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        await reader.read()
        writer.close()

    def _when(self, record: Record) -> bytes:
        # Decided by being asked, a verdict can not be late.
        return b"null" if self._polls else b"%.6f" % record.available

    async def storage(self, scope: Any, protocol: Any) -> None:
        size = 0
        async for piece in protocol:
            size += len(piece)
        record = self._jobs[scope.path.split("/")[3]]
        if size < 1000:
            protocol.response_empty(400, [])
            return
        if not self._polls:
            record.available = monotonic() + record.decide
            if record.callback:
                calling = asyncio.create_task(self._call_back(record))
                self._calling.add(calling)
                calling.add_done_callback(self._calling.discard)
        protocol.response_empty(200, [])


def free_port() -> tuple[socket.socket, int]:
    """A port nobody else gets while the returned socket lives: granian shares ports, and so does this holder."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind(("127.0.0.1", 0))
    return holder, holder.getsockname()[1]


def listener(app: Any, port: int, mode: HTTPModes, cert: Path, key: Path) -> Server:
    return Server(
        app,
        port=port,
        interface=Interfaces.RSGI,
        http=mode,
        http2_settings=HTTP2Settings(max_concurrent_streams=STREAMS, initial_connection_window_size=1 << 24),
        websockets=False,
        backlog=1024,
        backpressure=10_000,
        log_enabled=False,
        ssl_cert=cert,
        ssl_key=key,
        ssl_protocol_min=SSLProtocols.tls12,
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decide", default="0", help="seconds from zip to verdict: number, never, lognormal:…")
    parser.add_argument("--polls", type=int, default=0, help="decide each job at its Nth poll instead")
    parser.add_argument("--core", type=int, required=True, help="the core to stay on, native threads included")
    args = parser.parse_args()
    os.sched_setaffinity(0, {args.core})
    state = Api(decisions(args.decide), args.polls)
    with tempfile.TemporaryDirectory(prefix="smile-bench-") as folder:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1", "localhost")
        ca, cert, key = (Path(folder, name) for name in ("ca.pem", "cert.pem", "key.pem"))
        authority.cert_pem.write_to_path(ca)
        cert.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
        (held, port), (held_too, storage_port) = free_port(), free_port()
        state.storage_url = b"https://127.0.0.1:%d" % storage_port
        servers = [
            listener(state.api, port, HTTPModes.auto, cert, key),
            listener(state.storage, storage_port, HTTPModes.http1, cert, key),
        ]
        serving = [asyncio.create_task(server.serve()) for server in servers]
        for number in (port, storage_port):
            await accepting(number)
        facts = {
            "base_url": f"https://127.0.0.1:{port}/v1",
            "base_url_v3": f"https://127.0.0.1:{port}/v3",
            "storage_url": state.storage_url.decode(),
            "upload_query": _QUERY.decode(),
            "ca_file": str(ca),
            "server_pid": os.getpid(),
            "partner_id": PARTNER,
            "api_key": KEY,
        }
        print(orjson.dumps(facts).decode(), flush=True)
        # The parent closes our stdin when it is done, or dies: either way nothing is left behind.
        await asyncio.to_thread(sys.stdin.read)
        del held, held_too, serving
    os._exit(0)


if __name__ == "__main__":
    uvloop.run(main())
