"""What is said: jobs of every product, pictures, tickets, verdicts, and what a result code means.

Pure values: no wire name, no file, no clock. It may touch errors and urls.

## Every product

A constructor of `Job` for each, and the same verbs for all: `verify`, `submit`, `wait`, `stream`. The first argument is
a `user_id`; what else is needed:

| product (job type) | constructor | what it needs |
|---|---|---|
| SmartSelfie Authentication (2) | `Job.authenticate` | `selfie` |
| SmartSelfie Registration (4) | `Job.register` | `selfie` |
| Update Photo (8) | `Job.update_photo` | `selfie` |
| Biometric KYC (1) | `Job.biometric_kyc` | `selfie`, and `IdInfo` with a number, or `id_card=` |
| Document Verification (6) | `Job.document_verification` | `selfie`, `Document(country, front, back)` |
| Enhanced Document Verification (11) | `Job.enhanced_document_verification` | the same, with its `id_type` |
| Enhanced KYC (5) | `Job.enhanced_kyc` | `IdInfo` |
| Basic KYC (5) | `Job.basic_kyc` | `IdInfo` |
| Business Verification (7) | `Job.business_verification` | `IdInfo` |
| Compare (V3 alone) | `Job.compare` | `selfie`, `comparison`, `comparison_type` |
| AML Check (10) | `Job.aml_check` | `full_name`, `countries`; only by `verify` and `stream` |

Which fields of an `IdInfo` an id type needs says `smile-async services`, or `session.catalogue` in a program. An id
number is a text, for its leading zeros.

```python
import asyncio
from smile_async import IdInfo, Job, SmileSession

async def main():
    number = IdInfo("NG", "BVN", "00000000000", first_name="Grace", last_name="Obi", dob="1990-01-31")
    async with SmileSession.from_env() as session:
        kyc = await session.verify(Job.biometric_kyc("grace", "selfie.jpg", number), until="final")  # enrols her
        login = await session.verify(Job.authenticate("grace", "selfie.jpg"))
        print(kyc.decision, kyc.record.get("FullName"), login.decision)

asyncio.run(main())
```

`verdict.record` is what the authority, the document or the list says. It is personal: no repr and no serialiser shows
it, unless you name it.

## Pictures

A selfie, a frame or a side of a document is a path, bytes or an `Image`: `Image.from_path`, `from_bytes`,
`from_base64`, or `from_uri` for `s3://`, `gs://`, `az://` and `https://` (extra `workers`). A text is always a path.
Six to eight `liveness` frames of the same moment prove that a living person was there. A file that is no JPEG or PNG,
is grey, cut off or larger than 10 MB is refused before a byte leaves.

## Verdicts

`verdict.decision` is one of:

| decision | what it says |
|---|---|
| `approved` | yes; with `verdict.confirmed` it is `verdict.approved`, the only test that should open a door |
| `provisional` | so far yes; a human reviewer may overturn it |
| `rejected` | no |
| `attention` | finished, and for a person of yours to look at |
| `error` | the job failed at Smile ID |
| `unknown` | a code that no public source explains; never approved |

`verdict.final` is false while a review may still change it. `verdict.code` is Smile ID's own: `explain("0812")`, or
`smile-async explain 0812`, says what is known of it for each job type.
"""
