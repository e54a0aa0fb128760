"""What the tests of V3 in ledgers, batches and workers share: Amina, her rows, a session, and answers that get lost."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from street import QUICK, Pictures

from smile_async import Consent, Job, Person, SmileSession
from smile_async.sandbox import JobRecord, RunningSandbox
from smile_async.testing import LIVENESS, SELFIE_JPEG

#: Whose every job is clear.
AMINA = Person("Amina Fatou", "Clearwater", "amina.clearwater@example.com")
PERSON = {f"person.{name}": value for name, value in AMINA.fields().items()}
#: In no file once a row is over.
SECRETS = (b"Amina", b"Clearwater", b"clearwater", b"00000000000")
CONSENT = Consent("https://shop.example/privacy")
#: Those of V3 that a stranger can be of.
PRODUCTS = (
    *("smartselfie", "compare", "biometric_kyc", "doc_verification", "enhanced_document_verification"),
    *("enhanced_kyc", "aml_check"),
)


def session_v3(running: RunningSandbox, **more: Any) -> SmileSession:
    """A session, not yet entered, that speaks V3 at test speed."""
    return SmileSession(**{**running.account_v3, "consent": CONSENT, "pace": QUICK, **more})


def registration(job_id: str = "j1", user_id: str = "bob", **more: Any) -> Job:
    """Of Amina's face."""
    about = {"liveness": LIVENESS, "person": AMINA, **more}
    return Job.register(user_id, about.pop("selfie", SELFIE_JPEG), job_id=job_id, **about)


def row_v3(product: str, number: int, pictures: Pictures, **more: Any) -> dict[str, Any]:
    """Row *number* of a manifest, for a user of its own."""
    row: dict[str, Any] = {"user_id": f"u{number}", "key": f"k{number}", "product": product, **PERSON}
    if product not in ("enhanced_kyc", "aml_check"):
        row |= {"selfie": pictures.selfie_path, "liveness": ";".join(pictures.liveness_paths[:6])}
    if "doc" in product:
        row |= {"id.country": "NG", "id.type": "PASSPORT", "front": pictures.liveness_paths[7]}
    elif "kyc" in product:
        row |= {"id.country": "NG", "id.type": "NIN_V2", "id.number": "00000000000"}
    elif product == "aml_check":
        row |= {"id.full_name": "Amina Clearwater", "id.countries": "NG;GH", "id.birth_year": "1971"}
    elif product == "compare":
        row |= {"comparison": pictures.liveness_paths[7], "comparison_type": "id_photo"}
    return {**row, **more}


def manifest_v3(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """A manifest as a program writes it."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def taken(running: RunningSandbox, job_id: str) -> list[JobRecord]:
    """The provider's jobs of ours."""
    return [job for job in running.sandbox.jobs.values() if job.partner_params.get("smile_async_job") == job_id]


def lose_answers(running: RunningSandbox, times: int | None = 1, **which: Any) -> None:
    """Let submissions be taken, and their answers be cut off."""
    running.sandbox.fault("submit", cut=True, effect=True, times=times, **which)
