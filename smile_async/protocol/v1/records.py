"""What a result says of the person, the document or the company, without the words that stand for nothing."""

from collections.abc import Mapping
from typing import Any

__all__ = ["read_record"]

#: What a result says of the job (wire.md §6, §13): all else in it is about whom the job is about.
_OF_THE_JOB = frozenset(
    {
        *("SmileJobID", "PartnerParams", "ResultCode", "ResultText", "ResultType", "Actions", "ConfidenceValue"),
        *("Source", "timestamp", "signature", "sec_key", "JSONVersion", "IsFinalResult", "IsMachineResult", "success"),
        *("ImageLinks", "image_links", "KYCReceipt", "Antifraud", "code", "job_complete", "job_success", "history"),
    }
)
#: Seen where an authority has nothing to say (wire.md §13).
_ABSENT = frozenset({"Not Available", "N/A", "NaN-NaN-NaN", ""})
#: Levels that are looked through; published samples have five.
_DEEPEST = 20


def read_record(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The record in *result*, by the provider's names."""
    own = {name: value for name, value in result.items() if name not in _OF_THE_JOB}
    return _present(own, _DEEPEST) if own else own


def _present(value: Any, deeper: int) -> Any:
    """*value* without what is absent in it; None if it is absent itself."""
    if isinstance(value, str):
        return None if value.strip() in _ABSENT else value
    if deeper and isinstance(value, dict):
        return {name: item for name, said in value.items() if (item := _present(said, deeper - 1)) is not None}
    if deeper and isinstance(value, list):
        return [item for said in value if (item := _present(said, deeper - 1)) is not None]
    return value
