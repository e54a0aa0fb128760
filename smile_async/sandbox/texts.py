"""How the sandbox says things to people: cut to size, durations in words, of an address only its host."""

from urllib.parse import urlsplit

__all__ = ["clip", "host_in", "place_of", "seconds_text"]


def clip(text: object, limit: int = 120) -> str:
    """*text* with its end cut off if it is long."""
    said = str(text)
    return said if len(said) <= limit else said[: limit - 1] + "…"


def seconds_text(seconds: float) -> str:
    """A duration for people: `0.5 s`, `90 s`, `2 h`."""
    if seconds >= 7200:
        return f"{seconds / 3600:.3g} h"
    return f"{seconds / 60:.3g} min" if seconds > 120 else f"{seconds:.4g} s"


def host_in(url: str) -> str:
    """Host and port of *url*, "" if there are none: the rest of a callback URL may be a secret."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def place_of(url: str) -> str:
    """Where *url* leads, as far as it may be seen: `https://shop.example/…`; "" if it is none."""
    host = host_in(url)
    return f"{url.partition(':')[0]}://{clip(host)}/…" if host else ""
