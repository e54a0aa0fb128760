"""codes.py: the table says of every documented code what our reading of the sources says."""

import re

from ground_support import expected_codes

from smile_async.jobs import codes
from smile_async.jobs.codes import IMAGE_JOB_TYPES, MEANINGS, Decision

EXPECTED = expected_codes()


def test_the_table_knows_exactly_the_documented_codes() -> None:
    """No documented code is missing, and none is invented."""
    assert {meaning.code for meaning in MEANINGS} == {code for code, _ in EXPECTED}


def test_each_row_says_what_was_ruled() -> None:
    """Every row gives the expected decision and finality to each job type it names."""
    for meaning in MEANINGS:
        for number in meaning.job_types or {job_type for code, job_type in EXPECTED if code == meaning.code}:
            assert (meaning.decision, meaning.final) == EXPECTED[meaning.code, number], meaning


def test_rows_of_one_code_never_contradict_each_other_for_one_job_type() -> None:
    """Where a code has several texts for a job type, they agree on what to do."""
    for code, number in EXPECTED:
        rows = [m for m in MEANINGS if m.code == code and (m.job_types is None or number in m.job_types)]
        assert len({(row.decision, row.final) for row in rows}) <= 1, (code, number)


def test_only_provisional_words_and_words_of_calls_are_open() -> None:
    """A row that approves or rejects is the last word; one that is provisional never is."""
    for meaning in MEANINGS:
        if meaning.decision in (Decision.APPROVED, Decision.REJECTED):
            assert meaning.final is True, meaning
        if meaning.decision is Decision.PROVISIONAL:
            assert meaning.final is not True, meaning


def test_rows_are_ordered_and_well_formed() -> None:
    """Codes are four digits in ascending order, every row has a text and a source that the legend explains."""
    assert [m.code for m in MEANINGS] == sorted(m.code for m in MEANINGS)
    legend = set(re.findall(r"(\w+) = ", codes.__doc__ or ""))
    for meaning in MEANINGS:
        assert re.fullmatch(r"\d{4}", meaning.code)
        assert meaning.text
        assert meaning.sources
        assert set(meaning.sources) <= legend
        assert meaning.resubmit in (True, False, None)


def test_no_picture_for_id_products() -> None:
    """Codes about pictures are about the job types that carry pictures."""
    assert frozenset({1, 2, 4, 6, 8, 11}) == IMAGE_JOB_TYPES
    assert {m.job_types for m in MEANINGS if m.code in ("0903", "0907")} == {IMAGE_JOB_TYPES}


def test_decisions_are_lower_case_texts() -> None:
    """A decision goes into JSON, a log or a database as its own lower-case name."""
    assert [str(decision) for decision in Decision] == [
        *("approved", "attention", "provisional", "rejected", "error", "unknown"),
    ]
