"""Pictures by URI: read through fsspec, refused in words that cure, and without the secrets a URI may hold."""

import ssl
import sys
from collections.abc import Iterator

import fsspec
import pytest
from street import Pictures, session_of

from smile_async import Image, Job
from smile_async.batch import Row
from smile_async.batch.dry_run import check
from smile_async.errors import InvalidJob
from smile_async.jobs.image import MAX_IMAGE_BYTES, SCHEMES
from smile_async.sandbox import RunningSandbox
from smile_async.traffic.payload import read_in_thread


@pytest.fixture
def bucket(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A storage in memory that holds a selfie, something too large and something that is no picture."""
    monkeypatch.setattr("smile_async.jobs.image.SCHEMES", (*SCHEMES, "memory"))
    storage = fsspec.filesystem("memory")
    storage.pipe({"/b/selfie.jpg": pictures.selfie, "/b/large.jpg": b"x" * (MAX_IMAGE_BYTES + 10), "/b/text": b"text"})
    yield "memory://b"
    storage.rm("/b", recursive=True)


async def test_a_job_of_uris_is_verified(bucket: str, running: RunningSandbox, pictures: Pictures) -> None:
    """A selfie from a storage and frames by path make the same payload as files do, and a verdict."""
    job = Job.authenticate("ada", Image.from_uri(f"{bucket}/selfie.jpg"), liveness=pictures.liveness_paths)
    assert (await read_in_thread(job)).pictures == (await read_in_thread(pictures.filed())).pictures
    async with session_of(running) as session:
        assert (await session.verify(job)).approved


@pytest.mark.parametrize(
    ("uri", "why"),
    [
        ("memory://b/none.jpg", "there is no such object"),
        ("memory://b/large.jpg", "shrink it below"),
        ("memory://b/text", "neither JPEG nor PNG"),
    ],
)
async def test_what_can_not_be_used_is_said(bucket: str, uri: str, why: str) -> None:
    """A missing object and one that is too large or no picture are refused before any byte left."""
    with pytest.raises(InvalidJob, match=why) as caught:
        await read_in_thread(Job.authenticate("ada", Image.from_uri(uri)))
    assert f"({uri})" in str(caught.value)


class Forbidden(Exception):
    """As aiohttp tells it."""

    status = 403


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (PermissionError(13, "canary"), "Permission denied"),
        (Forbidden("canary"), "HTTP 403"),
        (
            ssl.SSLCertVerificationError("canary"),
            "TLS failed: let SSL_CERT_FILE, or the storage library's own variable",
        ),
        (ValueError("canary"), "ValueError"),
    ],
)
async def test_a_storage_s_refusal_leads_to_its_cause(
    bucket: str, error: Exception, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Permissions, an HTTP status and a CA that is not known are named, wrapped as the libraries wrap them."""

    def fail(*_: object, **__: object) -> None:
        if isinstance(error, ssl.SSLError):
            raise ConnectionError("canary") from error
        raise error

    monkeypatch.setattr(fsspec, "open", fail)
    with pytest.raises(InvalidJob, match=f"can not be read \\({why}") as caught:
        await read_in_thread(Job.authenticate("ada", Image.from_uri(f"{bucket}/selfie.jpg")))
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("package", ["fsspec", "s3fs"])
async def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Without fsspec, or the package behind a scheme, the message says what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InvalidJob, match=r"pip install 'smile-async\[workers\]'|s3fs"):
        await read_in_thread(Job.authenticate("ada", Image.from_uri("s3://bucket/ada.jpg")))


async def test_a_secret_in_a_uri_is_in_no_error(bucket: str) -> None:
    """The error of a picture that could not be fetched names it without what its URI hides."""
    with pytest.raises(InvalidJob) as caught:
        await read_in_thread(Job.authenticate("ada", Image.from_uri("memory://me:canary@b/none.jpg?sig=canary")))
    assert "canary" not in str(caught.value)


async def test_a_dry_run_fetches(bucket: str) -> None:
    """--dry-run reads pictures by URI like others, and names the line of one that is not there."""
    rows = [Row(2, "a", "a", f"{bucket}/selfie.jpg"), Row(3, "b", "b", f"{bucket}/none.jpg")]
    total, flaws = await check(iter(rows), "m")
    assert (total, [flaw.line for flaw in flaws]) == (2, [3])
