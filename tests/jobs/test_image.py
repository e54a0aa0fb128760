"""image.py: what can be seen in the first bytes of a picture is seen, and the picture itself never shows."""

import base64
import copy
import hashlib
import io
import os
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict
from pathlib import Path
from typing import Any

import pytest
from ground_support import CANARY, frames_holding, jpeg, jpeg_header, png
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Picture
from pydantic import TypeAdapter

from smile_async.errors import InvalidJob
from smile_async.jobs.image import MAX_IMAGE_BYTES, Image, flaw, media_type, shown
from smile_async.jobs.job import Job


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
        ("YCbCr", "JPEG", {"quality": 95, "exif": b"Exif\0\0" + bytes(30_000)}),
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


@pytest.mark.parametrize("frame", [0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF])
def test_every_kind_of_frame_header_is_known(frame: int) -> None:
    """Baseline, extended and progressive frames are taken; lossless, differential and arithmetic ones few can read."""
    usual = frame in (0xC0, 0xC1, 0xC2)
    assert flaw(jpeg(3, frame=frame)) == ("" if usual else FLAWS["lossless"][1])
    assert "greyscale" in flaw(jpeg(1, frame=frame))


def test_fill_bytes_and_bare_markers_are_passed_over() -> None:
    """Bytes of 0xFF before a marker, and markers without a length, are legal (T.81 B.1.1.2) and do no harm."""
    assert flaw(jpeg()[:2] + b"\xff\xff\xff\xff\x01\xff\xd0" + jpeg()[2:]) == ""


BEHIND = {
    "nothing": b"",
    "zeros": bytes(300_000),
    "a motion photo's film": b"\0\0\0\x18ftypmp42" + bytes(range(255)) * 4_000,
    "the second picture of an MPO": jpeg(comment="second") + bytes(1_000),
}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
def test_what_follows_a_whole_picture_does_no_harm(behind: bytes) -> None:
    """Phones append films, depth maps and further pictures: the end of the first is found before them."""
    assert flaw(drawn("RGB", "JPEG") + behind) == ""
    assert flaw(drawn("RGB", "PNG") + behind) == ""


def test_a_thumbnail_does_not_end_a_picture() -> None:
    """A photo that was cut off is refused although its EXIF holds a whole picture."""
    exif = jpeg()[:2] + b"\xff\xe1" + (len(jpeg()) + 2).to_bytes(2, "big") + jpeg() + jpeg()[2:]
    assert flaw(exif) == ""
    assert "has no end: the file was cut off" in flaw(exif[:-2])


@pytest.mark.parametrize("filling", [b"\xff", b"\xff\x01", b"\xff\xe0\0\2", b"\xff" * 9_000 + b"\x01"])
def test_a_hostile_header_is_left_soon(filling: bytes) -> None:
    """Of fill bytes and segments only so many are looked at: the frame behind a megabyte of them is not reached."""
    hostile = b"\xff\xd8\xff" + (filling * (1_000_000 // len(filling)))[1:] + jpeg()[2:]
    assert "damaged header" in flaw(hostile)
    few = b"\xff\xd8\xff" + (filling * 7)[1:] + jpeg()[2:]
    assert flaw(few) == ""


def test_a_trusted_picture_is_only_looked_at_from_outside() -> None:
    """Who knows better may send what looks odd; what is empty, too large or of another format stays refused."""
    for content in (jpeg(1), jpeg(frame=0xC3), jpeg()[:-2], drawn("CMYK", "JPEG"), drawn("L", "PNG")):
        text = base64.b64encode(content).decode()
        images = [Image.from_bytes(content, trusted=True), Image.from_base64(text, trusted=True)]
        assert [image.content for image in images] == [content] * 2
    for content in (b"", b"GIF89a", jpeg(body=bytes(MAX_IMAGE_BYTES))):
        with pytest.raises(InvalidJob):
            Image.from_bytes(content, trusted=True)
    assert Image.from_path("a.jpg", trusted=True).trusted


@pytest.mark.parametrize("name", ["inline", "trusted"])
def test_flags_are_bool(name: str) -> None:
    """The text "false" of a form is refused, not taken for true."""
    with pytest.raises(InvalidJob, match=f"image: {name} is str: give True or False"):
        Image.from_bytes(jpeg(), **{name: "false"})  # type: ignore[arg-type]


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
    "jpeg of no width": (jpeg(size=(0, 80)), "has no width or no height"),
    "jpeg of no height": (jpeg(size=(64, 0)), "has no width or no height"),
    "png of no width": (png(size=(0, 20)), "has no width or no height"),
    "png of no height": (png(size=(20, 0)), "has no width or no height"),
    "cmyk": (drawn("CMYK", "JPEG"), "is CMYK: convert it to RGB"),
    "12 bits": (jpeg(frame=0xC1).replace(b"\xff\xc1\0\x11\x08", b"\xff\xc1\0\x11\x0c"), "12 or more bits a channel"),
    "lossless": (jpeg(frame=0xC3), "is a lossless, arithmetic or hierarchical JPEG: save an ordinary one"),
    "jpeg without an end": (jpeg(body=bytes(100_000))[:-2], "has no end: the file was cut off, send it whole"),
    "png without an end": (png()[:-12] + bytes(100), "has no end: the file was cut off, send it whole"),
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
def test_a_picture_cut_at_any_byte_is_refused(data: st.DataObject) -> None:
    """However little of a picture is missing, it is never taken for a whole one."""
    whole = data.draw(st.sampled_from([jpeg(), png(), drawn("RGB", "JPEG"), drawn("RGB", "PNG")]))
    assert flaw(whole[: data.draw(st.integers(0, len(whole) - 1))]) != ""
    assert flaw(whole) == ""


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


@pytest.mark.parametrize("path", ["", "a\0b", os.fsencode("a.jpg"), None, 5, "\ud800.jpg"])
def test_what_can_not_be_a_path_is_refused(path: str) -> None:
    """An empty path, one with a NUL, one that no file system can hold, or what is no text is refused at once."""
    with pytest.raises(InvalidJob, match=r"path is empty or not text: give the path of a \.jpg or \.png file"):
        Image.from_path(path)


ENCODED = base64.b64encode(jpeg()).decode()
AS_PATHS = {
    "base64": ENCODED,
    "the start of a jpeg's": ENCODED[:60],
    "of a png": base64.b64encode(png()).decode(),
    "URL-safe": base64.urlsafe_b64encode(jpeg()).decode(),
    "in lines": base64.encodebytes(jpeg()).decode(),
    "damaged by a form": ENCODED.replace("+", " "),
    "in quotes": f'"{ENCODED}"',
    "of anything": base64.b64encode(CANARY.encode() * 20).decode(),
    "a data URI": f"data:image/jpeg;base64,{ENCODED}",
    "a loud one": f" DATA:image/webp;base64,{ENCODED}",
}


@pytest.mark.parametrize("text", AS_PATHS.values(), ids=AS_PATHS)
def test_a_picture_given_as_its_path_is_not_repeated(text: str) -> None:
    """Base64 where a path belongs is told apart, and neither message nor traceback shows a piece of it."""
    for make in (
        Image.from_path,
        lambda given: Job.register("ada", given),
        lambda g: Job.register("a", "b.jpg", liveness=[g]),
    ):
        with pytest.raises(InvalidJob, match=r"is a picture in base64: use Image\.from_base64") as caught:
            make(text)
        assert text[20:50] not in str(caught.value)
        assert frames_holding(caught.value, text[20:50]) == []


@pytest.mark.parametrize(
    "path", ["/9j/photo.jpg", "9j/4", "/9j/archive/4", "iVBORw0KGgo.png", "/a" * 100, "daten:/x.jpg", "a b/c.jpg"]
)
def test_a_path_that_looks_odd_is_a_path(path: str) -> None:
    """What is short, or has a dot, may be a file's name, though it begin as base64 does."""
    assert Image.from_path(path).path == path


def test_a_path_longer_than_any_is_refused() -> None:
    """Texts that no system opens do not travel into logs and ledgers."""
    assert Image.from_path("a" * 90 + ".jpg" * 1_000).path is not None
    with pytest.raises(InvalidJob, match="image path has 5,000 characters, more than any path"):
        Image.from_path("a." * 2_500)


def test_paths_in_messages_are_short_and_on_one_line() -> None:
    """What a file is called does not break a log, nor fill it."""
    assert shown("faces/José.jpg") == "faces/José.jpg"
    assert shown("a\nb\udcff.jpg") == "a\\nb\\udcff.jpg"
    assert len(shown("x" * 4_000)) == 161


# -- by URI -----------------------------------------------------------------------------------------------------------

SECRET = "https://me:canary@host/a/b.jpg?sig=canary#canary"


@pytest.mark.parametrize("scheme", ["s3", "gs", "gcs", "az", "abfs", "https"])
def test_pictures_lie_in_storages(scheme: str) -> None:
    """A URI of a scheme on the list is kept as it is, for the storage library alone."""
    image = Image.from_uri(f"{scheme}://bucket/a@b.jpg")
    assert (image.uri, image.path) == (f"{scheme}://bucket/a@b.jpg", f"{scheme}://bucket/a@b.jpg")


@pytest.mark.parametrize(
    "again", [lambda value: value, copy.copy, copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))]
)
def test_no_secret_of_a_uri_is_shown(again: Callable[[Image], Image]) -> None:
    """User, password and query of a URI travel with a picture, but no repr and no serialiser shows them."""
    image = again(Image.from_uri(SECRET, trusted=True))
    assert (image.uri, image.trusted, image.path) == (SECRET, True, "https://host/a/b.jpg")
    for text in (repr(image), str(asdict(image)), TypeAdapter(Image).dump_json(image).decode()):
        assert "canary" not in text


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "",
            "a.jpg",
            "s3:/b/k",
            "http://host/canary",
            "ftp://host/canary",
            "file:///canary",
            "memory://canary",
            None,
            5,
        ),
        *("zip://canary::https://host/a.zip", "s3://b/k::simplecache", "S3://b/canary", "s3://" + "canary" * 1_000),
    ],
)
def test_other_uris_are_refused(uri: str) -> None:
    """What is on no list, chained, or no URI at all is refused, and not repeated."""
    with pytest.raises(
        InvalidJob, match="does not begin with one of s3, gs, gcs, az, abfs, https:// or is chained"
    ) as caught:
        Image.from_uri(uri)
    assert "canary" not in str(caught.value)
    assert frames_holding(caught.value, "canary") == []


@pytest.mark.parametrize("uri", [SECRET, "s3://b/k.jpg", "ftp://127.0.0.1/x", "zip://x::https://y", "file:///a.jpg"])
def test_a_text_is_a_local_path(uri: str) -> None:
    """A text with a scheme is not fetched, wherever a path may stand: only from_uri fetches."""
    for make in (Image.from_path, lambda given: Job.authenticate("ada", given)):
        with pytest.raises(InvalidJob, match=r"is a URI: use Image\.from_uri") as caught:
            make(uri)
        assert "canary" not in str(caught.value)


# -- base64 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prefix", ["", "data:image/jpeg;base64,", "DATA:image/JPG;charset=x;Base64,", "data:image/png;base64,"]
)
@pytest.mark.parametrize("inline", [False, True])
def test_base64_is_decoded(prefix: str, inline: bool) -> None:
    """Base64 as text or bytes, with or without a data: prefix, broken into lines or not, is the picture."""
    text = base64.encodebytes(jpeg()).decode().replace("\n", "\r\n")
    safe = text.replace("+", "-").replace("/", "_").replace("=", "")
    for given_text in (prefix + text, (prefix + text).encode(), f"\n {prefix}{safe} \n", memoryview(text.encode())):
        image = Image.from_base64(given_text, inline=inline)
        assert (image.content, image.inline, image.size) == (jpeg(), inline, len(jpeg()))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("!!!!", "is not valid base64: encode the whole file"),
        ("AAAAA", "is not valid base64"),
        (ENCODED.rstrip("=")[:-1], "has no end"),
        (base64.b64encode(jpeg(body=bytes(range(256)))).decode().replace("+", " "), "has blanks, as where a form"),
        (ENCODED[:40] + "\t" + ENCODED[40:], "is not valid base64"),
        (ENCODED[:40] + "\0" + ENCODED[40:], "is not valid base64"),
        (None, "base64 is NoneType: give a text"),
        (3, "base64 is int: give a text"),
        ([], "base64 is list: give a text"),
        ("é" + base64.b64encode(jpeg()).decode(), "is not valid base64"),
        ("data:image/gif;base64,R0lGODlh", "data URI is not image/jpeg or image/png: give a JPEG or PNG"),
        ("data:text/html,<p>", "data URI is not image/jpeg"),
        ("data:image/jpeg", "data URI is not image/jpeg"),
        ("data:image/jpeg,%FF%D8", "data URI is not base64: give data:image/jpeg;base64,"),
        (base64.b64encode(b"hello").decode(), "neither JPEG nor PNG"),
        (base64.b64encode(jpeg(1)).decode(), "greyscale"),
    ],
)
def test_each_flaw_of_base64_is_named(text: Any, words: str) -> None:
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
    with pytest.raises((FrozenInstanceError, TypeError)):
        Image.from_bytes(jpeg()).content = b""
    with pytest.raises(FrozenInstanceError):
        Image.from_bytes(jpeg()).size = 1  # type: ignore[misc]


def test_spent_keeps_size_and_digest() -> None:
    """What is left of an accepted picture is its size, its digest and how it travelled; spending twice is harmless."""
    image = Image.from_bytes(jpeg(), inline=True).spent()
    assert (image.content, image.inline, image.size) == (None, True, len(jpeg()))
    assert image.sha256 == hashlib.sha256(jpeg()).digest()
    assert image.spent() is image


def test_a_digest_that_is_known_is_not_made_again() -> None:
    """A digest that the reader of the file took already is kept."""
    assert Image(content=jpeg(), sha256=b"known").spent().sha256 == b"known"
