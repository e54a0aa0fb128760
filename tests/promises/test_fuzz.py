"""Replies and pictures that somebody has tampered with: only SmileErrors come out, in bounded time and memory.

`FUZZ` says how many of each (1,000 by default; `make soak` sets 100,000), `FUZZ_SEED` where to begin.
"""

import asyncio
import io
import json
import os
import random
import time
import tracemalloc
import zipfile
from collections.abc import Callable
from functools import partial
from typing import Any

import httpx
import orjson
import pytest
from ground_support import jpeg, png

from smile_async import Image, Job, SmileError, SmileSession, Ticket, Verdict, verify_callback
from smile_async.errors import InvalidJob
from smile_async.protocol.signature import Secret, Signer, format_timestamp
from smile_async.protocol.v1.archive import Archive, members
from smile_async.protocol.v1.judging import judge_callback, judge_status
from smile_async.protocol.v1.replies import read_complaint, read_object, read_result, read_slot, read_status
from smile_async.transport.engine import MAX_REPLY_BYTES

COUNT = int(os.environ.get("FUZZ", "1000"))
SEED = int(os.environ.get("FUZZ_SEED", "20261123"))
NOW = 1_767_322_000.0
SIGNER = Signer("001", Secret("key"))
TICKET = Ticket("ada", "7f3e", 2, "0000000001")
#: Seconds of processor time for one input; bytes that one input may make us hold beyond its own size.
SLOWEST, FATTEST = 1.0, 100_000_000


def _signed(**fields: Any) -> dict[str, Any]:
    stamp = format_timestamp(NOW)
    return {**fields, "timestamp": stamp, "signature": SIGNER.sign(stamp)}


RESULT = _signed(
    ResultCode="0820",
    ResultText="Authenticated",
    SmileJobID="0000000001",
    PartnerParams={"user_id": "ada", "job_id": "7f3e", "job_type": 2},
    Actions={"Liveness_Check": "Passed", "Selfie_To_ID_Card_Compare": "Not Applicable"},
    ConfidenceValue="99.125",
    ImageLinks={"selfie_image": "https://bucket.s3.amazonaws.com/1.jpg?Signature=s"},
)
STATUS = _signed(code="2302", job_complete=True, job_success=True, result=RESULT, history=[RESULT], image_links={})
SLOT = {
    "upload_url": "https://bucket.s3.amazonaws.com/videos/1/selfie.zip?Signature=s",
    "ref_id": "1",
    "smile_job_id": "0000000001",
    "camera_config": None,
    "code": "2202",
}
VERDICT = {"decision": "approved", "code": "0820"}
REFUSAL = {"error": "Job already exists", "code": "2215"}
#: What a field may be replaced by.
ODD: list[Any] = [
    None, True, False, 0, -1, 2**63, 10**40, 1e308, "", " ", "0", "820", "0820", "\uff12\uff13", "\ud800", "x" * 10_000,
    [], {}, [[]], {"a": {"b": {}}}, "2026-01-02T03:04:05Z", "9999-12-31T23:59:59.999999+14:00", "NaN", "Infinity",
    {"user_id": "eve"}, ["0820"], "\x00", "null", -0.0, "-1", "1e400",
]  # fmt: skip


def _fields(rng: random.Random, value: Any, depth: int = 0) -> Any:
    """*value* with something in it replaced, dropped, doubled or moved."""
    if isinstance(value, dict) and value and rng.random() < 0.85 and depth < 6:
        name = rng.choice(list(value))
        changed = dict(value)
        act = rng.randrange(4)
        if act == 0:
            del changed[name]
        elif act == 1:
            changed[rng.choice([name.upper(), name + " ", "", "__proto__"])] = changed.pop(name)
        else:
            changed[name] = _fields(rng, value[name], depth + 1)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.7 and depth < 6:
        return [_fields(rng, each, depth + 1) for each in value] * rng.choice([1, 1, 2, 50])
    return rng.choice(ODD)


def _bytes(rng: random.Random, content: bytes) -> bytes:
    """*content* with bytes flipped, cut out, doubled or put in."""
    mutated = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5, 30])):
        at = rng.randrange(len(mutated) + 1)
        act = rng.randrange(5)
        if act == 0 and at < len(mutated):
            mutated[at] = rng.randrange(256)
        elif act == 1:
            del mutated[at : at + rng.choice([1, 4, 100])]
        elif act == 2:
            mutated[at:at] = mutated[at : at + rng.choice([1, 16, 200])]
        elif act == 3:
            mutated[at:at] = rng.randbytes(rng.choice([1, 2, 8]))
        else:
            del mutated[at:]
    return bytes(mutated)


def mutated(rng: random.Random, valid: dict[str, Any]) -> bytes:
    """A reply that was *valid*; at times deep, huge or not JSON at all."""
    act = rng.random()
    if act < 0.01:
        return b'{"result":' * rng.choice([10, 500, 5000])
    if act < 0.5:
        changed: Any = valid
        for _ in range(rng.choice([1, 1, 2, 4])):
            changed = _fields(rng, changed)
        text = json.dumps(changed).encode()
        return text if act < 0.4 else _bytes(rng, text)
    return _bytes(rng, orjson.dumps(valid))


def attempt(what: str, seed: int, call: Callable[[], Any]) -> Any:
    """The result, or the SmileError; anything else names the seed and fails."""
    started = time.thread_time()
    try:
        result = call()
    except SmileError as error:
        result = error
    except Exception as error:
        raise AssertionError(f"{what}, seed {seed}: {type(error).__name__} came out") from error
    assert time.thread_time() - started < SLOWEST, f"{what}, seed {seed}: too slow"
    return result


def test_replies(record_property: Any) -> None:
    """Mutated bodies of every kind of reply: only SmileErrors, and never an approval of another job."""
    print(f"seeds {SEED} to {SEED + COUNT}")
    for seed in range(SEED, SEED + COUNT):
        rng = random.Random(seed)
        status, callback = mutated(rng, STATUS), mutated(rng, RESULT)
        judged = attempt("status", seed, lambda body=status: judge_status(body, TICKET, SIGNER, NOW))
        verdict = getattr(judged, "verdict", None)
        if verdict is not None and verdict.approved:
            said = orjson.loads(status)["result"]["PartnerParams"]
            assert (said["user_id"], said["job_id"]) == ("ada", "7f3e"), seed
        claim = attempt("callback", seed, lambda body=callback: judge_callback(body, SIGNER, NOW))
        if isinstance(claim, Verdict):
            assert not claim.approved
            again = attempt("to_json", seed, claim.to_json)
            if isinstance(again, str):
                attempt("from_json", seed, lambda text=again: Verdict.from_json(text))
        attempt("slot", seed, partial(read_slot, mutated(rng, SLOT)))
        attempt("refusal", seed, partial(read_complaint, mutated(rng, REFUSAL)))
        attempt("raw status", seed, lambda body=status: read_status(read_object(body, "it")))
        attempt("raw result", seed, lambda body=callback: read_result(read_object(body, "it")))
        attempt("ticket", seed, partial(Ticket.from_json, mutated(rng, TICKET.to_dict())))
        attempt("verdict", seed, partial(Verdict.from_json, mutated(rng, VERDICT)))
        attempt(
            "verify_callback",
            seed,
            lambda body=callback: verify_callback(body, partner_id="001", api_key="key", now=NOW),
        )


def test_pictures() -> None:
    """Mutated JPEGs, PNGs and base64: each is refused as InvalidJob, or makes a zip that every reader can read."""
    print(f"seeds {SEED} to {SEED + COUNT}")
    seeds = [jpeg(), png(), jpeg(1), jpeg(body=b"\xff\xd8" * 50)]
    for seed in range(SEED, SEED + COUNT):
        rng = random.Random(seed)
        content = _bytes(rng, rng.choice(seeds)) if rng.random() < 0.95 else rng.randbytes(rng.choice([0, 3, 40]))
        made = attempt("job", seed, lambda content=content: Job.authenticate("ada", content, job_id="7f3e"))
        inline = attempt("image", seed, lambda content=content: Image.from_bytes(content))
        assert isinstance(made, InvalidJob) == isinstance(inline, InvalidJob), seed
        text = _bytes(rng, b"data:image/jpeg;base64," + orjson.dumps(content.hex())[1:-1])
        attempt("base64", seed, lambda text=text: Image.from_base64(text))
        if isinstance(made, Job):
            _zipped(made, content, seed)


def _zipped(job: Job, content: bytes, seed: int) -> None:
    archive = Archive(b"{}", members(job, [content]))
    whole = b"".join(archive.pieces(4096) if hasattr(archive, "pieces") else archive)  # type: ignore[arg-type]
    assert len(whole) == archive.length, seed
    with zipfile.ZipFile(io.BytesIO(whole)) as read:
        assert read.testzip() is None
        assert read.read(read.namelist()[1]) == content, seed


def test_job_fields() -> None:
    """Odd ids, partner_params and URLs: a Job or an InvalidJob, nothing else."""
    for seed in range(SEED, SEED + COUNT):
        rng = random.Random(seed)
        odd = [rng.choice([*ODD, "ada", "https://a.example/x", "\u202e", "a\nb"]) for _ in range(4)]
        attempt(
            "job",
            seed,
            lambda odd=odd: Job(odd[0], 2, Image(path="x"), job_id=odd[1], partner_params=odd[2], callback_url=odd[3]),
        )


async def test_whole_sessions() -> None:
    """A twentieth of the replies goes through a session, headers mutated as well: only SmileErrors reach the caller."""
    rng = random.Random(SEED)
    names = [b"Date", b"Retry-After", b"Content-Type", b"Content-Length", b"Location", b"Transfer-Encoding"]
    values = [b"", b"-1", b"99999999999999999999", b"Thu, 99 Foo 2026", b"\xff\xfe", b"Mon, 01 Jan 0001 00:00:00 GMT",
              b"Fri, 31 Dec 9999 23:59:59 -9999", b"nan", b"1e9", b"0"]  # fmt: skip

    def answer(request: httpx.Request) -> httpx.Response:
        headers = [(rng.choice(names), rng.choice(values)) for _ in range(rng.randrange(3))]
        valid = SLOT if request.url.path.endswith("upload") else STATUS
        body = b"" if request.method == "PUT" else mutated(rng, valid) if rng.random() < 0.6 else orjson.dumps(valid)
        status = rng.choice([200, 200, 200, 200, 201, 302, 400, 403, 404, 500])
        return httpx.Response(status, headers=[each for each in headers if each[0] != b"Retry-After"], content=body)

    async with SmileSession(
        "001", "key", base_url="https://api.example/v1", http=httpx.MockTransport(answer)
    ) as session:
        for number in range(COUNT // 20):
            job = Job.authenticate("ada", jpeg(), job_id="7f3e")
            calls = [session.verify(job, patience=0.05), session.status(TICKET), session.wait(TICKET, patience=0.05)]
            for end in await asyncio.gather(*calls, return_exceptions=True):
                assert isinstance(end, SmileError) or not isinstance(end, BaseException), f"{number}: {end!r}"
                assert not getattr(end, "approved", False), "signed in the past, so never fresh"
        assert session.stats.in_flight == 0


def test_memory_stays_bounded() -> None:
    """The largest reply that the cap lets through, all nesting or all history, costs bounded memory and time."""
    size = MAX_REPLY_BYTES
    bodies = [
        b"[" * size,
        b'{"a":' * (size // 5),
        b'{"history":[' + b"{}," * (size // 3 - 10) + b"{}]}",
        b'{"result":{"PartnerParams":{}},"history":[' + b'{"Actions":{}},' * (size // 15 - 10) + b"{}]}",
        b'"' + b"\\u0000" * (size // 6 - 2) + b'"',
    ]
    for body in bodies:
        started = time.perf_counter()
        with pytest.raises(SmileError):
            judge_status(body, TICKET, SIGNER, NOW)
        assert time.perf_counter() - started < 30
    tracemalloc.start()
    try:
        with pytest.raises(SmileError):
            judge_status(bodies[2][: size // 16] + b"{}]}", TICKET, SIGNER, NOW)
        assert tracemalloc.get_traced_memory()[1] < FATTEST
    finally:
        tracemalloc.stop()
