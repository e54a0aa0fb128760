"""multipart.py, pieces.py: a body that the standard library reads back, of a length known before its first byte."""

import email
import hashlib
import tracemalloc
from email.message import Message

import pytest
from ground_support import CANARY, jpeg
from hypothesis import given
from hypothesis import strategies as st

from smile_async.protocol.pieces import pieces_of
from smile_async.protocol.v3.multipart import Multipart, Part


def read_back(body: Multipart) -> list[Message]:
    """What the stdlib finds in *body*."""
    head = f"MIME-Version: 1.0\r\nContent-Type: {body.media_type}\r\n\r\n".encode()
    found = email.message_from_bytes(head + b"".join(body.pieces()))
    assert found.is_multipart()
    return [part for part in found.walk() if not part.is_multipart()]


def test_every_part_is_read_back() -> None:
    """Names, types, file names and contents arrive to the byte, in their order."""
    picture = jpeg(body=bytes(range(256)) * 40)
    parts = [
        Part("user_id", "ádá".encode()),
        Part("consent", b'{"granted":true}', "application/json"),
        Part("selfie_image", picture, "image/jpeg", "selfie.jpg"),
    ]
    body = Multipart(parts, b"seed")
    found = read_back(body)
    assert [part.get_payload(decode=True) for part in found] == [part.content for part in parts]
    assert [part.get_param("name", header="Content-Disposition") for part in found] == [part.name for part in parts]
    assert [part.get_filename() for part in found] == [None, None, "selfie.jpg"]
    assert [part.get("Content-Type") for part in found] == [None, "application/json", "image/jpeg"]
    assert CANARY not in f"{body!r} {parts!r}"


@given(st.lists(st.binary(max_size=300), max_size=6), st.binary(max_size=8), st.integers(1, 400))
def test_the_length_is_known(contents: list[bytes], seed: bytes, size: int) -> None:
    """The arithmetic agrees with the bytes, whatever the pieces; equal parts and seed give equal bytes."""
    parts = [Part("liveness_images", content, "image/jpeg", "l.jpg") for content in contents]
    body = Multipart(parts, seed)
    pieces = list(body.pieces(size))
    assert body.length == sum(map(len, pieces))
    assert all(len(piece) == size for piece in pieces[:-1])
    assert b"".join(pieces) == b"".join(Multipart(parts, seed).pieces())
    assert all(body.boundary.encode() not in content for content in contents)


def test_a_boundary_that_occurs_is_not_taken() -> None:
    """Contents that hold the first boundaries of the row get the next, and are read back all the same."""
    row = [f"smile-async-{hashlib.sha256(b'seed' + bytes((0, 0, 0, n))).hexdigest()[:32]}" for n in range(3)]
    nasty = b"\r\n--".join(boundary.encode() for boundary in row[:2])
    body = Multipart([Part("a", b"1"), Part("b", nasty)], b"seed")
    assert Multipart([Part("a", b"1")], b"seed").boundary == row[0]
    assert body.boundary == row[2]
    assert [part.get_payload(decode=True) for part in read_back(body)] == [b"1", nasty]


def test_no_picture_is_copied_as_a_whole() -> None:
    """To make and read a body of 4 MB takes less memory than half of one picture."""
    pictures = [bytes(1_000_000) for _ in range(4)]
    tracemalloc.start()
    try:
        body = Multipart([Part("p", picture) for picture in pictures], b"")
        assert sum(len(piece) for piece in body.pieces()) == body.length > 4_000_000
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("parts", [[], [b""], [b"", b""]])
def test_nothing_has_no_pieces(parts: list[bytes]) -> None:
    """A body without bytes is no piece, not an empty one, which would end a chunked body."""
    assert list(pieces_of(parts, 4)) == []
