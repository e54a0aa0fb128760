"""Manifests: what spreadsheets and programs write is read, and what can not be used is named with its line."""

import asyncio
import csv
import io
import json
import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from street import Pictures

from smile_async.batch import Flaw, Row, read_manifest
from smile_async.batch.encodings import SAVE, encoding_of
from smile_async.batch.formulas import defused, restored
from smile_async.cli import main
from smile_async.errors import BadConfiguration
from smile_async.sandbox import RunningSandbox

NAMES = (
    *(
        "José",
        "Zoë",
        "Muñoz",
        "O'Brien",
        "O\u2019Brien",
        "Çelik",
        "JOSÉ",
        "PEÑA",
        "João",
        "François",
        "Müller",
        "Élodie",
    ),
    *("Ørsted", "Übel", "n°5", "d\u2019Ivoire", "Ångström", "São Tomé", "100 €", "Иван", "Wałęsa", "Žižek", "ada"),
)


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
        (9, "params is list: "),
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
        ("", "m.csv is empty"),
        ("\r\n ;;\n", "m.csv is empty"),
        ("sep=;\n\nname;selfie\n", "line 3: the column user_id is missing among 'name', 'selfie'"),
        ('"user_id\n', "line 1 of .*m.csv is not CSV"),
        ("user_id,selfie,param.\n", "'param.' is unknown"),
        ("User_ID,selfie,user_id\n", "same name, 'user_id'"),
        ("x" * 1_000_001, "longer than 1,000,000 characters"),
        (b"PK\x03\x04...", "is a workbook .*: save it as UTF-8"),
        (b"\xd0\xcf\x11\xe0...", "workbook of an old Excel"),
        ("user_id,selfie\n".encode("utf-16-be"), "UTF-16 without its mark"),
        ("user_id,selfie,hair\n", "'hair' is unknown"),
        ("user_id,selfie,key,key\n", "same name"),
    ],
)
def test_a_heading_that_can_not_be_used(tmp_path: Path, text: str | bytes, why: str) -> None:
    """A missing, unknown or doubled column, or a file that is no text, makes every row useless: refused at once."""
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
        "user_id holds what can not be read",
    ]
    assert 7 not in flaws
    unclosed = read(tmp_path / "m.csv", 'user_id,selfie\na,s\nb,"s\nc,s\n')
    assert isinstance(unclosed[-1], Flaw)
    assert "is not CSV" in unclosed[-1].why


def test_rows_that_are_damaged(tmp_path: Path) -> None:
    """What is not UTF-8 as the rest is, a NUL or a byte-order mark inside is a flaw of its row, which it names."""
    text = "user_id,selfie,liveness,param.note\na,s,,caf\udce9\nb,s,caf\udce9.jpg,\nc,s,,café\nd,s,,naïve\n"
    text += "e\0,s,,\nf,s\ufeff,,\ng,s,,\ufffd\nh,s,,né\n"
    found = read(tmp_path / "m.csv", text.encode("utf-8", "surrogateescape"))
    assert [(flaw.line, flaw.user_id, flaw.why) for flaw in found if isinstance(flaw, Flaw)] == [
        (2, "a", f"param.note holds what can not be read: {SAVE}"),
        (3, "b", f"liveness holds what can not be read: {SAVE}"),
        (6, None, "user_id holds a NUL: write it anew"),
        (7, "f", "selfie holds a byte-order mark: write it anew"),
        (8, "g", f"param.note holds what can not be read: {SAVE}"),
    ]
    assert [row.params["note"] for row in found if isinstance(row, Row)] == ["café", "naïve", "né"]


@pytest.mark.parametrize("page", ["cp1252", "mac_roman", "cp850", "cp1251", "cp1250"])
@given(names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=6), end=st.sampled_from(["\r\n", "\n"]))
def test_a_code_page_is_never_mistaken(page: str, names: list[str], end: str) -> None:
    """Names in an old code page are read as what they are, or their bytes are not read at all."""
    written = f"user_id{end}{end.join(names)}{end}".encode(page, "ignore")
    file = io.BytesIO(written)
    encoding = encoding_of(file, Path("m.csv"))
    assert encoding == "ascii" or file.read().decode(encoding) == written.decode(page)


def test_a_table_as_a_spreadsheet_leaves_it(tmp_path: Path) -> None:
    """Capitals, blank lines, `sep=`, columns without a name and cells that are left out at the end are all read."""
    text = "\nsep=|\n||\nUser_ID|SELFIE|Param.Note| job_type ||\nada|s.jpg|x|4||\n|||||\ngrace|t.jpg\n\ufeff"
    text += "User_ID|SELFIE|Param.Note|job_type||\njoan|s|||late|\nmary|\nlone\n"
    found = read(tmp_path / "m.csv", text)
    assert [(row.line, row.user_id, dict(row.params), row.job_type) for row in found if isinstance(row, Row)] == [
        (5, "ada", {"Note": "x"}, 4),
        (7, "grace", {}, 2),
        (10, "mary", {}, 2),
    ]
    many = "cells, the heading 6: quote cells that hold a '|'"
    assert [flaw for flaw in found if isinstance(flaw, Flaw)] == [Flaw(9, f"has 6 {many}"), Flaw(11, f"has 1 {many}")]
    assert read(tmp_path / "m.csv", "user_id;selfie\r\n") == read(tmp_path / "m.jsonl", "") == []


def test_what_a_spreadsheet_has_spoilt(tmp_path: Path) -> None:
    """A long number that became an approximation, or a formula that went wrong, is nobody's id."""
    text = "user_id;selfie;key;job_id\n2,34801E+12;s;;\nada;s;#NAME?;\nada;s;;1E+5\nada;s;1E5;2\n"
    whys = [flaw.why for flaw in read(tmp_path / "m.csv", text) if isinstance(flaw, Flaw)]
    assert [why.partition(",  not")[0][:21] for why in whys] == [
        "user_id is 2,34801E+1",
        "key is #NAME?, not wh",
        "job_id is 1E+5, not w",
    ]


def test_a_line_that_is_too_long(tmp_path: Path) -> None:
    """It is one flaw, in JSON and in CSV, and the lines after it keep their numbers."""
    long = "x" * 2_500_000
    for name, head, row in (("m.csv", "user_id,selfie\n", "{},s"), ("m.jsonl", "\n", '{{"user_id":"{}"}}')):
        text = head + "\r\n".join(row.format(user) for user in ("ada", long, "grace"))
        ada, flaw, grace = read(tmp_path / name, text)
        assert isinstance(flaw, Flaw)
        assert (ada.line, flaw.line, grace.line) == (2, 3, 4)
        assert "longer than 1,000,000 characters" in flaw.why


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ('"selfie":null,"params":{"a":null}', "param.a is null"),
        ('"params":{"a":true}', "param.a is bool"),
        ('"params":{"a":[1]}', "param.a is list"),
        ('"param.a":{"b":1}', "param.a is dict"),
        ('"params":{"a":1.5}', "param.a is float"),
        ('"params":0', "params is int"),
        ('"selfie":false', "selfie is bool"),
        ('"job_id":["j"]', "job_id is list"),
        ('"liveness":5', "liveness is int"),
        ('"liveness":[null]', "liveness holds NoneType"),
        ('"liveness":["a\\u0000"]', "liveness holds a NUL"),
        ('"liveness":"[\\"a"', "liveness begins as JSON and is none (unexpected end of data"),
        ('"job_type":0', "job_type is 0"),
        ('"job_type":false', "job_type is 'False'"),
        ('"job_type":22345678901', "job_type is a long number"),
        ('"product":"A-22345678901"', "product is a long number"),
        ('"selfie":"data:image/jpeg;base64,/9j/4AAQ"', "selfie"),
        ('"liveness":"data:image/jpeg;base64,/9j/4AAQ"', "liveness"),
        (f'"liveness":["{"A" * 5000}"]', "liveness"),
    ],
)
def test_json_that_is_not_text(tmp_path: Path, fields: str, why: str) -> None:
    """Whatever a program writes in place of a text is a flaw of its row alone, and a picture is not repeated in it."""
    flaw, after = read(tmp_path / "m.jsonl", f'{{"user_id":"ada",{fields}}}\n{{"user_id":"grace","liveness":null}}')
    assert isinstance(flaw, Flaw)
    assert (flaw.user_id, flaw.why.partition(":")[0]) == ("ada", why)
    assert isinstance(after, Row)


@pytest.mark.parametrize("text", ["[\n", '[{"user_id":"ada"}]', '{\n"user_id":"ada"}'])
def test_one_json_document(tmp_path: Path, text: str) -> None:
    """A document over many lines is refused as a whole, not as so many rows."""
    with pytest.raises(BadConfiguration, match="one object a line"):
        read(tmp_path / "m.json", text)


def test_names_that_are_patterns_or_not_utf8(tmp_path: Path) -> None:
    """Only the cell is a pattern, not the manifest's folder; a file name that is no text is its row's flaw."""
    for name in ("batch [1]", "batch 1"):
        (tmp_path / name / "ada").mkdir(parents=True)
        (tmp_path / name / "ada" / "f1.jpg").write_text(name)
    folder = tmp_path / "batch [1]"
    (row,) = read(folder / "m.csv", "user_id,selfie,liveness\nada,s,[a]d?/f*.jpg\n")
    assert isinstance(row, Row)
    assert row.liveness == (f"{folder}/ada/f1.jpg",)
    odd = os.fsdecode(os.fsencode(folder) + b"/ada/g\xff.jpg")
    Path(odd).touch()
    (flaw,) = read(folder / "m.csv", "user_id,selfie,liveness\nada,s,ada/g*\n")
    assert isinstance(flaw, Flaw)
    assert "is not UTF-8: rename it" in flaw.why
    with pytest.raises(BadConfiguration, match="not UTF-8: rename it, or its folder"):
        list(read_manifest(Path(odd)))


def test_no_manifest(tmp_path: Path) -> None:
    """A manifest that is not there, or a folder, is said by name."""
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(BadConfiguration, match="can not be read"):
            list(read_manifest(path))


def test_a_manifest_out_of_a_pipe() -> None:
    """What can be read only once is taken for UTF-8."""
    reading, writing = os.pipe()
    os.write(writing, '\ufeff{"user_id":"José"}'.encode())
    os.close(writing)
    (row,) = read_manifest(Path(f"/dev/fd/{reading}"))
    os.close(reading)
    assert isinstance(row, Row)
    assert row.user_id == "José"


@given(st.text(alphabet="=+-@\t\r'07a", max_size=6))
def test_a_defused_cell_is_restored(text: str) -> None:
    """Nothing that a spreadsheet would run is written, but a signed number, and every cell comes back as it was."""
    cell = defused(text)
    assert restored(cell) == text
    assert not cell.startswith(tuple("=@\t\r+-")) or cell[1:].isdigit()


async def test_a_batch_in_every_format_of_a_spreadsheet(
    running: RunningSandbox, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sheet saved as each of Excel's text formats runs, and its ids come back as they were typed in."""
    account = {"PARTNER_ID": running.partner_id, "API_KEY": running.api_key}
    for name, value in {**account, "BASE_URL": running.base_url, "CA_FILE": running.ca_file}.items():
        monkeypatch.setenv(f"SMILE_{name}", str(value))
    ids = ["007", "+2348012345678", "José", "=1+1"]
    for each in ids:
        running.sandbox.enroll(each)
    (tmp_path / "José.jpg").write_bytes(pictures.selfie)
    formats = {
        "utf8.csv": ("utf-8-sig", ",", "\r\n"),
        "ansi.csv": ("cp1252", ",", "\r\n"),
        "semicolons.csv": ("cp1252", ";", "\r\n"),
        "unicode.txt": ("utf-16", "\t", "\r\n"),
        "macintosh.csv": ("mac_roman", ",", "\r"),
        "dos.csv": ("cp850", ",", "\r\n"),
    }
    runs = []
    for name, (encoding, separator, end) in formats.items():
        sheet = io.StringIO()
        table = csv.writer(sheet, delimiter=separator, lineterminator=end)
        table.writerows([("user_id", "selfie"), *((each, "José.jpg") for each in ids)])
        (tmp_path / name).write_bytes(sheet.getvalue().encode(encoding))
        told = ["batch", "run", str(tmp_path / name), "--out", str(tmp_path / f"{name}.out.csv")]
        runs.append(asyncio.to_thread(main, told))
    assert await asyncio.gather(*runs) == [0] * len(formats)
    assert Counter(job.user_id for job in running.sandbox.jobs.values()) == Counter(ids * len(formats))
    for name in formats:
        with (tmp_path / f"{name}.out.csv").open(newline="", encoding="utf-8") as file:
            assert [restored(line["user_id"]) for line in csv.DictReader(file)] == ids
