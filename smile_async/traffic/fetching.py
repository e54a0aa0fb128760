"""Pictures that are not on this machine's disk: `Image.from_uri`, read through fsspec (extra `workers`).

Workers on several machines see the same pictures only on a shared path, or here. Credentials are the storage library's
business (its environment, its files); what a URI itself carries of them is never shown.
"""

import os
import re
import ssl
from collections.abc import Iterable
from glob import glob

from smile_async.jobs.image import MAX_IMAGE_BYTES

__all__ = ["by_number", "fetch", "matching"]

_WILDCARD = re.compile(r"[*?\[]")


def fetch(uri: str) -> tuple[bytes, str]:
    """The content at *uri*, at most one byte more than a picture may have, and "", or why there is none. Blocking."""
    try:
        import fsspec  # noqa: PLC0415 - another extra
    except ImportError:
        return b"", "can not be read: run  pip install 'smile-async[workers]'"
    try:
        with fsspec.open(uri, "rb") as file:
            return file.read(MAX_IMAGE_BYTES + 1), ""
    except ImportError as missing:
        return b"", f"can not be read: fsspec needs one more package ({missing})"
    except Exception as error:  # noqa: BLE001 - every storage library has errors of its own, some with signed URLs
        return b"", f"can not be read ({_words(error)}): check the URI, and the credentials of the storage"


def _words(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such object"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    told: BaseException | None = error
    while told is not None:
        if isinstance(told, ssl.SSLError):
            return "TLS failed: let SSL_CERT_FILE, or the storage library's own variable, name the CA"
        told = told.__cause__ or told.__context__
    # aiohttp's, by which fsspec reads https.
    status = getattr(error, "status", None)
    return f"HTTP {status}" if isinstance(status, int) else type(error).__name__


def matching(pattern: str, folder: str = "") -> list[str]:
    """The files that *pattern* means: itself if it is one, or else what its wildcards match, frame_10 after frame_9.

    Seen from *folder*, whose own name is no pattern.
    """
    if not _WILDCARD.search(pattern) or os.path.exists(os.path.join(folder, pattern)):  # noqa: PTH110, PTH118 - texts
        return [pattern]
    return by_number(glob(pattern, root_dir=folder or None))  # noqa: PTH207 - Path.glob takes no absolute pattern


def by_number(names: Iterable[str]) -> list[str]:
    """*names* in natural order: the numbers in them count as numbers."""
    return sorted(names, key=lambda name: [(len(part), part) for part in re.split(r"(\d+)", name)])
