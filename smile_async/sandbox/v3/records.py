"""A job that came by V3: the same record, whose codes are V3's words and whose job_id is the TypeID."""

from dataclasses import dataclass, field
from typing import Any

from smile_async.sandbox.records import JobRecord

from .products import V3_PRODUCTS, V3Product
from .words import decision_in, meaning_in, word_of

__all__ = ["V3Job"]


@dataclass(kw_only=True)
class V3Job(JobRecord):
    """One job of V3; a code is a status and its reason, such as "clear" and "block:spoof_detected".

    `details` are its user_details, `consent` what was granted. `origin`: where it was sent to, such as
    `https://127.0.0.1:8443`. `at_once`: whether it was asked for by an endpoint that answers with the result;
    `key` is the idempotency key that came with it, `outcome` what it comes to unless a script says otherwise.
    """

    api: str = "v3"
    details: dict[str, Any] = field(default_factory=dict, repr=False)
    consent: dict[str, Any] = field(default_factory=dict, repr=False)
    origin: str = ""
    at_once: bool = False
    key: str = ""
    outcome: str = ""

    @property
    def kind(self) -> V3Product:
        """What product it is a job of."""
        return V3_PRODUCTS[self.product]

    def decides(self, code: str) -> str:
        """What *code* decides about this job."""
        return decision_in(code)

    def means(self, code: str) -> str:
        """What *code* means, for people."""
        return meaning_in(code)

    def said(self, code: str) -> str:
        """*code*, which may be one of v1's, as V3 says it."""
        return word_of(code, self.job_type)
