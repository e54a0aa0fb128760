"""Jobs that every client of Smile ID must be able to do: what it says of them, and the code it is answered with.

They are asked of the sandbox in this order, by each official SDK in a process of its own. A job's pictures are given by
their types (wire.md §5.3): 0, 1, 4, 5 are files, 2, 3, 6, 7 travel in base64.
"""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["CASES", "Case"]

BVN = {"country": "NG", "id_type": "BVN", "id_number": "00000000000"}
FIRM = {"country": "NG", "id_type": "BUSINESS_REGISTRATION", "id_number": "0000000", "business_type": "co"}
KENYA = {"country": "KE", "id_type": "IDENTITY_CARD"}


@dataclass(frozen=True)
class Case:
    """One job, `name` its job_id; `code` is its ResultCode, or with `refused` that of the API's no."""

    name: str
    job_type: int
    code: str
    pictures: tuple[int, ...] = ()
    id_info: dict[str, Any] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    user: str = ""
    use_enrolled_image: bool = False
    refused: bool = False

    @property
    def partner_params(self) -> dict[str, Any]:
        """Ids, type and what else is to be echoed."""
        ids = {"user_id": self.user or f"user-of-{self.name}", "job_id": self.name}
        return {**ids, "job_type": self.job_type, **self.params}


FRAMES, INLINE_FRAMES = (4,) * 8, (6,) * 8
CASES = (
    Case("register", 4, "0840", (0, *FRAMES), user="ada"),
    Case("authenticate", 2, "0820", (0, *FRAMES), user="ada"),
    Case("register-inline", 4, "0840", (2, *INLINE_FRAMES)),
    Case("register-rejected", 4, "0841", (0,), params={"sandbox_result": "1"}),
    Case("kyc-entered", 1, "0810", (0,), {**BVN, "entered": True}),
    Case("kyc-entered-inline", 1, "0810", (2, *INLINE_FRAMES), {**BVN, "entered": True}),
    Case("kyc-not-found", 1, "1013", (0,), {**BVN, "id_number": "00000000001", "entered": True}),
    Case("kyc-card", 1, "0810", (0, 1), {**BVN, "entered": False}),
    Case("kyc-card-both-sides", 1, "0810", (2, 3, 7), {**BVN, "entered": False}),
    Case("document", 6, "0810", (0, 1), KENYA),
    Case("document-both-sides", 6, "0810", (0, 1, 5), KENYA),
    Case("document-inline", 6, "0810", (2, 3, 7), {"country": "KE"}),
    Case("document-rejected", 6, "0811", (0, 1), KENYA, {"sandbox_result": "1"}),
    Case("document-of-the-enrolled", 6, "0810", (1,), KENYA, user="ada", use_enrolled_image=True),
    Case("enhanced-document", 11, "0810", (0, 1, 5), KENYA),
    Case("update", 8, "0880", (0,), user="ada"),
    Case("lookup", 5, "1012", id_info=BVN),
    Case("lookup-not-found", 5, "1013", id_info={**BVN, "id_number": "00000000001"}),
    Case("lookup-odd-format", 5, "1014", id_info={**BVN, "id_number": "00000000002"}),
    Case("lookup-authority-down", 5, "1015", id_info={**BVN, "id_number": "00000000003"}),
    Case("lookup-told", 5, "1012", id_info={**BVN, "id_number": "00000000004"}, params={"FullName": "Grace Hopper"}),
    Case("business", 7, "1012", id_info=FIRM),
    Case("business-not-found", 7, "1013", id_info={**FIRM, "id_number": "0000001"}),
    Case("stranger", 2, "2210", (0,), refused=True),
    Case("again", 4, "2209", (0,), user="ada", refused=True),
    Case("register", 4, "2215", (0,), refused=True),
    Case("lookup", 5, "2215", id_info=BVN, refused=True),
    Case("business-odd", 7, "2413", id_info={**FIRM, "id_type": "BAKERY"}, refused=True),
)
