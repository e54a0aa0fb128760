"""In production: how much at once, what an outage does, and what a log line, a span or a figure says.

This storey carries jobs: it reads pictures, uploads, polls, wakes whoever waits, and confirms callbacks. It may touch
all that is below: timing, jobs, protocol, settings, transport and ledger. It does not know the session.

## Before the first day

- Make one `SmileSession` for each process, when it starts, and leave it when it ends. It belongs to one event loop and
  serves any number of tasks.
- Give it the account as `smile_async.settings` says, and pin `SMILE_UPLOAD_HOSTS` to the host of your account.
- Give it a ledger (`ledger="jobs.ledger"`, or a `postgresql://` URL), or keep each ticket yourself. Otherwise a crash
  loses track of jobs that Smile ID goes on with.
- Let in on `verdict.approved` alone.
- A new key: set it, and name the old one in `previous_api_keys`. Replies that the old one signed are still believed.
- Behind a proxy: `trust_env=True` takes it from the environment.

## How much at once

`Limits` bounds what a session does, and `Pace` how eagerly it asks.

| knob | default | what it bounds |
|---|---|---|
| `Limits.uploads` | 16 | jobs whose pictures are in memory: this is the memory bound |
| `Limits.requests` | 240 | API requests in flight |
| `Limits.pending` | 100,000 | jobs of streams that wait; each takes some 3 kB |
| `Limits.jobs_per_second` | None | new jobs |
| `Pace.person`, `Pace.price` | 4, 0.5 | what a second less of waiting is worth in polls: to a person, to a stream |
| `Limits.eager_polls` | 200 | polls a second from which nobody is asked about more eagerly than a stream's jobs |
| `patience=` of each call | 120 s | how long you wait; it never cancels a job |

`session.stats` is a snapshot: `submitted`, `pending`, `finished`, `failed`, `polls`, `retries`, `in_flight`, and the
HTTP version of either server.

## When Smile ID is away

A request is tried three times at most, and a session has a budget for retries. An outage is one event. Where nobody is
home (refused connections, 502, 503, 504, silence, on five jobs and more within a second), requests of that kind to that
server wait, and one at a time asks whether it is over, after 0.1 to 5 seconds. That costs neither attempts nor the
budget. Where one user's alone fail, the others' go their way. While nobody's jobs can be sent a stream pulls none, and
a batch notes no failures. Who runs out of patience gets `Unavailable`, which names the outage.

After a 429 the session waits as long as `Retry-After` says, five minutes at most.

## What the log says

One logger, `smile_async`, with no handler of its own. No line holds a key, a picture, a presigned URL or an id number.
With `logging.basicConfig(level=logging.INFO)` a healthy job is one line.

| level | line, for example | what it means |
|---|---|---|
| INFO | `job 7f3e: approved (0820)` | a job has its verdict |
| INFO | `StillPending: still pending after 120 s (user ada, job 7f3e)` | a call ended with this error |
| INFO | `chunk 12 of batch people: done` | a worker has come to the end of a chunk |
| WARNING | `retry 1 of job 7f3e: no answer from smile id` | a request is tried again |
| WARNING | `connection retired (broken)` | a connection is given up; its requests go elsewhere |
| WARNING | `a connection could not be closed (OSError)` | nothing is lost |
| WARNING | `smile id at … is away (HTTP 502): everybody waits, one request at a time tries again` | an outage begins |
| WARNING | `smile id at … answers again after 12.5 s` | it is over |
| WARNING | `this machine's clock is 86400 s off; signing with the server's time` | mend your clock; jobs go on |
| WARNING | `job 7f3e gives no dob, which NG NIN_V2 needs (said once)` | sent anyway |
| WARNING | `job 7f3e has 3 liveness frames: liveness is judged by 6 to 8 (said once in a session)` | sent anyway |
| WARNING | `the reply of job 7f3e carries no signature: /job_status is asked` | the answer of that is believed |
| WARNING | `the manifest people.csv is not UTF-8 and was read as Windows text: …` | look whether the names are right |
| WARNING | `chunk 12 was let go: …`, `…; trying again` | a worker lost its lease or its database; others take over |
| WARNING | `3 tasks did not end when they were cancelled: the session is left without them` | your handler hangs |
| ERROR | `the ledger can not be written: …` | nothing more is sent until it can |
| ERROR | `the ledger was closed before it could be written: 3 notes are lost` | those jobs are asked about again |
| ERROR | `the ledger is closed: what was to be noted of job 7f3e is lost` | the same, of one job |
| ERROR | `the ledger has refused what was to be noted of job 7f3e (DataError)` | the same; please report it |
| ERROR | `the session could not close everything (TimeoutError)` | a connection or the ledger was left open |
| ERROR | `on_tick failed (ValueError)` | code of yours, or of ours, raised in a task; nobody else notices |
| ERROR | `the session's poller has ended: …` | the session is closed; whoever waits gets SessionClosed |
| ERROR | `the poller stumbled (OSError) and goes on` | please report it |
| ERROR | `a reply about job 7f3e could not be handled: please report it` | that one job fails |
| ERROR | `job 7f3e could not be sent: please report it` | that job of a stream is a Failed |
| ERROR | `chunk 12 failed (KeyError): please report it` | it is tried again a minute later |
| ERROR | `chunk 12 could not be claimed (OSError)` | the same |

Lines about callbacks stand in `smile_async.callbacks`. DEBUG has the polls that failed and the retries of an outage.

Fields, for handlers that write JSON (`record.smile_job_id`):

| lines | fields |
|---|---|
| a verdict | `smile_job_id`, `smile_user_id`, `smile_decision`, `smile_code`, `smile_final` |
| an error | `smile_job_id`, `smile_user_id`, `smile_error` |
| a retry | `smile_job_id`, `smile_attempt`, `smile_sent` (`unsent`, `ambiguous` or `answered`) |
| a connection | `smile_why`, `smile_requests` |
| a contradicted callback | `smile_job_id`, `smile_claim`, `smile_code` |
| a refused callback | `smile_status`: what the sender was answered |

## Spans and metrics

With `pip install '.[otel]'` and an OpenTelemetry SDK of yours:

| kind | name | attributes |
|---|---|---|
| span | `smile_async.upload` | `smile_async.job_id`, `smile_async.job_type`: one job with pictures on its way |
| span | `smile_async.request` | the same, of a job without pictures |
| span | `smile_async.poll` | `smile_async.job_id`: one status query, linked to the upload of the same session |
| counter | `smile_async.jobs` | `smile_async.outcome` (a decision or an error's name), `smile_async.code` |
| histogram | `smile_async.wait` | `smile_async.decision`; seconds from upload to verdict |

No user, key or URL is in them. One gap is httpcore's: at DEBUG its own logger writes response headers, the `Location`
of a redirect included.
"""
