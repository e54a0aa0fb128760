"""Take out of a text what a ticket must not hold: what is known to be secret, and what looks like it.

Findings are worded here and hold nothing of the kind, but what a server says against a request may repeat it.
"""

import re

__all__ = ["Redaction"]

_HIDDEN = "[hidden]"
#: Characters; a shorter text would be found within innocent words.
_SHORTEST = 6
#: What a URL has behind its host, which may be a credential; but for our own base URLs.
_URL = re.compile(r"(https?://[^\s/?#\"'<>]+)(?!/v[13](?=[\s,;]|\Z))[/?#][^\s\"'<>]*")
_LOOKS_SECRET = re.compile(
    r"eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?"  # a JWT
    r"|[A-Za-z0-9+/]{43}="  # a signature
    r"|(?<![\w.-])[\w-]{40,}(?![\w.-])"  # a token; labels of host names stand beside dots
    r"|(?<![\w.:-])\d{9,}(?![\w.:-])"  # a number of an id
)


class Redaction:
    """Knows the secrets of one examination."""

    def __init__(self, *secrets: str) -> None:
        self._secrets: set[str] = set()
        self.hide(*secrets)

    def __repr__(self) -> str:
        return f"<Redaction of {len(self._secrets)} secrets>"

    def hide(self, *secrets: str) -> None:
        """Let none of *secrets* through from now on."""
        self._secrets |= {secret for secret in secrets if len(secret) >= _SHORTEST}

    def clean(self, text: str) -> str:
        """*text* without them, and without what looks like a credential or the number of an id."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, _HIDDEN)
        return _LOOKS_SECRET.sub(_HIDDEN, _URL.sub(r"\1/…", text))
