"""Version 3 of the API: one multipart request a job, a token with each, and ids that the server makes.

Pure, like all of the protocol: bodies in and out are bytes, tokens are handed in, and somebody else carries them. What
is known of the wire, with sources, stands in wire.md beside this file.

## The new API behind the same verbs

Smile ID calls v1 legacy. V3 is chosen by `api="v3"` or `SMILE_API=v3`; nothing is guessed. `verify`, `submit`, `wait`,
`follow`, `stream`, ledgers and receivers are the same. Each job also says whom it is about, and what this person agreed
to: a `Person`, and a `Consent`, the session's or the job's own. With an account at Smile ID
`SmileSession.from_env(api="v3", consent=...)` is all that changes; offline it looks like this:

```python
import asyncio
from smile_async import Consent, Job, Person, SmileSession
from smile_async.sandbox import Sandbox
from smile_async.testing import LIVENESS, SELFIE_JPEG

AMINA = Person("Amina Fatou", "Clearwater", email="amina.clearwater@example.com")
CONSENT = Consent("https://you.example/privacy")

async def main():
    face = {"selfie": SELFIE_JPEG, "liveness": LIVENESS, "person": AMINA}
    async with Sandbox.serve() as smile, SmileSession(**smile.account_v3, consent=CONSENT) as session:
        await session.verify(Job.register("amina", **face))
        verdict = await session.verify(Job.authenticate("amina", **face))
        print(verdict.code, "approved" if verdict.approved else "not approved")

asyncio.run(main())
```

It prints `clear approved`. The person is one of Smile ID's test identities: in the sandbox the name decides.

## What differs

| | v1 | V3 |
|---|---|---|
| a job needs | a selfie | also a `Person`, a `Consent`, and 6 to 8 `liveness` frames; faces are JPEG |
| `ticket.job_id` | ours, and the provider's key | ours; it travels as a partner parameter and in the callback URL |
| `ticket.smile_job_id` | a number, for information | the provider's TypeID; None until the 202 arrived |
| a job_id used twice | `JobExists` | two jobs; a ledger and a session's own memory refuse the second |
| the answer to a submission is lost | resumed, one job | `SubmissionUnknown`, never sent again by us |
| `verdict.code` | four digits | `clear`, `block`, `attention` or `error` |
| `verdict.reason`, `verdict.claims` | None, nothing | what a webhook told; neither is ever confirmed |
| provisional verdicts | yes | never: `until="decision"` is `until="final"` |
| web tokens | `session.web_token` | not there |
| a webhook once more | not there | `session.replay(ticket)` |
| `Job.compare` | not there | yes |
| Basic KYC, Business Verification, Update Photo | yes | not there: InvalidJob names the API that has it |

`wait` and `follow` of a ticket without TypeID listen for a webhook until patience ends. Tickets, ledgers and receivers
of one API are refused by the other.

## Tokens

One token serves all requests (`tokens="shared"`), is fetched once however many ask, and is renewed before it ends.
`tokens="per_job"` fetches one for the product and user of each job, as the newest official SDK does.

## Webhooks

The receiver of `smile_async.callbacks` takes them: `receiver.url_for(base_url, job_id)` is a job's callback URL. The
signature is in the headers, and covers neither body nor ids. So `/v3/status` is asked before anybody hears of it. A
webhook may complete a ticket that has no TypeID only if it came to the URL made for that job, status names the same
user, and the job is neither another ticket's nor older than the submission. Anything else is dropped, and logged.
"""
