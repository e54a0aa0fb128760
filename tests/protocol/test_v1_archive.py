"""archive.py: a zip that every reader opens, streaming ones too, and whose length is known before its first byte."""

import base64
import importlib.util
import inspect
import io
import shutil
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
from ground_support import CANARY, jpeg, png
from hypothesis import given, settings
from hypothesis import strategies as st

from smile_async.jobs.image import Image
from smile_async.jobs.job import Job
from smile_async.protocol.v1.archive import Archive, Member, members

INFO = b'{"images":[]}'
#: Sizes around the edges of a piece, and an empty one.
PIECE_BYTES = 65_536
CONTENTS = (jpeg(body=b"\xff\xd9" * 60_000), png(), jpeg(body=bytes(PIECE_BYTES)), b"", jpeg())


def pictures(*contents: bytes) -> list[Member]:
    """Members with the names that a job gives them."""
    return [Member(f"liveness_{n}.jpg", content, zlib.crc32(content)) for n, content in enumerate(contents)]


@pytest.fixture(scope="module")
def zipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of ours as a file."""
    path = tmp_path_factory.mktemp("archive") / "selfie.zip"
    path.write_bytes(b"".join(Archive(INFO, pictures(*CONTENTS)).pieces()))
    return path


def read_back(archive: Archive) -> dict[str, bytes]:
    """What the stdlib finds in *archive*, checksums verified, in order."""
    with zipfile.ZipFile(io.BytesIO(b"".join(archive.pieces()))) as found:
        assert found.testzip() is None
        return {entry.filename: found.read(entry) for entry in found.infolist()}


def test_the_stdlib_reads_it_back() -> None:
    """Zipfile finds info.json first, then every picture by its name and to the byte."""
    found = read_back(Archive(INFO, pictures(*CONTENTS)))
    assert list(found) == ["info.json", *(f"liveness_{n}.jpg" for n in range(len(CONTENTS)))]
    assert list(found.values()) == [INFO, *CONTENTS]


def test_members_are_stored_without_descriptors(zipped: Path) -> None:
    """Each member is stored, with checksum and sizes in its local header, as a plain file of the year 1980."""
    raw = zipped.read_bytes()
    with zipfile.ZipFile(zipped) as found:
        for entry in found.infolist():
            assert (entry.compress_type, entry.flag_bits) == (zipfile.ZIP_STORED, 0)
            assert entry.extra == entry.comment == b""
            assert (entry.date_time, entry.create_system) == ((1980, 1, 1, 0, 0, 0), 3)
            assert entry.external_attr >> 16 == 0o100600
            local = raw[entry.header_offset : entry.header_offset + 30]
            assert int.from_bytes(local[14:18], "little") == entry.CRC
            assert int.from_bytes(local[18:22], "little") == int.from_bytes(local[22:26], "little") == entry.file_size
            assert local[28:30] == b"\0\0"


@settings(max_examples=60)
@given(
    st.binary(max_size=200),
    st.lists(st.tuples(st.integers(0, 3 * PIECE_BYTES), st.booleans()), max_size=9),
)
def test_the_length_is_right_to_the_byte(info: bytes, shapes: list[tuple[int, bool]]) -> None:
    """For any pictures, inline ones among them, length is that of the bytes, no piece is larger than 64 KiB or empty,
    all but the last are full, and what is not inline can be read back.
    """
    given_ones = []
    for number, (size, inline) in enumerate(shapes):
        content = b"\xa5" * size
        given_ones.append(Member(f"m{number}.jpg", content, zlib.crc32(content), "eA==" if inline else None))
    archive = Archive(info, given_ones)
    pieces = list(archive.pieces())
    assert archive.length == sum(map(len, pieces))
    assert {len(piece) for piece in pieces[:-1]} <= {PIECE_BYTES}
    assert 0 < len(pieces[-1]) <= PIECE_BYTES
    found = read_back(archive)
    assert found == {"info.json": info, **{one.name: one.content for one in given_ones if not one.inline}}


@pytest.mark.parametrize("count", [1, 2])
def test_a_zip_of_whole_pieces_ends_with_a_whole_one(count: int) -> None:
    """Where the length is a multiple of 64 KiB, no empty piece follows the last."""
    room = count * PIECE_BYTES - Archive(INFO, pictures(b"")).length
    assert [len(piece) for piece in Archive(INFO, pictures(bytes(room))).pieces()] == [PIECE_BYTES] * count


def test_it_can_be_sent_again() -> None:
    """A second iteration, even while the first is unfinished, gives the same bytes; so does an equal job."""
    archive = Archive(INFO, pictures(*CONTENTS))
    first = archive.pieces()
    head = next(first)
    assert b"".join(archive.pieces()) == head + b"".join(first)
    assert b"".join(archive.pieces()) == b"".join(Archive(INFO, pictures(*CONTENTS)).pieces())


def test_contents_are_not_copied_as_a_whole() -> None:
    """Streaming a picture of 8 MB takes memory for some pieces, not for the picture."""
    archive = Archive(INFO, pictures(bytes(8_000_000)))
    tracemalloc.start()
    try:
        total = sum(len(piece) for piece in archive.pieces())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == archive.length
    assert peak < 1_000_000


def test_it_shows_no_picture() -> None:
    """The repr of an archive and of its members tells sizes and names, never content."""
    archive = Archive(INFO, pictures(jpeg()))
    assert repr(archive) == f"<Archive of 2 members, {archive.length:,} bytes>"
    assert CANARY not in f"{archive} {pictures(jpeg())!r}"


def test_names_come_from_us() -> None:
    """Whatever the files are called, members are selfie and liveness_n, with the ending their content has."""
    job = Job.authenticate("ada", "../../etc/me.png", liveness=["me.png", "me.png", png()])
    made = members(job, [jpeg(), png(), jpeg(), png()])
    assert [member.name for member in made] == ["selfie.jpg", "liveness_0.png", "liveness_1.jpg", "liveness_2.png"]
    assert [member.crc for member in made] == [zlib.crc32(content) for content in (jpeg(), png(), jpeg(), png())]
    assert [member.content for member in made] == [jpeg(), png(), jpeg(), png()]


def test_frames_alone_keep_their_numbers() -> None:
    """Without a selfie the first frame is liveness_0."""
    job = Job.authenticate("ada", liveness=[jpeg(), jpeg()], use_enrolled_image=True)
    assert [member.name for member in members(job, [jpeg(), jpeg()])] == ["liveness_0.jpg", "liveness_1.jpg"]


def test_inline_pictures_are_not_members() -> None:
    """A picture that travels inside info.json is not in the zip besides."""
    inline = Image.from_bytes(jpeg(), inline=True)
    job = Job.authenticate("ada", inline, liveness=[png(), inline])
    made = members(job, [jpeg(), png(), jpeg()])
    assert [base64.b64decode(member.inline or "") for member in made] == [jpeg(), b"", jpeg()]
    assert list(read_back(Archive(INFO, made))) == ["info.json", "liveness_0.png"]


@pytest.mark.parametrize("contents", [[], [jpeg()] * 2])
def test_contents_must_match_the_job(contents: list[bytes]) -> None:
    """A picture too few or too many is an error, never a job sent without its face."""
    with pytest.raises(ValueError, match="zip"):
        members(Job.authenticate("ada", jpeg()), contents)


COMMANDS = {
    "unzip": ["unzip", "-t", "{path}"],
    "bsdtar": ["bsdtar", "-xOf", "{path}"],
    "bsdtar from a pipe": ["bsdtar", "-xOf", "-"],
    "7z": ["7z", "t", "{path}"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_other_programs_read_it(zipped: Path, name: str) -> None:
    """unzip, libarchive (seeking and streaming) and 7-Zip test the archive and find nothing wrong."""
    command = [part.format(path=zipped) for part in COMMANDS[name]]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    with zipped.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert b"warning" not in (done.stdout[-2000:] + done.stderr).lower()


def test_both_ways_to_a_checksum_give_equal_archives(monkeypatch: pytest.MonkeyPatch) -> None:
    """With isal and without it a job is the same zip, which zipfile finds sound."""

    def archive(blocked: bool) -> bytes:
        with monkeypatch.context() as patched:
            if blocked:
                patched.setitem(sys.modules, "isal", None)
                patched.setitem(sys.modules, "isal.isal_zlib", None)
            spec = importlib.util.spec_from_file_location("chosen_anew", inspect.getfile(Archive))
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            patched.setitem(sys.modules, "chosen_anew", module)
            spec.loader.exec_module(module)
        assert module.crc32.__module__ == ("zlib" if blocked else "isal.isal_zlib")
        job = Job.authenticate("ada", jpeg(), liveness=CONTENTS[:3])
        return b"".join(module.Archive(INFO, module.members(job, [jpeg(), *CONTENTS[:3]])).pieces())

    pytest.importorskip("isal")
    plain = archive(blocked=True)
    assert archive(blocked=False) == plain
    assert zipfile.ZipFile(io.BytesIO(plain)).testzip() is None


JAVA = """
import java.io.*;
import java.util.zip.*;

public class Streaming {
    public static void main(String[] args) throws IOException {
        try (ZipInputStream zip = new ZipInputStream(System.in)) {
            for (ZipEntry entry; (entry = zip.getNextEntry()) != null; zip.closeEntry()) {
                // Known before a byte is read, or a streaming reader could not tell where a stored member ends.
                long size = entry.getSize(), crc = entry.getCrc();
                CRC32 sum = new CRC32();
                byte[] content = zip.readAllBytes();
                sum.update(content);
                if (size != content.length || crc != sum.getValue()) throw new IOException("damaged: " + entry);
                System.out.println(entry.getName() + " " + size + " " + crc);
            }
        }
    }
}
"""


@pytest.mark.skipif(shutil.which("java") is None or shutil.which("javac") is None, reason="no JDK is installed")
def test_java_reads_it_as_a_stream(zipped: Path, tmp_path: Path) -> None:
    """java.util.zip.ZipInputStream, which never sees the directory at the end, finds every member whole."""
    source = tmp_path / "Streaming.java"
    source.write_text(JAVA)
    with zipped.open("rb") as file:
        done = subprocess.run(["java", str(source)], stdin=file, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    whole = {"info.json": INFO, **{f"liveness_{n}.jpg": content for n, content in enumerate(CONTENTS)}}
    assert done.stdout.decode().splitlines() == [
        f"{name} {len(content)} {zlib.crc32(content)}" for name, content in whole.items()
    ]
