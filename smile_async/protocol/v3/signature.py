"""The signature in a webhook's headers: over its timestamp and the partner id, as in v1, and over nothing it says."""

from collections.abc import Sequence

from smile_async.errors import ForgedReply, StaleReply
from smile_async.protocol.signature import Secret, Signer, parse_timestamp

__all__ = ["FRESH_FOR", "HeaderSigner"]

#: Seconds a signed timestamp may lie from now, either way; no window is published, partners use 5 to 15 minutes
#: (v3/wire.md §8).
FRESH_FOR = 300.0


class HeaderSigner:
    """Checks what claims to come from Smile ID, for a partner id as the portal shows it and as the API wants it.

    Which of the two is signed, nobody knows (v3/wire.md §8): both are tried, always.
    """

    __slots__ = ("_signers",)

    def __init__(self, partner_id: str, api_key: Secret, previous: Sequence[Secret] = ()) -> None:
        bare = partner_id.lstrip("0")
        forms = dict.fromkeys((partner_id, bare, bare.zfill(3)))
        self._signers = tuple(Signer(form, api_key, previous) for form in forms)

    def check(self, timestamp: str, signature: str, now: float, tolerance: float) -> None:
        """Raise ForgedReply, or StaleReply, unless *signature* was made for *timestamp* not long before *now*."""
        if not (timestamp and signature):
            raise ForgedReply("it carries no signature")
        # A list, not a generator: every form is tried, so the time does not tell which one fits.
        if not any([signer.confirms(timestamp, signature) for signer in self._signers]):  # noqa: C419
            raise ForgedReply("its signature was made with another key or for another timestamp")
        said = parse_timestamp(timestamp)
        if said is None:
            raise StaleReply("its timestamp has no zone or no date that can be read")
        if not abs(now - said) <= tolerance:
            raise StaleReply(f"it was signed {abs(now - said):.0f} s away from now, more than {tolerance:.0f} s")
