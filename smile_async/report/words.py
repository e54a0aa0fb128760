"""What a report says in words: to somebody who was sent it, and has neither the disk nor the library's vocabulary.

Where a code is known the table of codes has the word. Folders of the machine that ran the batch are nobody's business,
and may hold a customer's name: of a path the last part is said.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from smile_async.jobs.codes import meaning_of
from smile_async.jobs.image import shown
from smile_async.jobs.product import Product
from smile_async.ledger.rows import product_in
from smile_async.settings import environment_of

__all__ = ["ENDS", "about", "environment", "failure", "public", "reason"]

#: What became of rows, for who reads it the first time.
ENDS: Mapping[str, str] = {
    "approved": "passed the check",
    "attention": "finished, and for a person to look at",
    "provisional": "a reviewer has the last word",
    "rejected": "did not pass it",
    "error": "checked without a result",
    "unknown": "an answer that is not documented",
    "failed": "not sent, or without an answer",
    "pending": "no verdict yet",
}
#: Errors by what they mean, where no code says more.
_ERRORS = {
    "Unavailable": "Smile ID could not be reached, or did not answer",
    "NotAuthorized": "the account was refused: its key, its number or the environment is wrong",
    "RateLimited": "Smile ID asked for fewer requests",
    "Refused": "Smile ID refused the job",
    "UserNotEnrolled": "the person is not registered",
    "AlreadyEnrolled": "the person is registered already",
    "JobExists": "the job's id was used before",
    "JobNotFound": "Smile ID does not know the job",
    "UploadFailed": "the pictures could not be stored",
    "UnreadableReply": "an answer could not be read",
    "ForgedReply": "an answer could not be trusted",
    "StaleReply": "an answer was too old to be trusted",
    "InvalidJob": "the row can not be sent as it is",
}
_SERVERS = {
    "production": "Production: real checks",
    "sandbox": "Sandbox: test data, no real checks",
    "other": "Not a server of Smile ID: a trial, or a proxy",
}
#: The folders of a path; those of a URI come after its host, behind a colon and two slashes.
_FOLDERS = re.compile(r"(?<![\w:/.])(?:[A-Za-z]:)?[/\\](?:[^/\\\s'\"()]+[/\\])+")


def environment(account: str | None) -> tuple[str, str]:
    """Which server *account*, as the ledger has it, is at ("production", "sandbox", "other" or ""), and in words."""
    if account is None:
        return "", "Nothing was sent yet"
    name = environment_of(account.rpartition(" at ")[2]) or "other"
    return name, _SERVERS[name]


def public(text: str, paths: Iterable[str] = ()) -> str:
    """*text* without the folders of *paths*, and of whatever else looks like a path."""
    for path in paths:
        text = text.replace(shown(path), Path(shown(path)).name)
    return _FOLDERS.sub("", text)


def about(row: Mapping[str, Any]) -> int | Product:
    """What the meaning of a code of *row* depends on: its product, if that is known, else its job type."""
    return product_in(row) or int(row["job_type"])


def reason(code: str, kind: int | Product) -> str:
    """What *code* says of a job."""
    meaning = meaning_of(code, kind)
    return "a code that is not documented" if meaning is None else meaning.text


def failure(row: Mapping[str, Any]) -> str:
    """Why the job of *row* has failed, so that equal causes have equal words."""
    if meaning_of(row["error_code"] or "", about(row)) is not None:
        return reason(row["error_code"], about(row))
    if row["error"] != "InvalidJob" or not row["error_text"]:
        return _ERRORS.get(row["error"] or "", f"another error ({row['error']})")
    user = row["user_id"]
    text = str(row["error_text"])
    for whose in (f"job {row['job_id']} of user {user}: ", f"user {user}: ", f"user {user!r}: "):
        text = text.removeprefix(whose)
    for path in _pictures(row):
        text = text.replace(f" ({shown(path)})", "")
    # Neither the cure nor how many bytes or which frame: that is what differs from row to row.
    text = re.sub(r"liveness\[\d+\]", "a liveness picture", text.partition(": ")[0])
    return public(re.sub(r"has [\d,]+ bytes", "is too large", text), _pictures(row))


def _pictures(row: Mapping[str, Any]) -> list[str]:
    spec = orjson.loads(row["spec"] or "{}")
    return [path for path in (*map(spec.get, ("selfie", "front", "back")), *spec.get("liveness", ())) if path]
