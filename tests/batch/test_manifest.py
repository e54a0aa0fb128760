"""Manifests: what spreadsheets and programs write is read, and what can not be used is named with its line."""

import json
from pathlib import Path

import pytest

from smile_async.batch import Flaw, Row, read_manifest
from smile_async.errors import BadConfiguration


def read(path: Path, text: str | bytes, job_type: int = 2) -> list[Row | Flaw]:
    """What a manifest of this text says."""
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(read_manifest(path, job_type))


def test_a_manifest_from_a_spreadsheet(tmp_path: Path) -> None:
    """A byte-order mark, CRLF, quotes, quoted line ends, semicolons and blank lines are what spreadsheets write."""
    text = '\ufeffuser_id;selfie;liveness;param.note\r\nada;"a;b.jpg";;"two\r\nlines"\r\n\r\n"gr""ace";s.png;x.jpg;\r\n'
    ada, grace = read(tmp_path / "m.csv", text)
    assert isinstance(ada, Row)
    assert isinstance(grace, Row)
    assert (ada.line, ada.key, ada.selfie, dict(ada.params)) == (
        2,
        "ada",
        f"{tmp_path}/a;b.jpg",
        {"note": "two\r\nlines"},
    )
    assert (grace.line, grace.user_id, grace.liveness, dict(grace.params)) == (5, 'gr"ace', (f"{tmp_path}/x.jpg",), {})


def test_a_manifest_of_json_lines(tmp_path: Path) -> None:
    """A JSON line may hold lists, numbers and partner parameters; what is wrong is said with its line."""
    good = {"user_id": 7, "key": "k", "selfie": "/s.jpg", "liveness": ["a.jpg", "s3://b/c.jpg"], "params": {"a": 1}}
    bad = ['{"user_id": "x"', "[1]", '{"user_id":"x","selfie":"s","hair":"red"}', '{"selfie":"s"}', '{"user_id":true}']
    bad += ['{"user_id":"x","liveness":[1]}', '{"user_id":"x","params":[1]}']
    first, *rest = read(tmp_path / "m.jsonl", "\n".join([json.dumps({**good, "job_type": "register"}), "", *bad]))
    assert isinstance(first, Row)
    assert (first.user_id, first.key, first.selfie, first.job_type) == ("7", "k", "/s.jpg", 4)
    assert first.liveness == (f"{tmp_path}/a.jpg", "s3://b/c.jpg")
    assert [(flaw.line, flaw.why[:16]) for flaw in rest if isinstance(flaw, Flaw)] == [
        (3, "is not JSON (une"),
        (4, "is a list: give "),
        (5, "has an unknown f"),
        (6, "has no user_id"),
        (7, "user_id is bool:"),
        (8, "liveness holds i"),
        (9, "'list' object ha"),
    ]


def test_liveness_as_a_pattern_or_a_list(tmp_path: Path) -> None:
    """Frames may be a pattern (frame_10 after frame_9), a list with semicolons, or a JSON list in a cell."""
    for number in (10, 9, 1):
        (tmp_path / f"frame_{number}.jpg").touch()
    text = 'user_id,selfie,liveness\na,s,frame_*.jpg\nb,s,x.jpg; y.jpg\nc,s,"[""z.jpg""]"\nd,s,none_*.jpg\n'
    a, b, c, d = read(tmp_path / "m.csv", text)
    assert isinstance(a, Row)
    assert isinstance(b, Row)
    assert isinstance(c, Row)
    assert [Path(name).name for name in a.liveness] == ["frame_1.jpg", "frame_9.jpg", "frame_10.jpg"]
    assert [Path(name).name for name in b.liveness] == ["x.jpg", "y.jpg"]
    assert [Path(name).name for name in c.liveness] == ["z.jpg"]
    assert isinstance(d, Flaw)
    assert "no file matches" in d.why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("user,selfie\n", "user_id is missing"),
        ("user_id\n", "selfie is missing"),
        ("", "user_id is missing"),
        ("user_id,selfie,hair\n", "'hair' is unknown"),
        ("user_id,selfie,key,key\n", "same name"),
    ],
)
def test_a_heading_that_can_not_be_used(tmp_path: Path, text: str, why: str) -> None:
    """A missing, unknown or doubled column makes every row useless: it is refused at once."""
    with pytest.raises(BadConfiguration, match=why):
        read(tmp_path / "m.csv", text)


def test_rows_that_can_not_be_used(tmp_path: Path) -> None:
    """Each bad row is a flaw of its own line, and those after it are read."""
    text = b'user_id,selfie,job_type\na\n,s,2\nb,s,9\nc,s,x\n\xff,s,2\nd,s,2\ne,s"q"x,2\n'
    found = read(tmp_path / "m.csv", text)
    assert [row.line for row in found] == [2, 3, 4, 5, 6, 7, 8]
    flaws = {row.line: row.why for row in found if isinstance(row, Flaw)}
    assert [why.partition(":")[0] for why in flaws.values()][:5] == [
        "has 1 cells, the heading 3",
        "has no user_id",
        "job_type is 9",
        "job_type is 'x'",
        "user_id is not UTF-8",
    ]
    assert 7 not in flaws
    unclosed = read(tmp_path / "m.csv", 'user_id,selfie\na,s\nb,"s\nc,s\n')
    assert isinstance(unclosed[-1], Flaw)
    assert "is not CSV" in unclosed[-1].why


def test_rows_in_another_encoding(tmp_path: Path) -> None:
    """A parameter or a path that is not UTF-8 is a flaw of its row, which it names."""
    text = b"user_id,selfie,liveness,param.note\na,s,,caf\xe9\nb,s,caf\xe9.jpg,\nc,s,,caf\xc3\xa9\n"
    first, second, third = read(tmp_path / "m.csv", text)
    assert (first, second) == (
        Flaw(2, "param.note is not UTF-8: save the manifest as UTF-8", "a"),
        Flaw(3, "liveness is not UTF-8: save the manifest as UTF-8", "b"),
    )
    assert isinstance(third, Row)
    assert third.params == {"note": "café"}


def test_no_manifest(tmp_path: Path) -> None:
    """A manifest that is not there is said by name."""
    with pytest.raises(BadConfiguration, match="can not be read"):
        list(read_manifest(tmp_path / "none.csv"))
