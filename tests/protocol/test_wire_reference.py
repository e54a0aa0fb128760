"""The reference of the wire: whoever cites it finds the section, and every fact in it says where it is from."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WIRE = ROOT / "smile_async/protocol/v1/wire.md"
#: A section by its number, with all that stands before the next heading.
SECTION = re.compile(r"^##+ (§[\d.]+) [^\n]+\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
SECTIONS = dict(SECTION.findall(WIRE.read_text("utf-8")))
TAGS = set(re.findall(r"^\| ([A-Z0-9]+) \|", SECTIONS["§0"], re.MULTILINE))
SOURCES = [
    *(path for folder in ("smile_async", "tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))),
]
DOCUMENT = re.compile(r"\b(?P<name>[\w/]+\.md)\b(?P<sections>(?:,? §\d+(?:\.\d+)?)*)")
#: What tests and benchmarks write themselves.
WRITTEN = {
    *("fault_matrix.md", "tests/output/fault_matrix.md"),
    *("one_request_matrix.md", "tests/output/one_request_matrix.md"),
}
#: A row of a table whose last cell says where its fact is from, by tag, or that nobody knows.
PROVEN = re.compile(rf"\b(?:{'|'.join(sorted(TAGS))})\b|\*\*unknown\*\*|\*inferred\*")


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_citation_leads_somewhere(path: Path) -> None:
    """Each document that a file names is in the repository, and has the sections that are named with it."""
    for found in DOCUMENT.finditer(path.read_text("utf-8")):
        if found["name"] in WRITTEN:
            continue
        assert found["name"] == WIRE.name or (ROOT / found["name"]).is_file(), found[0]
        assert set(re.findall(r"§\d+(?:\.\d+)?", found["sections"])) <= set(SECTIONS), found[0]


@pytest.mark.parametrize("number", [number for number in SECTIONS if number != "§0"])
def test_a_section_says_where_it_is_from(number: str) -> None:
    """A section has facts; each row of its tables ends with a known source, or with the word that there is none."""
    rows = [row for row in SECTIONS[number].splitlines() if row.startswith("|") and not row.startswith("|---")]
    heads = [row for row in rows if row.endswith("source |")]
    for row in rows:
        if row not in heads:
            assert PROVEN.search(row), row
    within = any(other.startswith(f"{number}.") for other in SECTIONS)
    assert rows or within or PROVEN.search(SECTIONS[number])


def test_a_source_has_an_address() -> None:
    """Each tag is explained by a public URL; that of tables which others keep is said to be below Smile ID's word."""
    for row in SECTIONS["§0"].splitlines():
        if row.startswith("| ") and not row.startswith("| tag "):
            assert "https://" in row or row.startswith("| PARTNERS |"), row
