"""image.py: what can be seen in the first bytes of a picture is seen, and the picture itself never shows."""

import base64
import hashlib
import io
import os
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from ground_support import CANARY, frames_holding, jpeg, jpeg_header, png
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture

from smile_async.errors import InvalidJob
from smile_async.jobs.image import MAX_IMAGE_BYTES, Image, flaw, media_type


def drawn(mode: str, kind: str, **options: object) -> bytes:
    """A real picture."""
    out = io.BytesIO()
    Picture.new(mode, (40, 30)).save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    [
        ("RGB", "JPEG", {}),
        ("RGB", "JPEG", {"progressive": True, "comment": "hello", "dpi": (300, 300)}),
        ("CMYK", "JPEG", {}),
        ("RGB", "PNG", {}),
        ("RGBA", "PNG", {}),
        ("P", "PNG", {}),
    ],
)
def test_real_colour_pictures_have_no_flaw(mode: str, kind: str, options: dict[str, object]) -> None:
    """What a real encoder writes in colour is taken, whatever its layout."""
    content = drawn(mode, kind, **options)
    assert flaw(content) == ""
    assert media_type(content) == f"image/{kind.lower()}"
    assert Image.from_bytes(content).content == content


@pytest.mark.parametrize("frame", [0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC9, 0xCF])
def test_every_kind_of_frame_header_is_known(frame: int) -> None:
    """Baseline, extended, progressive, lossless, differential and arithmetic frames tell their components alike."""
    assert flaw(jpeg(3, frame=frame)) == ""
    assert "greyscale" in flaw(jpeg(1, frame=frame))


def test_fill_bytes_and_bare_markers_are_passed_over() -> None:
    """Bytes of 0xFF before a marker, and markers without a length, are legal (T.81 B.1.1.2) and do no harm."""
    assert flaw(jpeg()[:2] + b"\xff\xff\xff\xff\x01\xff\xd0" + jpeg()[2:]) == ""


FLAWS = {
    "empty": (b"", "is empty: take"),
    "text": (b"hello, I am no picture", "neither JPEG nor PNG: convert"),
    "gif": (drawn("RGB", "GIF"), "neither JPEG nor PNG: convert"),
    "grey jpeg": (drawn("L", "JPEG"), "greyscale: Smile ID compares colour pictures, send the original"),
    "jpeg of two components": (jpeg(2), "greyscale"),
    "grey png": (drawn("L", "PNG"), "greyscale"),
    "grey png with alpha": (drawn("LA", "PNG"), "greyscale"),
    "black and white png": (drawn("1", "PNG"), "greyscale"),
    "too big": (jpeg(body=bytes(MAX_IMAGE_BYTES)), "shrink it below 10,000,000"),
    "no frame before the scan": (jpeg()[:2] + jpeg()[jpeg_header(jpeg()) :], "truncated or damaged header"),
    "no frame before the end": (b"\xff\xd8\xff\xd9\xff\xd9", "truncated or damaged header"),
    "garbage after the start": (b"\xff\xd8\xff\xe0\0\4ab" + bytes(40), "truncated or damaged header"),
    "a segment without length": (b"\xff\xd8\xff\xe0\0\1" + bytes(40), "truncated or damaged header"),
    "a frame too short": (b"\xff\xd8\xff\xc0\0\7" + bytes(40), "truncated or damaged header"),
    "jpeg of no size": (jpeg(size=(0, 0)), "truncated or damaged header"),
    "png of no width": (png(size=(0, 20)), "truncated or damaged header"),
    "png of no height": (png(size=(20, 0)), "truncated or damaged header"),
    "png without IHDR": (png().replace(b"IHDR", b"IHDX"), "truncated or damaged header"),
}


@pytest.mark.parametrize("name", FLAWS)
def test_each_flaw_is_named_with_its_cure(name: str) -> None:
    """A picture that would be billed and then fail is refused, with the cause and what to do about it."""
    content, words = FLAWS[name]
    assert words in flaw(content)
    with pytest.raises(InvalidJob, match="image ") as caught:
        Image.from_bytes(content)
    assert words in str(caught.value)


def test_the_size_limit_is_the_last_byte_that_fits() -> None:
    """A picture of exactly 10 MB is taken."""
    room = MAX_IMAGE_BYTES - len(jpeg())
    assert flaw(jpeg(body=bytes(room))) == ""
    assert flaw(jpeg(body=bytes(room + 1))) != ""


@given(st.data())
def test_a_header_cut_at_any_byte_is_refused(data: st.DataObject) -> None:
    """However short a picture was cut within its header, it is never taken for a whole one."""
    whole, header = data.draw(st.sampled_from([(jpeg(), jpeg_header(jpeg())), (png(), 33)]))
    cut = data.draw(st.integers(0, header - 1))
    assert flaw(whole[:cut]) != ""
    assert flaw(whole[:header]) == ""


@settings(max_examples=300)
@given(st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", jpeg()[:20], png()[:16]]), st.binary(max_size=80))
def test_no_bytes_crash_the_check(start: bytes, rest: bytes) -> None:
    """Any bytes at all give a text, never an exception."""
    assert isinstance(flaw(start + rest), str)


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_picture_does_not_crash_the_check(data: st.DataObject) -> None:
    """A real picture with one byte changed gives a text, never an exception."""
    content = bytearray(data.draw(st.sampled_from([jpeg(), png(), drawn("RGB", "JPEG")])))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(flaw(bytes(content)), str)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_any_kind_are_copied(kind: type) -> None:
    """A buffer that its owner changes afterwards does not change the picture."""
    source = bytearray(jpeg())
    image = Image.from_bytes(kind(source))
    source[-3:] = b"xyz"
    assert image.content == jpeg()
    assert image.size == len(jpeg())


def test_text_instead_of_bytes_is_refused() -> None:
    """A path or base64 given as content is told apart, and not shown."""
    with pytest.raises(InvalidJob, match="image content is str, not bytes: read the file, or use from_path") as caught:
        Image.from_bytes(CANARY)  # type: ignore[arg-type]
    assert frames_holding(caught.value, CANARY) == []


def test_paths_are_not_touched() -> None:
    """A picture named by a path is not looked for until the job is submitted."""
    image = Image.from_path(Path("no", "such.jpg"))
    assert image.path == str(Path("no", "such.jpg"))
    assert (image.content, image.size, image.inline) == (None, None, False)
    assert image.spent() is image


@pytest.mark.parametrize("path", ["", "a\0b", os.fsencode("a.jpg")])
def test_what_can_not_be_a_path_is_refused(path: str) -> None:
    """An empty path, one with a NUL, or one given as bytes is refused at once."""
    with pytest.raises(InvalidJob, match=r"path is empty or not text: give the path of a \.jpg or \.png file"):
        Image.from_path(path)


@pytest.mark.parametrize(
    "prefix", ["", "data:image/jpeg;base64,", "DATA:image/JPG;charset=x;Base64,", "data:image/png;base64,"]
)
@pytest.mark.parametrize("inline", [False, True])
def test_base64_is_decoded(prefix: str, inline: bool) -> None:
    """Base64 as text or bytes, with or without a data: prefix, broken into lines or not, is the picture."""
    text = base64.encodebytes(jpeg()).decode().replace("\n", "\r\n")
    for given_text in (prefix + text, (prefix + text).encode()):
        image = Image.from_base64(given_text, inline=inline)
        assert (image.content, image.inline, image.size) == (jpeg(), inline, len(jpeg()))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("!!!!", "is not valid base64: encode the whole file"),
        (base64.b64encode(jpeg()).decode()[:-1], "is not valid base64"),
        ("é" + base64.b64encode(jpeg()).decode(), "is not valid base64"),
        ("data:image/gif;base64,R0lGODlh", "data URI is not image/jpeg or image/png: give a JPEG or PNG"),
        ("data:text/html,<p>", "data URI is not image/jpeg"),
        ("data:image/jpeg", "data URI is not image/jpeg"),
        ("data:image/jpeg,%FF%D8", "data URI is not base64: give data:image/jpeg;base64,"),
        (base64.b64encode(b"hello").decode(), "neither JPEG nor PNG"),
        (base64.b64encode(jpeg(1)).decode(), "greyscale"),
    ],
)
def test_each_flaw_of_base64_is_named(text: str, words: str) -> None:
    """Broken base64, other media types and every flaw of the picture inside are refused with the cure."""
    with pytest.raises(InvalidJob, match="image ") as caught:
        Image.from_base64(text)
    assert words in str(caught.value)


@pytest.mark.parametrize("content", [jpeg(1), b"no picture at all, but " + CANARY.encode()])
def test_no_traceback_holds_the_picture(content: bytes) -> None:
    """A refused picture is in no local of our frames, neither as bytes nor as base64."""
    text = base64.b64encode(content).decode()
    for make, source in ((Image.from_bytes, content), (Image.from_base64, text), (Image.from_base64, text + "!")):
        with pytest.raises(InvalidJob) as caught:
            make(source)  # type: ignore[operator]
        assert frames_holding(caught.value, CANARY, text[20:50]) == []


def test_the_leak_finder_finds() -> None:
    """The check above would see a picture, were there one: it sees what a frame of the library's holds."""
    with pytest.raises(TypeError) as caught:
        media_type(CANARY)  # type: ignore[arg-type]
    assert [line.rsplit(" ", 1)[-1] for line in frames_holding(caught.value, CANARY)] == ["media_type"]


def test_a_picture_never_shows() -> None:
    """Neither repr nor str of an image holds its content."""
    image = Image.from_bytes(jpeg())
    assert CANARY not in f"{image!r} {image} {image.spent()!r}"


def test_images_are_immutable() -> None:
    """An image stays what was checked."""
    with pytest.raises(FrozenInstanceError):
        Image.from_bytes(jpeg()).content = b""  # type: ignore[misc]


def test_spent_keeps_size_and_digest() -> None:
    """What is left of an accepted picture is its size, its digest and how it travelled; spending twice is harmless."""
    image = Image.from_bytes(jpeg(), inline=True).spent()
    assert (image.content, image.inline, image.size) == (None, True, len(jpeg()))
    assert image.sha256 == hashlib.sha256(jpeg()).digest()
    assert image.spent() is image


def test_a_digest_that_is_known_is_not_made_again() -> None:
    """A digest that the reader of the file took already is kept."""
    assert Image(content=jpeg(), sha256=b"known").spent().sha256 == b"known"
