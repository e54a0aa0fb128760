"""The official Python SDK, `smile-id-core` 3, awaited: the classes that Smile ID's documentation starts from.

A reader of that documentation adds `async with` and `await` and is done: same arguments in the same order, same
dictionaries in, same bodies out. It only translates; the work is `SmileSession`'s.

## Migrating from the official Python SDK

| you import from `smile_id_core` | import from `smile_async.webapi` |
|---|---|
| `WebApi`, `IdApi`, `BusinessVerification`, `Utilities` | the same; their calls are awaited, inside `async with` |
| `Signature`, and the `validate_` functions of `Utilities` | the same; they ask nobody, and are not awaited |
| `ImageTypes`, `JobType` | the same, also from `smile_async.webapi.constants` |
| `ServerError` | the same name, for `smile_async.errors.SmileError` |

```python
import asyncio
import os
import uuid
from smile_async.webapi import ImageTypes, JobType, WebApi

async def main():
    server = os.environ.get("SMILE_BASE_URL", "0")  # the SDK's sid_server: "0" is Smile ID's sandbox, "1" production
    account = (os.environ["SMILE_PARTNER_ID"], "", os.environ["SMILE_API_KEY"], server)
    async with WebApi(*account, ca_file=os.environ.get("SMILE_CA_FILE")) as connection:
        params = {"user_id": "ada", "job_id": str(uuid.uuid4()), "job_type": JobType.SMART_SELFIE_AUTHENTICATION}
        images = [{"image_type_id": ImageTypes.SELFIE_FILE, "file_name": "selfie.jpg"}]
        body = await connection.submit_job(params, images, {}, {"return_job_status": True})
        print(body["result"]["ResultText"], "approved" if body["result"]["ResultCode"] == "0820" else "no")

asyncio.run(main())
```

What is better than before without another change: a lost answer does not become a second job, replies are believed only
if your key has signed them, and a call that waits holds no thread. Errors are this library's (`smile_async.errors`),
which tell a refusal from an outage and carry the ticket.

What differs: where the SDK gives up after its 20 questions (74 s), `submit_job` raises `StillPending` once its patience
is over; get_web_token raises `Refused` where the SDK gives the refusal's body back.

Then go on to `connection.session`, which is a `SmileSession`: `verify` gives a typed `Verdict` instead of a dictionary,
and `verdict.approved` instead of a code to compare.

## From another language's SDK

The words are the same: a partner id, a key, job types, `user_id` and `job_id`, result codes. What those SDKs call
`submit_job` with `return_job_status` is `session.verify(job)`; without it, `session.submit(job)`. A `job_type` is a
constructor of `Job` (`smile_async.jobs`), and their `images` are its arguments.
"""

from smile_async.errors import SmileError
from smile_async.webapi.base import Base, Utilities
from smile_async.webapi.constants import ImageTypes, JobType
from smile_async.webapi.id_api import BusinessVerification, IdApi
from smile_async.webapi.signature import Signature
from smile_async.webapi.web_api import WebApi

__all__ = [
    "Base",
    "BusinessVerification",
    "IdApi",
    "ImageTypes",
    "JobType",
    "ServerError",
    "Signature",
    "Utilities",
    "WebApi",
]

ServerError = SmileError
