"""Read a job's pictures once, off the event loop, and look at them before anything is billed.

What is read here is what is sent: Content-Length and checksums come from these bytes, not from a file that somebody may
be writing to. A `Payload` is the only thing that holds image content, and it lives as long as its upload.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Sequence

import anyio.to_thread

from smile_async.errors import InvalidJob
from smile_async.jobs.image import MAX_IMAGE_BYTES, Image, flaw, shown
from smile_async.jobs.job import Job
from smile_async.jobs.product import Product
from smile_async.protocol.v1.archive import Member, members
from smile_async.traffic.fetching import fetch

__all__ = ["Payload", "read", "read_in_thread"]

#: Bytes; hashing fewer takes less than a millisecond, and few jobs need it.
HASHED_FROM = 1_000_000


#: Makes of a text what nobody can guess it from.
Seal = Callable[[bytes], bytes]


class Payload:
    """The pictures of one job, in memory; its repr shows their number and size alone."""

    __slots__ = ("_digest", "_seal", "job", "pictures")

    def __init__(self, job: Job, pictures: Sequence[Member], seal: Seal | None = None) -> None:
        self.job = job
        self.pictures = pictures
        self._seal = seal
        self._digest: bytes | None = None

    def __repr__(self) -> str:
        size = sum(len(picture.content) for picture in self.pictures)
        return f"<Payload of {len(self.pictures)} pictures, {size:,} bytes>"

    def digest(self) -> bytes:
        """SHA-256 over the digests of all pictures."""
        if self._digest is None:
            whole = hashlib.sha256()
            for picture in self.pictures:
                whole.update(hashlib.sha256(picture.content).digest())
            self._digest = whole.digest()
        return self._digest

    @property
    def subject(self) -> bytes:
        """A seal of what the job asks about besides, that nobody can guess it from; b"" for nothing, or without one."""
        return b"" if self._seal is None else self._seal(self.job.subject())

    @property
    def whose(self) -> tuple[int | Product, bytes, bytes]:
        """Whether another call asks the same: the same for the same product, pictures and subject."""
        return self.job.ticket.about, self.digest(), self.subject


async def read_in_thread(job: Job) -> Payload:
    """What `read` gives, where nobody waits for a job."""
    return await anyio.to_thread.run_sync(read, job)


def read(job: Job, hashed: bool = False, seal: Seal | None = None) -> Payload:
    """The payload of *job*, whose subject *seal* makes; *hashed*: with its digest made.

    Raises InvalidJob naming the file, its flaw, and the cure. Blocking, for a thread.
    """
    contents = []
    for name, image in job.named_images():
        if image.content is not None:
            contents.append(image.content)
        elif image.path is not None:
            content, why = _read(image)
            if why:
                del content, contents
                where = f"{name} ({shown(image.path)})"
                raise InvalidJob(f"job {job.job_id} of user {job.user_id}: {where} {why}", job=job)
            contents.append(content)
        else:
            raise InvalidJob(
                f"job {job.job_id} of user {job.user_id}: {name} has no content any more: make the job anew", job=job
            )
    payload = Payload(job, members(job, contents), seal)
    # What is hashed later is hashed in the event loop.
    if hashed or sum(map(len, contents)) > HASHED_FROM:
        payload.digest()
    return payload


def _read(image: Image) -> tuple[bytes, str]:
    """The content of the file and "", or what is wrong with it."""
    content, why = _opened(image.path or "") if image.uri is None else fetch(image.uri)
    return content, why or flaw(content, image.trusted)


def _opened(path: str) -> tuple[bytes, str]:
    try:
        # O_NONBLOCK: opening a named pipe nobody writes to would hang this thread for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        return b"", f"can not be opened ({error.strerror}): check the path"
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            return b"", "is not a regular file: give the path of a picture"
        if about.st_size > MAX_IMAGE_BYTES:
            return b"", f"has {about.st_size:,} bytes: shrink it below {MAX_IMAGE_BYTES:,}"
        return _drained(descriptor, about.st_size), ""
    except OSError as error:
        return b"", f"can not be read ({error.strerror}): check the disk"
    finally:
        os.close(descriptor)


def _drained(descriptor: int, expected: int) -> bytes:
    """All there is, or a little more than is allowed.

    A byte more than *expected* is asked for: less than asked for is a file's end, so a file of that size takes one call
    and one allocation. Asking for 10 MB costs 50 µs a picture, as much as all else that is done with it.
    """
    pieces: list[bytes] = []
    size = 0
    while size <= MAX_IMAGE_BYTES:
        piece = os.read(descriptor, max(expected - size, 65_536) + 1)
        if not piece:
            break
        pieces.append(piece)
        size += len(piece)
        if size == expected:
            break
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
