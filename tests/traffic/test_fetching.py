"""Pictures by URI: read through fsspec, refused in words that cure, and without the secrets a URI may hold."""

import sys
from collections.abc import Iterator

import fsspec
import pytest
from street import Pictures, session_of

from smile_async import Job
from smile_async.batch import Row
from smile_async.batch.dry_run import check
from smile_async.errors import InvalidJob
from smile_async.jobs.image import MAX_IMAGE_BYTES
from smile_async.sandbox import RunningSandbox
from smile_async.traffic.fetching import is_uri, presentable
from smile_async.traffic.payload import read_in_thread


@pytest.fixture
def bucket(pictures: Pictures) -> Iterator[str]:
    """A storage in memory that holds a selfie, something too large and something that is no picture."""
    storage = fsspec.filesystem("memory")
    storage.pipe({"/b/selfie.jpg": pictures.selfie, "/b/large.jpg": b"x" * (MAX_IMAGE_BYTES + 10), "/b/text": b"text"})
    yield "memory://b"
    storage.rm("/b", recursive=True)


async def test_a_job_of_uris_is_verified(bucket: str, running: RunningSandbox, pictures: Pictures) -> None:
    """A selfie from a storage and frames by file:// and path make the same payload, and a verdict."""
    frames = [f"file://{path}" for path in pictures.liveness_paths]
    job = Job.authenticate("ada", f"{bucket}/selfie.jpg", liveness=frames)
    assert (await read_in_thread(job)).pictures == (await read_in_thread(pictures.filed())).pictures
    async with session_of(running) as session:
        assert (await session.verify(job)).approved


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("memory://b/none.jpg", "there is no such object"),
        ("memory://b/large.jpg", "shrink it below"),
        ("memory://b/text", "neither JPEG nor PNG"),
        ("nonsense://b/x", "fsspec knows no nonsense://"),
        ("file:///", "Is a directory"),
        ("memory://b/x::y", "check the URI"),
    ],
)
async def test_what_can_not_be_used_is_said(bucket: str, uri: str, why: str) -> None:
    """A missing object, one that is too large or no picture, and an unknown scheme are refused before any byte left."""
    with pytest.raises(InvalidJob, match=why) as caught:
        await read_in_thread(Job.authenticate("ada", uri))
    assert "(memory://b" in str(caught.value) or not uri.startswith("memory")


@pytest.mark.parametrize("package", ["fsspec", "s3fs"])
async def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Without fsspec, or the package behind a scheme, the message says what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InvalidJob, match=r"pip install 'smile-async\[workers\]'|s3fs"):
        await read_in_thread(Job.authenticate("ada", "s3://bucket/ada.jpg"))


def test_no_secret_of_a_uri_is_shown() -> None:
    """User, password and query of a URI stay out of messages; paths are shown as they are."""
    assert presentable("https://me:canary@host/a/b.jpg?sig=canary#canary") == "https://host/a/b.jpg"
    assert presentable("s3://bucket/a@b.jpg") == "s3://bucket/a@b.jpg"
    assert presentable("C:/a?b.jpg") == "C:/a?b.jpg"
    assert not is_uri("a/b://c")
    assert is_uri("gs://b/k")


async def test_a_secret_in_a_uri_is_in_no_error(bucket: str) -> None:
    """The error of a picture that could not be fetched names it without what its URI hides."""
    with pytest.raises(InvalidJob) as caught:
        await read_in_thread(Job.authenticate("ada", "memory://me:canary@b/none.jpg?sig=canary"))
    assert "canary" not in str(caught.value)


async def test_a_dry_run_fetches(bucket: str) -> None:
    """--dry-run reads pictures by URI like others, and names the line of one that is not there."""
    rows = [Row(2, "a", "a", f"{bucket}/selfie.jpg"), Row(3, "b", "b", f"{bucket}/none.jpg")]
    total, flaws = await check(iter(rows), "m")
    assert (total, [flaw.line for flaw in flaws]) == (2, [3])
