"""Storage behaves as S3 does behind a presigned URL, and reads zips as Smile ID must."""

import asyncio
import base64
import hashlib
import io
import json
import logging
import os
import random
import signal
import socket
import ssl
import stat
import warnings
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from sandbox_support import KEY, HandClock, Partner, entry, in_process, jpeg, partner_of, png, zipped

from smile_async.sandbox import RunningSandbox, Sandbox, decoding, inspection, serve_forever
from smile_async.sandbox.certificates import is_wildcard
from smile_async.sandbox.decoding import decodes
from smile_async.sandbox.images import Images
from smile_async.sandbox.inspection import image_size
from smile_async.sandbox.readers import in_threads


@pytest.fixture
def partner() -> Any:
    """A partner whose user ada is enrolled."""
    with in_process() as partner:
        partner.sandbox.enroll("ada")
        yield partner


@pytest.fixture
async def running() -> AsyncIterator[RunningSandbox]:
    """A sandbox with real sockets, whose user ada is enrolled."""
    async with Sandbox.serve(api_key=KEY) as running:
        running.sandbox.enroll("ada")
        yield running


def error_of(reply: httpx.Response) -> tuple[int, str]:
    """HTTP status and S3 error code of a refusal."""
    assert reply.headers["content-type"].startswith("application/xml")
    return reply.status_code, reply.text.split("<Code>")[1].split("</Code>")[0]


async def result_of(partner: Partner, content: bytes, job_type: int = 4, **settings: Any) -> tuple[str | None, str]:
    """The result code a new job with this zip comes to, and the complaint about it."""
    number = len(partner.sandbox.jobs)
    prep = partner.prep(f"user-{number}", f"job-{number}", job_type)
    prepared = (await partner.post("upload", {**prep, **settings})).json()
    assert (await partner.put(prepared["upload_url"], content)).status_code == 200
    job = partner.sandbox.jobs[f"job-{number}"]
    return job.code, job.complaint


async def test_a_put_is_200_and_empty(partner: Partner) -> None:
    """The zip is taken and the job is decided."""
    prepared = await partner.upload("ada", "j1")
    reply = await partner.put(prepared["upload_url"], zipped())
    assert (reply.status_code, reply.content) == (200, b"")
    assert partner.sandbox.jobs["j1"].code == "0820"


@pytest.mark.parametrize("content_type", ["", "application/octet-stream", "application/zip; charset=utf-8", "zip"])
async def test_another_content_type_is_403(partner: Partner, content_type: str) -> None:
    """The URL binds the content type, as the JavaScript SDK once learned the hard way."""
    prepared = await partner.upload("ada", "j1")
    headers = {"content-type": content_type} if content_type else {}
    reply = await partner.http.put(prepared["upload_url"], content=zipped(), headers=headers)
    assert error_of(reply) == (403, "SignatureDoesNotMatch")
    assert partner.sandbox.jobs["j1"].uploads == 0


async def test_an_expired_url_is_403(partner: Partner) -> None:
    """After its lifetime a URL is refused in S3's words."""
    prepared = await partner.upload("ada", "j1")
    clock = partner.sandbox.settings.clock
    assert isinstance(clock, HandClock)
    clock.now += 901
    reply = await partner.put(prepared["upload_url"], zipped())
    assert error_of(reply) == (403, "AccessDenied")
    assert "Request has expired" in reply.text


async def test_a_tampered_url_is_403(partner: Partner) -> None:
    """No part of the URL can be changed, left out, added or used for another job."""
    url = httpx.URL((await partner.upload("ada", "j1"))["upload_url"])
    other = httpx.URL((await partner.upload("ada", "j2"))["upload_url"])
    tampered = [
        url.copy_set_param("Expires", "9999999999"),
        url.copy_set_param("Expires", "soon"),
        url.copy_set_param("AWSAccessKeyId", "SANDBOX002"),
        url.copy_set_param("Signature", "é"),
        url.copy_set_param("x-amz-server-side-encryption", "none"),
        url.copy_set_param("Content-Type", "text/plain"),
        url.copy_remove_param("Signature"),
        url.copy_add_param("Expires", "9999999999"),
        url.copy_add_param("x-amz-acl", "public-read"),
        other.copy_with(query=url.query),
    ]
    for wrong in tampered:
        assert error_of(await partner.put(str(wrong), zipped())) == (403, "SignatureDoesNotMatch"), wrong
    for path in (url.path.replace("/001/", "/002/"), url.path.replace("001-0", "001-9")):
        assert error_of(await partner.put(str(url.copy_with(path=path)), zipped())) == (403, "AccessDenied")
    assert (await partner.http.get(str(url))).status_code == 405
    assert (await partner.put(str(url), zipped())).status_code == 200


async def test_too_large_a_body_is_400() -> None:
    """A body over the cap is refused in S3's words and is not processed."""
    with in_process(max_zip=1000) as partner:
        for job_id, size in [("j1", 1001), ("j2", 5000)]:
            prepared = await partner.upload("ada-" + job_id, job_id, 4)
            assert error_of(await partner.put(prepared["upload_url"], b"x" * size)) == (400, "EntityTooLarge")
        assert partner.sandbox.jobs["j1"].state == "awaiting_zip"


async def test_a_body_without_length_is_refused(partner: Partner) -> None:
    """S3 wants a Content-Length: none at all is 411, chunked is 501."""
    url = (await partner.upload("ada", "j1"))["upload_url"]

    async def pieces() -> AsyncIterator[bytes]:
        yield zipped()

    reply = await partner.http.put(url, content=pieces(), headers={"content-type": "application/zip"})
    assert error_of(reply) == (501, "NotImplemented")
    request = partner.http.build_request("PUT", url, content=b"x", headers={"content-type": "application/zip"})
    del request.headers["content-length"]
    assert error_of(await partner.http.send(request)) == (411, "MissingContentLength")


async def test_a_second_put_changes_nothing(partner: Partner) -> None:
    """A repeated PUT is 200, as S3 has it, and the first zip stays the job."""
    prepared = await partner.upload("ada", "j1")
    assert (await partner.put(prepared["upload_url"], zipped())).status_code == 200
    before = partner.sandbox.jobs["j1"].plan
    assert (await partner.put(prepared["upload_url"], b"not a zip")).status_code == 200
    job = partner.sandbox.jobs["j1"]
    assert (job.uploads, job.processed, job.submissions, job.code) == (2, 1, 1, "0820")
    assert job.plan == before


async def test_two_puts_at_once_are_one_job(partner: Partner) -> None:
    """Concurrent PUTs of one URL are processed once."""
    url = (await partner.upload("ada", "j1"))["upload_url"]
    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(partner.put, url, zipped())
    job = partner.sandbox.jobs["j1"]
    assert (job.uploads, job.processed) == (8, 1)


async def test_a_put_whose_client_leaves_is_still_processed(partner: Partner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the zip has landed the job is decided, whatever becomes of the client."""
    started, go = asyncio.Event(), asyncio.Event()
    inspect, loop = inspection.inspect, asyncio.get_running_loop()

    def slow(*args: Any, **kwargs: Any) -> Any:
        loop.call_soon_threadsafe(started.set)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result()
        return inspect(*args, **kwargs)

    monkeypatch.setattr("smile_async.sandbox.storage.inspect", slow)
    url = (await partner.upload("ada", "j1"))["upload_url"]
    with in_threads(partner.sandbox):
        put = asyncio.create_task(partner.put(url, zipped()))
        await started.wait()
        put.cancel()
        assert (await partner.status("ada", "j1"))["result"] == "No result yet"
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await put
        with anyio.fail_after(5):
            while partner.sandbox.jobs["j1"].code != "0820":  # noqa: ASYNC110 - the job has no event
                await anyio.sleep(0.002)


async def test_a_full_disk_lets_the_client_try_again(partner: Partner, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the sandbox itself fails to keep the images the job waits for its zip again."""

    def full(*_: Any) -> None:
        raise OSError("disk full")

    url = (await partner.upload("ada", "j1"))["upload_url"]
    with monkeypatch.context() as patch:
        patch.setattr(partner.sandbox.images, "put", full)
        with pytest.raises(OSError, match="disk full"):
            await partner.put(url, zipped())
    assert (await partner.put(url, zipped())).status_code == 200
    assert partner.sandbox.jobs["j1"].code == "0820"


async def test_a_put_fault_may_have_its_effect(partner: Partner) -> None:
    """A failed PUT can leave the job undone, or done: the ambiguous case clients must survive."""
    url = (await partner.upload("ada", "j1"))["upload_url"]
    partner.sandbox.fault("put", status=503, job_id="j1")
    assert (await partner.put(url, zipped())).status_code == 503
    assert partner.sandbox.jobs["j1"].state == "awaiting_zip"
    partner.sandbox.fault("put", status=500, effect=True, user_id="ada")
    assert (await partner.put(url, zipped())).status_code == 500
    assert partner.sandbox.jobs["j1"].code == "0820"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"not a zip",
        zipped()[:-40],
        zipped()[:60] + b"\0\0\0\0" + zipped()[64:],
        zipped().replace(jpeg()[-40:], bytes(40)),
    ],
)
async def test_a_corrupt_zip_comes_to_0903(partner: Partner, content: bytes) -> None:
    """Empty, truncated and damaged zips are taken by storage and rejected as a result."""
    code, complaint = await result_of(partner, content)
    assert code in ("0903", "0001")
    assert complaint


async def test_damage_in_an_image_is_0903(partner: Partner) -> None:
    """A wrong checksum is seen even though the directory of the zip is whole."""
    code, complaint = await result_of(partner, zipped().replace(jpeg()[-40:], bytes(40)))
    assert (code, "CRC" in complaint) == ("0903", True)


async def test_random_damage_never_breaks_the_sandbox(partner: Partner) -> None:
    """Two hundred zips with random bytes changed all come to some result, and storage answers 200 to each."""
    chance = random.Random(1)
    for _ in range(200):
        content = bytearray(zipped())
        for _ in range(4):
            content[chance.randrange(len(content))] = chance.randrange(256)
        code, _ = await result_of(partner, bytes(content))
        assert code in ("0903", "0001", "0840")


@pytest.mark.parametrize(
    "info",
    [
        b"{",
        b"[]",
        b"{}",
        {"images": {}},
        {"images": ["x"]},
        {"images": []},
        {"images": [entry(4, "selfie.jpg")]},
        {"images": [entry(0, "other.jpg")]},
        {"images": [entry(0)]},
        {"images": [{"image_type_id": 0, "file_name": 7}]},
        {"images": [entry(0, "selfie.jpg"), entry(4, "live.jpg")]},
        {"images": [entry(2, image="")]},
        {"images": [entry(2, image="/home/ada/selfie.webp")]},
        {"images": [entry(2, image="data:image/jpeg;base64," + base64.b64encode(jpeg()).decode())]},
        {"images": [entry(2, image=base64.b64encode(b"text").decode())]},
        {"images": [entry(99, "selfie.jpg")]},
        {"images": [{"file_name": "selfie.jpg"}]},
        *({"images": [{"image_type_id": odd, "file_name": "selfie.jpg"}]} for odd in ([0], {"a": 0}, 0.5, None, "x")),
    ],
)
async def test_images_that_disagree_with_info_json_come_to_0001(partner: Partner, info: object) -> None:
    """A missing or strange info.json, absent files, no selfie and broken inline images are all 0001."""
    code, complaint = await result_of(partner, zipped(info))
    assert code == "0001", complaint
    assert complaint


async def test_a_zip_without_info_json_is_0001(partner: Partner) -> None:
    """info.json is what makes a zip a job."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("selfie.jpg", jpeg())
    assert (await result_of(partner, out.getvalue()))[0] == "0001"


@pytest.mark.parametrize("content", [b"", b"text", b"\xff\xd8\xff", jpeg()[:20], b"\x89PNG\r\n\x1a\n", png()[:20]])
async def test_a_file_that_is_no_image_is_0001(partner: Partner, content: bytes) -> None:
    """Only what has a JPEG or PNG header with a size in it is a picture."""
    assert (await result_of(partner, zipped(selfie__jpg=content)))[0] == "0001"


UNDECODABLE = {
    "a jpeg of a header and an end": jpeg()[: jpeg().index(b"\xff\xda")] + b"\xff\xd9",
    "a jpeg that was cut off": jpeg((640, 480))[:-200],
    "a jpeg without its tables": jpeg().replace(b"\xff\xdb", b"\xff\xfe"),
    "a jpeg with a broken table": jpeg().replace(b"\xff\xc4\0\x1f\0\0", b"\xff\xc4\0\x1f\0\xff"),
    "a jpeg of no width": jpeg((64, 80)).replace(b"\0\x50\0\x40\3", b"\0\x50\0\0\3"),
    "a png of a header and an end": png()[:33] + png()[-12:],
    "a png with damaged pixels": png()[:60] + b"\0\0\0\0" + png()[64:],
}


@pytest.mark.parametrize("content", UNDECODABLE.values(), ids=UNDECODABLE)
async def test_a_picture_that_can_not_be_decoded_is_0001(partner: Partner, content: bytes) -> None:
    """The pixels are looked at, those of frames and of inline pictures too; the record keeps what came."""
    inline = {"images": [entry(2, image=base64.b64encode(content).decode())]}
    for job in (zipped(selfie__jpg=content), zipped(selfie__jpg=jpeg(), live__jpg=content), zipped(inline)):
        code, complaint = await result_of(partner, job)
        assert (code, complaint.endswith("can not be decoded")) == ("0001", True), complaint
        assert list(partner.sandbox.jobs.values())[-1].images[-1].sha256 == hashlib.sha256(content).hexdigest()
    with in_process(decode=False) as careless:
        assert (await result_of(careless, zipped(selfie__jpg=content)))[0] == "0840"


def test_each_picture_is_decoded_once_and_none_that_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """A digest that was looked at is remembered, up to a number; what claims too many pixels is taken as it is."""
    monkeypatch.setattr(decoding, "_looked_at", {})
    monkeypatch.setattr(decoding, "_KEPT", 2)
    assert [decodes("a", 9, jpeg()), decodes("a", 9, b"not asked")] == [True, True]
    assert [decodes("b", 9, b"no picture"), decodes("b", 9, jpeg())] == [False, False]
    assert decodes("a", 9, b"not asked")
    assert not decodes("c", 9, b"no picture")
    assert not decodes("a", 9, b"forgotten")
    assert decodes("d", 10**9, b"too large")


async def test_documents_need_a_card(partner: Partner) -> None:
    """Types 6 and 11 need an id card image, type 1 one or an entered id number."""
    about = {"country": "NG", "id_type": "BVN", "id_number": "00000000000"}
    selfie = {"images": [entry(0, "selfie.jpg")], "id_info": {"entered": "false"}}
    card = {"images": [entry(0, "selfie.jpg"), entry(3, image=base64.b64encode(jpeg()).decode())], "id_info": about}
    entered = {**selfie, "id_info": {**about, "entered": True}}
    wanted = [(1, selfie, "0001"), (6, selfie, "0001"), (11, entered, "0001")]
    wanted += [(1, entered, "0810"), (1, card, "0810"), (6, card, "0810"), (11, card, "0810")]
    for job_type, info, code in wanted:
        assert (await result_of(partner, zipped(info), job_type))[0] == code


async def test_what_official_sdks_really_send_is_accepted(partner: Partner) -> None:
    """Junk members with one name, any server_information, text for numbers, PNG, mobile's tiny info.json."""
    inline = base64.b64encode(jpeg()).decode()
    wrapped = "\n".join(inline[at : at + 76] for at in range(0, len(inline), 76))
    infos: list[dict[str, Any]] = [
        {"images": [entry(0, "selfie.jpg")]},
        {"images": [entry(0, "selfie.png")], "server_information": "https://url"},
        {"images": [entry(2, image=inline), *[entry(6, image=inline)] * 8], "misc_information": {"timestamp": "x"}},
        {"images": [{"image_type_id": "2", "image": wrapped, "file_name": None}], "id_info": None},
        {"images": [entry(0, "selfie.jpg"), entry(12, "portrait.jpg")], "id_info": {}, "consent_information": {}},
    ]
    for info in infos:
        out = io.BytesIO(zipped(info, selfie__jpg=jpeg(), selfie__png=png(), security_info__json=b"{}"))
        with zipfile.ZipFile(out, "a") as archive:
            archive.writestr("base64imgString", b"junk")
            with pytest.warns(UserWarning, match="Duplicate name"):
                archive.writestr("base64imgString", b"junk")
        code, complaint = await result_of(partner, out.getvalue())
        assert code == "0840", complaint
    partner.sandbox.enroll(f"user-{len(infos)}")
    empty = zipped({"images": []})
    assert (await result_of(partner, empty, 2, use_enrolled_image=True))[0] == "0820"
    assert (await result_of(partner, empty, 4, use_enrolled_image=True))[0] == "0001"


async def test_a_zip_bomb_is_0903() -> None:
    """Members that unpack to more than an image may be, too many members, and lists that repeat one member."""
    with in_process(max_image=10_000) as partner:
        bomb = io.BytesIO()
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("info.json", json.dumps({"images": [entry(0, "selfie.jpg")]}))
            archive.writestr("selfie.jpg", jpeg() + bytes(5_000_000))
        assert len(bomb.getvalue()) < 10_000
        assert (await result_of(partner, bomb.getvalue()))[0] == "0903"
        # A header that lies about the size is stopped by the size really read.
        lying = bomb.getvalue().replace((5_000_000 + len(jpeg())).to_bytes(4, "little"), (9000).to_bytes(4, "little"))
        assert (await result_of(partner, lying))[0] == "0903"
        many = zipped(None, **{f"selfie{number}__jpg": jpeg() for number in range(201)})
        assert (await result_of(partner, many))[0] == "0903"


async def test_listing_one_member_many_times_is_bounded(partner: Partner, monkeypatch: pytest.MonkeyPatch) -> None:
    """What all listed images unpack to together is capped, too."""
    monkeypatch.setattr(inspection, "_MAX_TOTAL", 100_000)
    info = {"images": [entry(0, "selfie.jpg")] * 5}
    assert (await result_of(partner, zipped(info, selfie__jpg=jpeg() + bytes(30_000))))[0] == "0903"
    assert (await result_of(partner, zipped({"images": [entry(0, "selfie.jpg")] * 201})))[0] == "0903"


async def test_images_are_recorded_and_served(partner: Partner) -> None:
    """A job knows its images' names, types, sizes and digests, and the image link really serves the selfie."""
    content = zipped(None, selfie__png=png(), live_0__jpg=jpeg())
    await partner.submit("ada", "j1", content=content)
    images = partner.sandbox.jobs["j1"].images
    assert [(image.name, image.image_type_id, image.size) for image in images] == [
        ("selfie.png", 0, len(png())),
        ("live_0.jpg", 4, len(jpeg())),
    ]
    assert images[1].sha256 == hashlib.sha256(jpeg()).hexdigest()
    assert (images[1].width, images[1].height) == (64, 80)
    link = (await partner.status("ada", "j1", image_links=True))["image_links"]["selfie_image"]
    reply = await partner.http.get(link)
    assert (reply.content, reply.headers["content-type"]) == (png(), "image/png")
    wrong = [link.replace("/0/", "/1/"), link.replace("/0/", "/7/"), link.replace("001-", "002-"), link + "x"]
    for each in wrong:
        assert error_of(await partner.http.get(each))[0] == 403
    clock = partner.sandbox.settings.clock
    assert isinstance(clock, HandClock)
    clock.now += 901
    assert error_of(await partner.http.get(link)) == (403, "AccessDenied")


async def test_old_images_make_room() -> None:
    """Memory for images is bounded: the oldest goes first and its link says so; equal images are kept once."""
    with in_process(image_memory=len(jpeg()) + 10) as partner:
        for user in ("ada", "bob"):
            await partner.submit(user, user, 4, content=zipped(None, selfie__jpg=jpeg(), live__jpg=jpeg()))
        link = (await partner.status("ada", "ada", image_links=True))["image_links"]["selfie_image"]
        assert (await partner.http.get(link)).status_code == 200
        await partner.submit("kim", "kim", 4, content=zipped(None, selfie__png=png()))
        assert error_of(await partner.http.get(link)) == (404, "NoSuchKey")


async def test_a_job_without_a_selfie_has_no_image_link(partner: Partner) -> None:
    """Asked for links, a job by the enrolled image answers with an error text instead."""
    prep = {**partner.prep("ada", "j1"), "use_enrolled_image": True}
    url = (await partner.post("upload", prep)).json()["upload_url"]
    await partner.put(url, zipped({"images": []}))
    body = await partner.status("ada", "j1", image_links=True)
    assert (body["image_links"].keys(), body["result"]["ResultCode"]) == ({"error"}, "0820")


def test_image_sizes_are_read_from_headers() -> None:
    """JPEG with padding before a marker, PNG, and things that only begin like one."""
    assert image_size(jpeg((30, 40))) == (30, 40)
    assert image_size(jpeg((30, 40)).replace(b"\xff\xc0", b"\xff\xff\xc0", 1)) == (30, 40)
    assert image_size(png()) == (30, 20)
    assert image_size(b"\xff\xd8\xff\xe0\x00\x00" * 9) is None


def test_the_album_forgets_and_remembers(tmp_path: Path) -> None:
    """On disk nothing is dropped, and what never came is not there."""
    images = Images(0, tmp_path / "images")
    images.put("a" * 64, b"one")
    images.put("a" * 64, b"one")
    assert (images.get("a" * 64), images.get("b" * 64)) == (b"one", None)
    assert Images(10).get("x") is None


async def test_real_sockets_speak_as_in_production(running: RunningSandbox) -> None:
    """HTTP/2 by ALPN for the API, HTTP/1.1 only for storage, TLS for both, dates from the sandbox's clock."""
    partner = partner_of(running)
    async with partner.http:
        reply = await partner.post("upload", partner.prep("ada", "j1"))
        assert (reply.http_version, "date" in reply.headers) == ("HTTP/2", True)
        assert reply.json()["upload_url"].startswith(running.storage_url + "/")
        put = await partner.put(reply.json()["upload_url"], zipped())
        assert (put.http_version, put.status_code, put.headers.get_list("date")) != ("", 200, [])
        assert put.http_version == "HTTP/1.1"
        assert len(put.headers.get_list("date")) == 1
        link = (await partner.status("ada", "j1", image_links=True))["image_links"]["selfie_image"]
        assert (await partner.http.get(link)).content == jpeg()
        assert (running.partner_id, running.api_key) == ("001", KEY)
    old = partner_of(running, http2=False)
    async with old.http:
        assert (await old.post("job_status", {})).http_version == "HTTP/1.1"


async def test_chunked_bodies_are_501_over_a_real_socket(running: RunningSandbox) -> None:
    """As S3: presigned PUTs do not take chunked bodies."""

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield bytes(60_000)

    partner = partner_of(running)
    async with partner.http:
        url = (await partner.upload("ada", "j1"))["upload_url"]
        reply = await partner.http.put(url, content=pieces(), headers={"content-type": "application/zip"})
        assert error_of(reply) == (501, "NotImplemented")
        refused = await partner.http.put(url, content=bytes(2_000_000), headers={"content-type": "text/plain"})
        assert error_of(refused) == (403, "SignatureDoesNotMatch")


async def test_half_a_body_is_not_a_zip(running: RunningSandbox) -> None:
    """A client that hangs up in the middle of its PUT leaves the job waiting for its zip."""
    partner = partner_of(running)
    async with partner.http:
        url = httpx.URL((await partner.upload("ada", "j1"))["upload_url"])
        context = ssl.create_default_context(cafile=running.ca_file)
        _, writer = await asyncio.open_connection("127.0.0.1", url.port, ssl=context)
        target = url.raw_path.decode()
        head = f"PUT {target} HTTP/1.1\r\nhost: x\r\ncontent-type: application/zip\r\ncontent-length: 9999\r\n\r\n"
        writer.write(head.encode() + zipped()[:500])
        await writer.drain()
        await anyio.sleep(0.05)
        writer.close()
        await anyio.sleep(0.05)
        assert (await partner.status("ada", "j1"))["code"] == "2314"


@pytest.mark.parametrize("http2", [True, False])
async def test_a_cut_reply_is_a_broken_connection(running: RunningSandbox, http2: bool) -> None:
    """Over real sockets a cut reply is a transport error, not a short answer."""
    partner = partner_of(running, http2=http2)
    async with partner.http:
        running.sandbox.fault("upload", cut=True, effect=True)
        with pytest.raises(httpx.TransportError):
            await partner.post("upload", partner.prep("ada", "j1"))
        assert running.sandbox.count("j1") == 1


async def test_leaving_does_not_wait_for_idle_or_hanging_clients() -> None:
    """Open HTTP/2 connections and a request held back for an hour end with the sandbox, and no task stays."""
    before = asyncio.all_tasks()
    sandbox = Sandbox(api_key=KEY)
    async with sandbox.serve() as running:
        with pytest.raises(RuntimeError, match="already"):
            await sandbox.serve().__aenter__()
        idle, hanging = partner_of(running), partner_of(running)
        sandbox.enroll("ada")
        await idle.upload("ada", "j1")
        sandbox.fault("upload", delay=3600)
        waiting = asyncio.create_task(hanging.post("upload", hanging.prep("ada", "j2")))
        await anyio.sleep(0.1)
        files = len(os.listdir("/dev/fd"))  # noqa: PTH208
    with anyio.fail_after(5):
        assert (await asyncio.gather(waiting, return_exceptions=True))[0]
    await idle.http.aclose()
    await hanging.http.aclose()
    assert asyncio.all_tasks() == before
    assert len(os.listdir("/dev/fd")) < files  # noqa: PTH208
    assert not Path(running.ca_file).exists()  # noqa: ASYNC240 - a test
    async with sandbox.serve() as again:
        assert again.sandbox.count("j1") == 1


async def test_a_handler_that_will_not_end_is_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is still busy after the grace is cancelled, so that leaving always ends."""
    monkeypatch.setattr("smile_async.sandbox.listener._GRACE", 0.05)

    async def busy(*_: Any) -> None:
        await anyio.sleep(3600)

    monkeypatch.setattr("smile_async.sandbox.api.with_fault", busy)
    async with Sandbox.serve(api_key=KEY) as running:
        partner = partner_of(running, http2=False)
        waiting = asyncio.create_task(partner.post("upload", {}))
        await anyio.sleep(0.1)
    await asyncio.gather(waiting, return_exceptions=True)
    await partner.http.aclose()


async def test_entering_and_leaving_may_happen_in_different_tasks() -> None:
    """Fixtures do so; the sandbox does not mind."""
    serving = Sandbox.serve(api_key=KEY)
    running = await asyncio.create_task(serving.__aenter__())
    partner = partner_of(running)
    async with partner.http:
        assert (await partner.post("upload", {})).status_code == 400
    await asyncio.create_task(serving.__aexit__(None, None, None))


async def test_a_cancelled_exit_leaves_nothing_behind() -> None:
    """Whoever is cancelled by asyncio while he leaves goes when the sockets are closed."""
    before = asyncio.all_tasks()
    for moment in range(1, 12, 2):
        serving = Sandbox.serve(api_key=KEY)
        await serving.__aenter__()
        leaving = asyncio.create_task(serving.__aexit__(None, None, None))
        for _ in range(moment):
            await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.wait([leaving])
        assert leaving.cancelled()
        assert asyncio.all_tasks() == before


async def test_a_cancelled_entry_leaves_nothing_behind() -> None:
    """Cancelling while the sockets open closes them again."""
    before = asyncio.all_tasks()
    entering = asyncio.create_task(Sandbox.serve(api_key=KEY).__aenter__())
    await anyio.sleep(0.001)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert asyncio.all_tasks() == before


async def test_a_port_in_use_is_an_error(running: RunningSandbox) -> None:
    """A given port that somebody listens on is refused instead of shared, and a free one is used as given."""
    taken = httpx.URL(running.base_url).port
    with pytest.raises(OSError, match="in use"):
        await Sandbox.serve(api_key=KEY, port=taken).__aenter__()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    async with Sandbox.serve(api_key=KEY, host="localhost", port=free) as other:
        assert other.base_url == f"https://localhost:{free}/v1"


async def test_every_address_and_ipv6() -> None:
    """Served on all addresses the URLs name loopback; IPv6 addresses are written in brackets."""
    async with Sandbox.serve(api_key=KEY, host="0.0.0.0") as running:
        assert running.base_url.startswith("https://127.0.0.1:")
    assert (is_wildcard("::"), is_wildcard("localhost")) == (True, False)
    if socket.has_ipv6:
        async with Sandbox.serve(api_key=KEY, host="::1") as running:
            partner = partner_of(running)
            async with partner.http:
                assert (await partner.post("upload", {})).status_code == 400


async def test_a_server_that_never_accepts_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """If nothing listens within the time given, entering fails instead of hanging."""

    async def never(*_: Any, **__: Any) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr("smile_async.sandbox.listener._START", 0.01)
    monkeypatch.setattr("asyncio.open_connection", never)
    with pytest.raises(ConnectionRefusedError):
        await Sandbox.serve(api_key=KEY).__aenter__()


async def test_key_files_are_private_and_temporary(running: RunningSandbox) -> None:
    """The folder is 0700, its files 0600, and the authority's key is not among them."""
    folder = Path(running.ca_file).parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = {path.name: path for path in folder.iterdir()}
    assert files.keys() == {"ca.pem", "server.pem", "server.key"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in files.values()} == {0o600}
    keys = [path.name for path in files.values() if b"PRIVATE KEY" in path.read_bytes()]
    assert keys == ["server.key"]


async def test_tls_1_1_is_refused(running: RunningSandbox) -> None:
    """Nothing below TLS 1.2 is spoken."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(running.ca_file)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python itself deprecates what is tried here
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, OSError)):
        await asyncio.open_connection("127.0.0.1", httpx.URL(running.base_url).port, ssl=context)


async def test_serving_leaves_the_programs_logging_alone(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """No handler is closed, nothing is printed, and no log of ours holds the key or an upload URL."""
    handlers = list(logging.getLogger().handlers)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("httpx").setLevel(logging.WARNING)
        logging.getLogger("httpcore").setLevel(logging.WARNING)
        async with Sandbox.serve(api_key="canary-key") as running:
            running.sandbox.enroll("ada")
            partner = partner_of(running)
            async with partner.http:
                await partner.submit("ada", "j1")
    assert logging.getLogger().handlers == handlers
    assert "canary-key" not in caplog.text
    assert "Signature=" not in caplog.text
    assert capfd.readouterr() == ("", "")


async def test_serve_forever_ends_on_sigterm() -> None:
    """The CLI's entry announces once and returns normally when the process is told to stop."""
    announced: list[RunningSandbox] = []

    def announce(running: RunningSandbox) -> None:
        announced.append(running)
        os.kill(os.getpid(), signal.SIGTERM)

    with anyio.fail_after(10):
        await serve_forever(announce, port=0, storage_port=0, partner_id="007")
    assert [running.partner_id for running in announced] == ["007"]


async def test_state_survives_a_restart(tmp_path: Path) -> None:
    """Key, enrolled users, jobs, images and upload URLs are those of the last run; a torn line is dropped."""
    state = tmp_path / "state"
    clock = HandClock()
    with in_process(state=state, clock=clock, latency=10) as partner:
        partner.sandbox.enroll("ada")
        await partner.submit("ada", "j1")
        waiting = await partner.upload("ada", "j2")
        clock.now += 11
        first = await partner.status("ada", "j1", image_links=True)
    journal = state / "journal.jsonl"
    journal.write_bytes(journal.read_bytes() + b'["job:j3", {"user')
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    files = [journal, *(state / "images").iterdir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    sandbox = Sandbox(state=state, clock=clock)
    assert sandbox.api_key == KEY
    again = Partner(sandbox, httpx.AsyncClient(transport=httpx.ASGITransport(sandbox.app)))
    second = await again.status("ada", "j1", image_links=True)
    assert second["result"] == first["result"]
    assert (await again.http.get(second["image_links"]["selfie_image"])).content == jpeg()
    assert (await again.put(waiting["upload_url"], zipped())).status_code == 200
    assert (await again.upload("ada", "j4"))["smile_job_id"] == "0000000003"
    async with sandbox.serve() as running:
        assert running.ca_file == str(state / "ca.pem")
    assert (state / "ca.pem").exists()


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed write removes its temporary file and keeps the old one."""

    def full(*_: Any) -> None:
        raise OSError("disk full")

    images = Images(0, tmp_path)
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        images.put("a", b"x")
    assert list(tmp_path.iterdir()) == []
