"""The callback URL of one job: whoever posts to it knows what was told to the provider alone.

Signatures of either API cover no body, so the URL is what ties a callback to a job of ours.
"""

import hmac
from urllib.parse import urlencode

from smile_async.protocol.signature import Signer

__all__ = ["callback_tokens", "callback_url_of"]


def callback_tokens(signer: Signer, job_id: str) -> list[str]:
    """The URL token of this job, by the present key and by each previous one."""
    message = f"smile_async callback {job_id}".encode()
    return [hmac.digest(key.reveal().encode(), message, "sha256").hex()[:32] for key in signer.keys]


def callback_url_of(base_url: str, signer: Signer, job_id: str, *, named: bool = False) -> str:
    """*base_url* with the unguessable token of *job_id*, and, if *named*, with the job_id itself."""
    told = {"job": job_id} if named else {}
    separator = "&" if "?" in base_url else "?"
    return f"{base_url}{separator}{urlencode({**told, 'token': callback_tokens(signer, job_id)[0]})}"
