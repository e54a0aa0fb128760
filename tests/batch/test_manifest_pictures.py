"""Pictures of a manifest: files beside it, or in a storage; a cell that is a picture or a secret is not repeated."""

import base64
import json
from pathlib import Path

import pytest
from ground_support import jpeg

from smile_async.batch import Flaw, Row, job_of, read_manifest

ENCODED = base64.b64encode(jpeg(body=bytes(range(256)))).decode()


def rows_of(path: Path, *rows: dict[str, object]) -> list[Row | Flaw]:
    """What a manifest of *rows* is read as."""
    path.write_text("\n".join(map(json.dumps, rows)))
    return list(read_manifest(path))


def test_a_cell_names_a_file_or_a_place_in_a_storage(tmp_path: Path) -> None:
    """A path is looked for beside the manifest, a URI is fetched as it is; the job has both."""
    (row,) = rows_of(tmp_path / "m.jsonl", {"user_id": "ada", "selfie": "a.jpg", "liveness": ["s3://b/c.jpg", "d.jpg"]})
    assert isinstance(row, Row)
    images = job_of(row, "j1").images
    assert [image.path for image in images] == [f"{tmp_path}/a.jpg", "s3://b/c.jpg", f"{tmp_path}/d.jpg"]
    assert [image.uri for image in images] == [None, "s3://b/c.jpg", None]


@pytest.mark.parametrize("column", ["selfie", "liveness"])
@pytest.mark.parametrize(
    ("cell", "why"),
    [
        (ENCODED, "is a picture in base64"),
        (f"data:image/jpeg;base64,{ENCODED}", "is a picture in base64"),
        ("https://host/a.jpg?X-Amz-Signature=canary", "has a user name, a query or a fragment"),
        ("s3://me:canary@bucket/a.jpg", "has a user name, a query or a fragment"),
        ("ftp://host/canary", "does not begin with one of s3"),
        ("file:///canary", "does not begin with one of s3"),
        ("zip://canary::https://host/a.zip", "is chained"),
    ],
)
def test_what_must_not_be_kept_is_a_flaw_of_its_row(tmp_path: Path, column: str, cell: str, why: str) -> None:
    """A picture itself, a credential and other schemes are refused before the row is written down, and not repeated."""
    row = {"user_id": "ada", "selfie": "a.jpg", column: cell if column == "selfie" else [cell]}
    flaw, next_row = rows_of(tmp_path / "m.jsonl", row, {"user_id": "bob", "selfie": "b.jpg"})
    assert isinstance(flaw, Flaw)
    assert (flaw.line, flaw.user_id, why in flaw.why) == (1, "ada", True)
    assert ENCODED[:20] not in flaw.why
    assert "canary" not in flaw.why
    assert isinstance(next_row, Row)
