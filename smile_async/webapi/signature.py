"""The official SDK's `Signature`: pure arithmetic, so it is not awaited."""

import time

from smile_async.protocol.signature import Secret, Signer, format_timestamp
from smile_async.webapi.types import SignatureParams

__all__ = ["Signature"]


class Signature:
    """Signs as one partner, and checks what claims to be signed for it. Raises BadConfiguration, a ValueError."""

    def __init__(self, partner_id: str, api_key: str | Secret) -> None:
        key = Secret(api_key)
        del api_key
        self._signer = Signer(partner_id, key)

    @property
    def partner_id(self) -> str:
        """Whose signatures they are."""
        return self._signer.partner_id

    def generate_signature(self, timestamp: str | None = None) -> SignatureParams:
        """The signature for *timestamp* (ISO 8601; by default now), and that timestamp."""
        timestamp = format_timestamp(time.time()) if timestamp is None else timestamp
        return {"signature": self._signer.sign(timestamp), "timestamp": timestamp}

    def confirm_signature(self, timestamp: str, msg_signature: str) -> bool:
        """Whether *msg_signature* was made for *timestamp*; it proves nothing of what stands beside it."""
        return self._signer.confirms(timestamp, msg_signature)
