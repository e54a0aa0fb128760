"""Tell in which encoding somebody has saved a manifest: spreadsheets have seven, and most of them do not say which.

A wrong guess is somebody else's name. So a byte-order mark is believed, and UTF-8 where most that is not ASCII is it;
an old code page only where it alone makes words of everything. Where nothing is sure, ASCII alone is read.
"""

import codecs
import io
import re
from pathlib import Path
from typing import BinaryIO

from smile_async.errors import BadConfiguration
from smile_async.log import log

__all__ = ["SAVE", "encoding_of"]

#: What to do about text that can not be read, also in a spreadsheet's own words.
SAVE = "save it as UTF-8 (in Excel: 'CSV UTF-8 (Comma delimited)')"
#: UTF-32 begins as UTF-16 does.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NO_TEXT = {
    b"PK\x03\x04": "a workbook (or another zip)",
    b"\xd0\xcf\x11\xe0": "a workbook of an old Excel",
    b"\x1f\x8b": "compressed",
}
#: What Excel calls CSV, CSV (Macintosh) and CSV (MS-DOS) where Western European languages are written.
_CODE_PAGES = {"cp1252": "Windows", "mac_roman": "Macintosh", "cp850": "MS-DOS"}
#: Characters that are looked at together.
_BLOCK = 1 << 20
#: Different words that tell a code page.
_ENOUGH = 10_000

#: Read as Latin-1, by which each byte is a character.
_NOT_ASCII = re.compile("(?<![A-Za-z'\x80-\xff])[A-Za-z']*+[\x80-\xff][A-Za-z'\x80-\xff]*")
_LETTERS = "àáâãäåæçèéêëìíîïñòóôõöøùúûüœß"
#: Capitals and small letters (U, l), those beyond ASCII (V, m): nobody writes JosÈ, JOSé, PEñA, OÆBrien or Èâàí.
_SHAPE = str.maketrans(
    {
        **dict.fromkeys("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "U"),
        **dict.fromkeys("abcdefghijklmnopqrstuvwxyz", "l"),
        **dict.fromkeys(_LETTERS[:-1].upper(), "V"),
        **dict.fromkeys(_LETTERS, "m"),
    }
)
_WORD = re.compile("[UVlm]*")
_ODD = re.compile("[lm]V|[UV][UV]m|[UV]m[UV]|[UV]VU?[lm]|[Vm]{3}")
_SIGNS = "°ºª€£§–—…«»“”‘·¿¡"  # noqa: RUF001 - they are what is meant


def encoding_of(file: BinaryIO, path: Path) -> str:
    """The encoding of *file*, which is at its beginning afterwards; *path* is its name. Raises BadConfiguration."""
    head = file.read(4096)
    file.seek(0)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    for magic, kind in _NO_TEXT.items():
        if head.startswith(magic):
            raise BadConfiguration(f"the manifest {path} is {kind}, not text: {SAVE}")
    # Every other byte of UTF-16; a single one is its row's flaw.
    if head.count(0) * 4 > len(head):
        raise BadConfiguration(f"the manifest {path} is no text, or UTF-16 without its mark: {SAVE}")
    words, feeds = _words(file)
    # Elsewhere É and a quote, or an apostrophe and é, are one letter of UTF-8 by accident; in UTF-8 damage is rare.
    if 2 * sum(not _is_utf8(word) for word in words) < max(1, len(words)):
        return "utf-8"
    # Nobody but a Macintosh ends lines by CR alone, as it does where it writes its own code page.
    possible = tuple(_CODE_PAGES) if feeds else ("mac_roman",)
    pages = [page for page in possible if all(_reads_well(word, page) for word in words)]
    if len(pages) != 1 or (feeds and pages[0] == "mac_roman"):
        return "ascii"
    log.warning("the manifest %s is not UTF-8 and was read as %s text: %s", path, _CODE_PAGES[pages[0]], SAVE)
    return pages[0]


def _words(file: BinaryIO) -> tuple[set[bytes], bool]:
    """The different words that are not ASCII, and whether there are line feeds."""
    words: set[str] = set()
    feeds = False
    text = io.TextIOWrapper(file, "latin-1", newline="")
    try:
        while len(words) < _ENOUGH and (block := text.read(_BLOCK)):
            block += text.readline(_BLOCK)
            feeds = feeds or "\n" in block
            if not block.isascii():
                words.update(_NOT_ASCII.findall(block))
    finally:
        text.detach()
        file.seek(0)
    return {word.encode("latin-1") for word in words}, feeds


def _is_utf8(word: bytes) -> bool:
    try:
        word.decode()
    except UnicodeDecodeError:
        return False
    return True


def _reads_well(word: bytes, page: str) -> bool:
    text = word.decode(page, "replace")
    if not text.strip(_SIGNS):
        return True
    shapes = [part.rstrip("°ºª").translate(_SHAPE) for part in re.split("['\u2019]", text)]
    return all(_WORD.fullmatch(shape) and not _ODD.search(shape) for shape in shapes)
