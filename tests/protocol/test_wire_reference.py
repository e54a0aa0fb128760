"""The reference of the wire: whoever cites it finds the section, and every fact in it says where it is from."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROTOCOL = ROOT / "smile_async/protocol"
#: What each reference is cited as.
WIRES = {"wire.md": PROTOCOL / "v1" / "wire.md", "v3/wire.md": PROTOCOL / "v3" / "wire.md"}
#: A section by its number, with all that stands before the next heading.
SECTION = re.compile(r"^##+ (§[\d.]+) [^\n]+\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
SECTIONS = {name: dict(SECTION.findall(path.read_text("utf-8"))) for name, path in WIRES.items()}
SOURCES = [
    *(path for folder in ("smile_async", "tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))),
]
DOCUMENT = re.compile(r"\b(?P<name>[\w/]+\.md)\b(?P<sections>(?:,? §\d+(?:\.\d+)?)*)")
#: What tests and benchmarks write themselves.
WRITTEN = {
    *("fault_matrix.md", "tests/output/fault_matrix.md"),
    *("one_request_matrix.md", "tests/output/one_request_matrix.md"),
    *("v3_matrix.md", "tests/output/v3_matrix.md"),
}


def proven(name: str) -> re.Pattern[str]:
    """A row of a table whose last cell says where its fact is from, by tag, or that nobody knows."""
    tags = sorted(re.findall(r"^\| ([A-Z0-9]+) \|", SECTIONS[name]["§0"], re.MULTILINE))
    return re.compile(rf"\b(?:{'|'.join(tags)})\b|\*\*unknown\*\*|\*inferred\*")


def lost(path: Path) -> Iterator[str]:
    """The citations in a file that lead nowhere."""
    for found in DOCUMENT.finditer(path.read_text("utf-8")):
        if found["name"] in WRITTEN:
            continue
        known = SECTIONS.get(found["name"], SECTIONS["wire.md"])
        if not set(re.findall(r"§\d+(?:\.\d+)?", found["sections"])) <= set(known):
            yield found[0]
        if found["name"] not in WIRES and not (ROOT / found["name"]).is_file():
            yield found[0]


def test_a_citation_leads_somewhere() -> None:
    """Each document that a file names is in the repository, and has the sections that are named with it."""
    assert len(SOURCES) > 400
    assert not [f"{path.relative_to(ROOT)}: {citation}" for path in SOURCES for citation in lost(path)]


@pytest.mark.parametrize(
    ("name", "number"), [(name, number) for name, found in SECTIONS.items() for number in found if number != "§0"]
)
def test_a_section_says_where_it_is_from(name: str, number: str) -> None:
    """A section has facts; each row of its tables ends with a known source, or with the word that there is none."""
    sections, known = SECTIONS[name], proven(name)
    rows = [row for row in sections[number].splitlines() if row.startswith("|") and not row.startswith("|---")]
    heads = [row for row in rows if row.endswith("source |")]
    for row in rows:
        if row not in heads:
            assert known.search(row), row
    within = any(other.startswith(f"{number}.") for other in sections)
    assert rows or within or known.search(sections[number])


@pytest.mark.parametrize("name", SECTIONS)
def test_a_source_has_an_address(name: str) -> None:
    """Each tag is explained by a public URL; that of tables which others keep is said to be below Smile ID's word."""
    for row in SECTIONS[name]["§0"].splitlines():
        if row.startswith("| ") and not row.startswith("| tag "):
            assert "https://" in row or row.startswith("| PARTNERS |"), row
