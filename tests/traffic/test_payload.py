import hashlib
import os
import zlib
from pathlib import Path

import pytest
from street import MARKER, Pictures

from smile_async import Image, Job
from smile_async.errors import InvalidJob
from smile_async.jobs.image import MAX_IMAGE_BYTES
from smile_async.traffic.payload import read_in_thread


async def test_files_and_bytes_give_the_same_cargo(pictures: Pictures) -> None:
    """Paths, bytes and Images of the same pictures load to equal members, named by us."""
    by_path = Job.authenticate("ada", pictures.selfie_path, liveness=pictures.liveness_paths)
    by_bytes = Job.authenticate("ada", pictures.selfie, liveness=[Image.from_bytes(one) for one in pictures.liveness])
    one, two = await read_in_thread(by_path), await read_in_thread(by_bytes)
    assert one.pictures == two.pictures
    assert [picture.name for picture in one.pictures] == ["selfie.jpg", *(f"liveness_{n}.jpg" for n in range(8))]
    assert one.pictures[0].crc == zlib.crc32(pictures.selfie)
    assert one.digest() == two.digest()


async def test_a_digest_tells_faces_apart(pictures: Pictures) -> None:
    """The digest of a payload changes with a picture and with the order of pictures."""
    jobs = [
        pictures.job(),
        Job.authenticate("ada", pictures.other),
        Job.authenticate("ada", pictures.selfie, liveness=pictures.liveness[:2]),
        Job.authenticate("ada", pictures.selfie, liveness=pictures.liveness[1::-1]),
    ]
    digests = {(await read_in_thread(job)).digest() for job in jobs}
    assert len(digests) == 4
    assert hashlib.sha256(hashlib.sha256(pictures.selfie).digest()).digest() in digests


async def test_a_cargo_does_not_show_its_pictures(pictures: Pictures) -> None:
    """The repr of a payload shows number and size alone."""
    payload = await read_in_thread(pictures.job())
    assert repr(payload) == f"<Payload of 1 pictures, {len(pictures.selfie):,} bytes>"


async def test_no_picture_is_fine_with_the_enrolled_one() -> None:
    """use_enrolled_image needs no selfie at all."""
    assert list((await read_in_thread(Job.authenticate("ada", use_enrolled_image=True))).pictures) == []


def _grey() -> bytes:
    # SOI, then a baseline frame header with a single component.
    return b"\xff\xd8\xff\xc0\x00\x0b\x08\x00\x10\x00\x10\x01\x01\x11\x00\xff\xd9"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"BM not a picture we take", "neither JPEG nor PNG"),
        (_grey(), "greyscale"),
        (b"\xff\xd8\xff\xe0", "truncated or damaged header"),
        (b"\xff\xd8\xff" + bytes(MAX_IMAGE_BYTES), "shrink it below"),
    ],
)
async def test_a_bad_file_is_named_with_cause_and_cure(content: bytes, says: str, tmp_path: Path) -> None:
    """A file that is no good picture is an InvalidJob that names job, file and cure, before a byte leaves."""
    path = tmp_path / "frame.jpg"
    path.write_bytes(content)
    job = Job.authenticate("ada", path, job_id="j1")
    with pytest.raises(InvalidJob, match=says) as caught:
        await read_in_thread(job)
    assert str(caught.value).startswith(f"job j1 of user ada: selfie ({path}) ")
    assert (caught.value.job, caught.value.ticket, caught.value.retryable) == (job, None, False)


async def test_a_bad_liveness_frame_is_named(pictures: Pictures, tmp_path: Path) -> None:
    """The message says which of the frames it is."""
    job = Job.authenticate("ada", pictures.selfie_path, liveness=[*pictures.liveness_paths[:3], tmp_path / "gone.jpg"])
    with pytest.raises(InvalidJob, match=r"liveness\[3\].*can not be opened \(No such file or directory\)"):
        await read_in_thread(job)


async def test_a_directory_is_no_picture(tmp_path: Path) -> None:
    """A directory is refused with what to give instead."""
    with pytest.raises(InvalidJob, match="is not a regular file: give the path of a picture"):
        await read_in_thread(Job.authenticate("ada", tmp_path))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are a Unix thing")
async def test_a_named_pipe_does_not_hang(tmp_path: Path) -> None:
    """A pipe that nobody writes to is refused at once."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InvalidJob, match="is not a regular file"):
        await read_in_thread(Job.authenticate("ada", pipe))


async def test_a_disk_that_fails_is_told(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error while reading is an InvalidJob, not an OSError."""

    def broken(_descriptor: int, _size: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("smile_async.traffic.payload.os.read", broken)
    with pytest.raises(InvalidJob, match=r"can not be read \(Input/output error\): check the disk"):
        await read_in_thread(pictures.filed())


async def test_a_spent_job_can_not_be_sent_again(pictures: Pictures) -> None:
    """A job whose content is gone says so instead of sending nothing."""
    with pytest.raises(InvalidJob, match="has no content any more: make the job anew"):
        await read_in_thread(pictures.job().spent())


async def test_an_error_holds_no_picture(pictures: Pictures, tmp_path: Path) -> None:
    """No frame of the traceback of a refused job holds the bytes of its good pictures."""
    job = Job.authenticate("ada", pictures.selfie_path, liveness=[tmp_path / "gone.jpg"])
    with pytest.raises(InvalidJob) as caught:
        await read_in_thread(job)
    trace = caught.value.__traceback__
    while trace is not None:
        if "smile_async" in trace.tb_frame.f_code.co_filename:
            assert not any(MARKER in bytes(v) for v in trace.tb_frame.f_locals.values() if isinstance(v, bytes))
            assert "contents" not in trace.tb_frame.f_locals
        trace = trace.tb_next
