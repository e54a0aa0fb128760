r"""Many jobs from a manifest, through a ledger: stopped, crashed or deployed over, a batch goes on where it was.

`smile-async batch` is its command line; programs use `Planner` and `Run` with a session and a ledger of their own.

## Batches that survive anything

`pip install '.[batch]'`, then say who is to be asked about, and run. `me.jpg` is any selfie:

```console
$ printf 'user_id,selfie\nme-1,me.jpg\nme-2,me.jpg\n' > people.csv
$ smile-async batch run people.csv --dry-run
…
$ smile-async batch run people.csv --register --out verdicts.csv
…
approved
…
$ smile-async batch status --ledger people.csv.ledger
…
$ smile-async batch report --ledger people.csv.ledger --out report.html
2 rows in report.html
```

What is about to be sent is on disk before it is sent, in the ledger `people.csv.ledger`. After Ctrl-C, a crash or a
deploy, run the same command again, or `batch resume --ledger people.csv.ledger`: no row is submitted twice.

| command | what it does |
|---|---|
| `batch run MANIFEST` | submits every row once, however often it is run; `--dry-run` sends nothing and needs no key |
| `batch resume` | goes on, as the batch was told |
| `batch status` | how far it is, even while it runs; `--failed`: which rows have failed, and why |
| `batch retry-failed` | goes on, and sends what failed once more |
| `batch report` | writes a page to forward |
| `batch erase --user-id ada` | forgets a person; take them out of the manifest first, or the next run is told anew |
| `batch purge --older-than 90d` | forgets what ended long ago |

Exit codes of a run: 0 every row has its verdict, 2 some are pending, 3 some failed, 4 bad rows.

## The manifest

CSV or JSON lines, of any size.

| column | what is in it |
|---|---|
| `user_id` | whose job it is |
| `selfie`, `liveness` | paths or URIs; several frames with `;` between them, or a pattern such as `ada/*.jpg` |
| `key`, `job_id` | what the row is known by; see below |
| `product`, `job_type` | a name such as `register` or `enhanced_kyc`, or a number; `--product` for all rows |
| `id.country`, `id.type`, `id.number`, `id.first_name` … | an `IdInfo`; the number is a text, in JSON too |
| `front`, `back` | the sides of a document |
| `use_enrolled_image`, `allow_new_enroll`, `consent` | as a `Job` takes them |
| `callback_url`, `param.NAME` | where results are posted, and texts that come back with the verdict |

Without a selfie, a row's frames are compared with the face on file. Save a spreadsheet as "CSV UTF-8"; Excel's other
text formats are read too, where their encoding can be told for sure. In a CSV result an id that a spreadsheet would run
(`=1+1`) has an apostrophe before it, which is taken off when the file is read as a manifest.

A row's job_id is made of the batch's name (`people`) and its key (by default the user_id), whatever the ledger. To send
the same people again next month, give the batch a new `--name`, or the rows a new `key` or `job_id`. A corrected number
is another job: a row that was sent with the old one is refused, by a seal that only your key (or one of
`previous_api_keys`) can make.

## The ledger

It holds ids, paths, digests and verdicts; no pictures, keys or links. Id fields it holds only until a row's last word,
or a failure that no retry mends; `batch status` says of how many rows. It is a file on a local disk, of one process at
a time, or a PostgreSQL database (`--ledger postgresql://user@host/database`), for any number: see
`smile_async.workers`.

Programs get the same with `SmileSession(..., ledger="jobs.ledger")`. After a restart `session.pending()`, an
async iterator, has the tickets without a last word. The README shows the three lines.
"""

from smile_async.batch.manifest import Flaw, Row, job_of, read_manifest
from smile_async.batch.output import render
from smile_async.batch.planning import Planner, job_id_of
from smile_async.batch.running import Run, Tally

__all__ = ["Flaw", "Planner", "Row", "Run", "Tally", "job_id_of", "job_of", "read_manifest", "render"]
