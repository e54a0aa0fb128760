"""verdict.py: nobody is let in by a code, a reply or a text that does not say so about this very job."""

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, astuple, replace
from itertools import product
from typing import Any

import orjson
import pytest
from fastapi.encoders import jsonable_encoder
from ground_support import JOB_TYPES, KEY, NOW, PARTNER, expected_codes, signature_of, signed, stamp_of
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from smile_async.errors import ForgedReply, SmileError, StaleReply, UnreadableReply
from smile_async.jobs.codes import MEANINGS, Decision, classify, explain
from smile_async.jobs.product import Product
from smile_async.jobs.ticket import UNKNOWN_JOB_TYPE, JobType, Ticket
from smile_async.jobs.verdict import JobStatus, Verdict
from smile_async.protocol.signature import Secret, Signer
from smile_async.protocol.v1.judging import judge_callback, judge_status

EXPECTED = expected_codes()
APPROVED = {pair for pair, (decision, _) in EXPECTED.items() if decision == "approved"}
TICKET = Ticket("cust-42", "auth-7f1", 2, "0000000123")
SIGNER = Signer(PARTNER, Secret(KEY), [Secret("previous-key")])
PARAMS = {"user_id": "cust-42", "job_id": "auth-7f1", "job_type": 2, "order": "A-19"}
RESULT = {
    "ResultCode": "0820",
    "ResultText": "Authenticate User Machine Judgement",
    "SmileJobID": "0000000123",
    "ConfidenceValue": "99",
    "PartnerParams": PARAMS,
    "Actions": {"Liveness_Check": "Passed"},
    "timestamp": "2026-01-02T03:04:12.400Z",
}


def status(
    result: Any = None, *, ticket: Ticket = TICKET, at: float = NOW, key: str = KEY, now: float = NOW, **fields: Any
) -> JobStatus:
    """What a reply signed with *key* at *at* says at *now*; by default it is complete, with the sample's result."""
    said = {**RESULT, **(result or {})}
    reply = {"code": "2302", "job_complete": True, "job_success": True, "result": said, **fields}
    return judge_status(signed(reply, at=at, key=key), ticket, SIGNER, now)


def verdict(result: Any = None, **fields: Any) -> Verdict:
    """The verdict of such a reply."""
    found = status(result, **fields).verdict
    assert found is not None
    return found


# -- codes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", sorted({code for code, _ in EXPECTED}))
def test_every_documented_code_is_classified_as_ruled(code: str) -> None:
    """For each job type a documented code means what was ruled, and UNKNOWN where it is about other types only."""
    for number in JOB_TYPES:
        decision, _ = EXPECTED.get((code, number), ("unknown", None))
        for job_type in (number, str(number), JobType(number)):
            for spelling in (code, int(code), code.lstrip("0"), f" {code} "):
                assert classify(spelling, job_type) == decision, (spelling, job_type)


@pytest.mark.parametrize(
    ("code", "job_type", "decision"),
    [
        ("0812", 1, Decision.PROVISIONAL),
        ("0812", 6, Decision.REJECTED),
        ("0812", 11, Decision.REJECTED),
        ("0812", 2, Decision.UNKNOWN),
        ("1012", 1, Decision.PROVISIONAL),
        ("1012", 5, Decision.APPROVED),
        ("0001", 2, Decision.ERROR),
        ("1014", 1, Decision.ERROR),
        ("1014", 2, Decision.UNKNOWN),
        ("2302", 2, Decision.ERROR),
        ("2209", 2, Decision.ERROR),
        ("0820", 4, Decision.UNKNOWN),
        ("0840", 2, Decision.UNKNOWN),
        (820, 2, Decision.APPROVED),
        ("820", "2", Decision.APPROVED),
    ],
)
def test_the_pairs_that_are_easy_to_get_wrong(code: str | int, job_type: int | str, decision: Decision) -> None:
    """One code says opposite things of two job types, and an approval of one is nothing to another."""
    assert classify(code, job_type) is decision


def pair_of(code: object, job_type: object) -> tuple[str, int] | None:
    """The pair that (*code*, *job_type*) spells, as the table writes it."""
    try:
        return str(code).strip().zfill(4), int(job_type)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return None


KNOWN_CODES = sorted({code for code, _ in EXPECTED})
CODES = st.one_of(
    *(st.integers(), st.integers(0, 9999), st.text()),
    *(st.integers(0, 9999).map("{:04}".format), st.sampled_from(KNOWN_CODES), st.sampled_from(KNOWN_CODES).map(int)),
)
TYPES = st.one_of(
    *(st.integers(), st.integers(0, 12), st.text()),
    *(st.sampled_from(JOB_TYPES), st.sampled_from(JOB_TYPES).map(str)),
)


@settings(max_examples=500)
@given(CODES, TYPES)
@example("-820", 2)
@example("08 20", 2)
@example("\u0660\u0668\u0662\u0660", 2)
def test_only_what_the_table_approves_is_approved(code: str | int, job_type: int | str) -> None:
    """Over arbitrary codes and job types, APPROVED comes out for the documented pairs and for nothing else."""
    pair = pair_of(code, job_type)
    assert (classify(code, job_type) is Decision.APPROVED) == (pair in APPROVED)
    if pair is None or pair[0] not in KNOWN_CODES:
        assert classify(code, job_type) is Decision.UNKNOWN


@pytest.mark.parametrize("odd", [None, True, False, 820.0, b"0820", [], {}, object(), float("nan"), float("inf")])
def test_odd_codes_and_types_are_unknown(odd: Any) -> None:
    """What is no code is UNKNOWN, never an exception; nor is what is no job type."""
    assert classify(odd, 2) is Decision.UNKNOWN
    if not isinstance(odd, bool | float) or odd != odd or odd == float("inf"):
        assert classify("0820", odd) is Decision.UNKNOWN


def test_a_code_is_explained_by_all_its_rows() -> None:
    """Explain gives every meaning of a code, in the table's order, and nothing for one nobody documented."""
    assert [row.job_types for row in explain("0812")] == [frozenset({1}), frozenset({6, 11})]
    assert explain(1) == [row for row in MEANINGS if row.code == "0001"]
    assert explain("9999") == explain(None) == []  # type: ignore[arg-type]
    assert [row.decision for row in explain("0812", 6)] == [Decision.REJECTED]
    assert explain("0812", "biometric_kyc") == [explain("0812")[0]]
    assert explain("0812", 2) == []
    explain("0820").clear()
    assert explain("0820")
    assert [row.text for row in explain("1012", Product.ENHANCED_KYC)] == ["id number valid"]
    assert [row.decision for row in explain("clear", "compare")] == [Decision.APPROVED]
    assert explain("document_expired", 6) == explain("document_expired")
    assert explain("document_expired", Product.COMPARE) == explain("clear", "no product") == []
    assert [row.text for row in explain(1012, 7)] == ["business verified"]
    assert explain("1012", "basic_kyc") == explain("1012", 2) == []


# -- what a status reply says -----------------------------------------------------------------------------------------


def test_the_sample_of_the_protocol() -> None:
    """The status reply of wire.md §6 is a confirmed, final approval with everything that came."""
    links = {"selfie_image": "https://x"}
    found = status(image_links=links, history=[RESULT])
    assert (found.code, found.complete, found.waiting_for_zip, found.ticket) == ("2302", True, False, TICKET)
    said = found.verdict
    assert said is not None
    assert (said.decision, said.final, said.code) == (Decision.APPROVED, True, "0820")
    assert said.confirmed
    assert said.approved
    assert (said.text, said.confidence, said.source) == (RESULT["ResultText"], 99.0, "poll")
    assert (said.timestamp, said.actions, said.image_links) == (RESULT["timestamp"], RESULT["Actions"], links)
    assert said.ticket == TICKET
    assert said.raw == RESULT
    assert said.history == found.history
    assert [(item.decision, item.confirmed) for item in said.history] == [("approved", False)]
    assert found.raw["job_success"] is True


@pytest.mark.parametrize("code", KNOWN_CODES)
def test_finality_comes_from_the_table(code: str) -> None:
    """A documented code is final or not whatever job_complete says; only where no source tells does it decide, and
    never for a provisional word.
    """
    for number, complete in product(JOB_TYPES, (False, True)):
        decision, final = EXPECTED.get((code, number), ("unknown", None))
        said = verdict(
            {"ResultCode": code, "PartnerParams": {**PARAMS, "job_type": number}},
            ticket=Ticket("cust-42", "auth-7f1", number),
            job_complete=complete,
        )
        assert said.decision == decision
        assert said.final is (final if final is not None else complete and decision != "provisional")
        assert said.approved is (decision == "approved")


@pytest.mark.parametrize("complete", [False, True, "true", "false"])
def test_an_unknown_code_is_final_with_its_job(complete: Any) -> None:
    """A code nobody documented is never approved, and is the last word if and only if the job is complete."""
    said = verdict({"ResultCode": "0899"}, job_complete=complete)
    assert (said.decision, said.approved) == (Decision.UNKNOWN, False)
    assert said.final is (complete in (True, "true"))


def test_a_provisional_word_is_not_final_on_a_complete_job() -> None:
    """0822 with job_complete and job_success true still awaits a person."""
    said = verdict({"ResultCode": "0822"}, job_complete=True, job_success=True)
    assert (said.decision, said.final, said.approved) == (Decision.PROVISIONAL, False, False)


@pytest.mark.parametrize("code", ["0820", "0821", "0822", "0899"])
def test_job_success_never_matters(code: str) -> None:
    """Whatever job_success says, the verdict is the same."""
    said = [verdict({"ResultCode": code}, job_success=value) for value in (True, False, "true", None)]
    assert said == [said[0]] * 4


@pytest.mark.parametrize("code", [None, "", "  ", [], True])
def test_a_result_without_a_code_is_no_verdict(code: Any) -> None:
    """A message on the way is not a verdict, nor is one in the history."""
    found = status({"ResultCode": code}, history=[{**RESULT, "ResultCode": code}])
    assert (found.verdict, found.history) == (None, ())


@pytest.mark.parametrize("result", ["No zip uploaded yet", None, [], 5])
def test_a_job_without_its_zip(result: Any) -> None:
    """Code 2314, as text or number, with a sentence for a result says that no zip has come."""
    for code in ("2314", 2314):
        found = judge_status(signed({"code": code, "result": result, "job_complete": False}), TICKET, SIGNER, NOW)
        assert (found.waiting_for_zip, found.verdict, found.complete, found.ticket) == (True, None, False, TICKET)


def test_a_reply_without_a_code_of_its_own_is_read() -> None:
    """Where the call's code is missing the result still speaks."""
    found = status(code=None)
    assert (found.code, found.waiting_for_zip) == ("", False)
    assert found.verdict is not None


def test_numbers_are_read_as_texts() -> None:
    """A code, a confidence and a job type come as numbers or as texts, and mean the same."""
    numbers = {"ResultCode": 820, "ConfidenceValue": 99, "PartnerParams": {**PARAMS, "job_type": "2"}}
    assert verdict(numbers) == verdict()


def test_the_table_explains_what_the_server_does_not() -> None:
    """Without a ResultText the verdict says what the table knows, and nothing of an unknown code."""
    assert verdict({"ResultText": None}).text == "authenticated, machine pass"
    assert verdict({"ResultText": None, "ResultCode": "0899"}).text == ""


def test_links_come_from_the_result_if_the_reply_has_none() -> None:
    """Links beside the result win over links within it."""
    inner = {"ImageLinks": {"selfie_image": "https://inner"}}
    assert verdict(inner).image_links == {"selfie_image": "https://inner"}
    assert verdict(inner, image_links={"selfie_image": "https://outer"}).image_links == {
        "selfie_image": "https://outer"
    }


def test_a_history_speaks_of_its_own_jobs() -> None:
    """An item about another job of the user has that job's ticket, and is judged by that job's type."""
    other = {**RESULT, "ResultCode": "0840", "SmileJobID": "9"}
    history = [
        {**other, "PartnerParams": {**PARAMS, "job_id": "other", "job_type": "4"}},
        {**other, "PartnerParams": {}, "SmileJobID": None},
        {**other, "PartnerParams": {"user_id": [5]}},
    ]
    items = status(history=history).history
    tickets = [Ticket("cust-42", "other", 4, "9"), Ticket("cust-42", "auth-7f1", 2), TICKET]
    assert [item.ticket for item in items] == tickets
    assert [item.decision for item in items] == [Decision.APPROVED, Decision.UNKNOWN, Decision.UNKNOWN]
    assert not any(item.approved for item in items)


# -- believing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {**PARAMS, "job_id": "auth-7f2"},
        {**PARAMS, "user_id": "cust-43"},
        {**PARAMS, "user_id": 42},
        {**PARAMS, "job_type": 4},
        {**PARAMS, "job_type": "4"},
        {**PARAMS, "job_type": "two"},
        {**PARAMS, "job_type": [2]},
        {"job_id": "auth-7f1", "job_type": 2},
        {"user_id": "cust-42", "job_type": 2},
        {},
        None,
        "cust-42",
    ],
)
def test_a_reply_about_another_job_is_forged(params: Any) -> None:
    """A signed reply that names another user, job or job type, or none, is not believed: a signature binds nothing."""
    with pytest.raises(ForgedReply, match="auth-7f1"):
        status({"PartnerParams": params})


def test_a_reply_with_another_job_number_is_forged() -> None:
    """Where Smile's own number is known, another one is not believed."""
    with pytest.raises(ForgedReply, match="gives job auth-7f1 another SmileJobID"):
        status({"SmileJobID": "0000000124"})


@pytest.mark.parametrize(
    ("known", "said", "number"), [(None, "9", "9"), ("9", None, "9"), (None, None, None), ("9", "9", "9")]
)
def test_a_job_number_is_learned_once(known: str | None, said: str | None, number: str | None) -> None:
    """A ticket without Smile's number learns it from the first reply that has one, and keeps it."""
    ticket = Ticket("cust-42", "auth-7f1", 2, known)
    found = status({"SmileJobID": said}, ticket=ticket)
    assert found.ticket == Ticket("cust-42", "auth-7f1", 2, number)
    assert verdict({"SmileJobID": said}, ticket=ticket).ticket == found.ticket


def test_a_reply_without_a_job_type_is_about_the_one_asked() -> None:
    """PartnerParams need not repeat the job type."""
    assert verdict({"PartnerParams": {"user_id": "cust-42", "job_id": "auth-7f1"}}).approved


@pytest.mark.parametrize(
    ("said", "kind"), [(2, 2), ("2", 2), (4, 4), (None, UNKNOWN_JOB_TYPE), ("two", UNKNOWN_JOB_TYPE)]
)
def test_an_unknown_job_type_is_learned_from_the_reply(said: Any, kind: int) -> None:
    """A ticket of unknown type takes the type the reply says, and approves nothing while none is known."""
    ticket = Ticket("cust-42", "auth-7f1", UNKNOWN_JOB_TYPE)
    found = verdict({"PartnerParams": {**PARAMS, "job_type": said}}, ticket=ticket)
    assert found.ticket.job_type == kind
    assert found.approved is (kind == 2)


@pytest.mark.parametrize("result", [{"Note": "received"}, {"ResultCode": "", "PartnerParams": None}])
def test_an_empty_result_is_about_no_job(result: Any) -> None:
    """A result with neither a code nor a job says nothing, and is nobody's forgery."""
    found = judge_status(signed({"code": "2302", "result": result}), TICKET, SIGNER, NOW)
    assert (found.verdict, found.ticket) == (None, TICKET)


def test_a_reply_of_the_previous_key_is_believed() -> None:
    """While a key is rotated, replies signed with the old one are as good."""
    assert status(key="previous-key").verdict == verdict()


JUDGES = [lambda body: judge_status(body, TICKET, SIGNER, NOW), lambda body: judge_callback(body, SIGNER, NOW)]
AT = stamp_of(NOW)
FORGED_STAMPS = {
    "another key": {"timestamp": AT, "signature": signature_of(AT, key="stolen")},
    "another partner": {"timestamp": AT, "signature": signature_of(AT, partner_id="002")},
    "another time": {"timestamp": AT, "signature": signature_of(stamp_of(NOW + 1))},
    "no signature": {"timestamp": AT, "signature": None},
    "no timestamp": {"timestamp": None, "signature": signature_of(AT)},
    "empty": {"timestamp": "", "signature": signature_of("")},
    "a number": {"timestamp": AT, "signature": 5},
}


@pytest.mark.parametrize("judge", JUDGES, ids=["status", "callback"])
@pytest.mark.parametrize("name", FORGED_STAMPS)
def test_what_none_of_the_keys_signed_is_forged(judge: Callable[[bytes], object], name: str) -> None:
    """Replies and callbacks signed by another key, for another partner or time, or not at all, are ForgedReply."""
    body = {**RESULT, "result": RESULT, **FORGED_STAMPS[name]}
    with pytest.raises(ForgedReply) as caught:
        judge(json.dumps(body).encode())
    assert not isinstance(caught.value, StaleReply)


STALE_TEXTS = {
    "old": stamp_of(NOW - 301),
    "future": stamp_of(NOW + 301),
    "ancient": "0001-01-01T00:00:00Z",
    "zone-less": AT.removesuffix("Z"),
    "epoch": str(int(NOW * 1000)),
    "ruby": "2026-01-02 03:04:05 +0000 UTC",
    "undatable": "yesterday",
    "impossible": "2026-02-30T00:00:00Z",
}


@pytest.mark.parametrize("judge", JUDGES, ids=["status", "callback"])
@pytest.mark.parametrize("name", STALE_TEXTS)
def test_a_signed_time_that_is_not_now_is_stale(judge: Callable[[bytes], object], name: str) -> None:
    """What was signed long ago, in the future, without a zone or without a date is StaleReply."""
    text = STALE_TEXTS[name]
    body = {**RESULT, "result": RESULT, "timestamp": text, "signature": signature_of(text)}
    with pytest.raises(StaleReply):
        judge(json.dumps(body).encode())


@pytest.mark.parametrize("drift", [-299, 299, 0])
def test_some_minutes_are_forgiven(drift: float) -> None:
    """A clock may be five minutes off, either way; a callback's tolerance is the caller's."""
    assert verdict(at=NOW + drift).approved
    body = signed({name: value for name, value in RESULT.items() if name != "timestamp"}, at=NOW + drift)
    assert judge_callback(body, SIGNER, NOW).code == "0820"
    if drift:
        with pytest.raises(StaleReply, match="299 s away from now, more than 10 s"):
            judge_callback(body, SIGNER, NOW, tolerance=10)


def test_a_clock_that_is_no_number_believes_nothing() -> None:
    """With a broken clock every reply is stale rather than every reply fresh."""
    with pytest.raises(StaleReply):
        status(now=float("nan"))


# -- callbacks --------------------------------------------------------------------------------------------------------


def callback(**changes: Any) -> Verdict:
    """The verdict in a callback signed now, by default wire.md's."""
    fields = {"ResultCode": "1220", "PartnerParams": {**PARAMS, "job_type": "2"}, "SmileJobID": "0000000123", **changes}
    return judge_callback(signed(fields), SIGNER, NOW)


def test_a_callback_is_a_hint() -> None:
    """A properly signed approval in a callback names its job and is not confirmed, so it opens no door."""
    said = callback()
    assert (said.decision, said.final, said.source) == (Decision.APPROVED, True, "callback")
    assert (said.confirmed, said.approved) == (False, False)
    assert said.ticket == TICKET
    assert said.raw["ResultCode"] == "1220"
    assert said.timestamp == stamp_of(NOW)


@pytest.mark.parametrize(
    "params", [None, {}, {"user_id": "a", "job_id": "b"}, {"user_id": [1], "job_id": "b", "job_type": 2}, "x"]
)
def test_a_callback_must_name_its_job(params: Any) -> None:
    """A callback without user, job or job type is unreadable."""
    with pytest.raises(UnreadableReply, match="PartnerParams name no user_id, job_id and job_type"):
        callback(PartnerParams=params)


def test_ids_that_are_numbers_are_compared_as_texts() -> None:
    """A partner whose ids are numbers gets them back as such: reply and callback are about the job asked for."""
    params = {"user_id": 42, "job_id": 7, "job_type": "2"}
    asked = Ticket("42", "7", 2)
    said = {**RESULT, "PartnerParams": params}
    found = status(said, ticket=asked, history=[said])
    assert [(item.ticket.user_id, item.ticket.job_id) for item in found.history] == [("42", "7")]
    assert found.verdict is not None
    assert (found.verdict.approved, found.verdict.raw["PartnerParams"]) == (True, params)
    claim = judge_callback(signed({"ResultCode": "0820", "PartnerParams": params}), SIGNER, NOW)
    assert (claim.ticket.user_id, claim.ticket.job_id) == ("42", "7")
    for other in ({**params, "user_id": 43}, {**params, "user_id": True}, {**params, "job_id": 7.5}):
        with pytest.raises(ForgedReply, match="another job than 7 of user 42"):
            status({**RESULT, "PartnerParams": other}, ticket=asked)


@pytest.mark.parametrize(
    "judge", [lambda body: judge_status(body, TICKET, SIGNER, NOW), lambda b: judge_callback(b, SIGNER, NOW)]
)
def test_the_signature_is_looked_at_before_the_shape(judge: Callable[[bytes], object]) -> None:
    """A stranger can not make it expensive to refuse him: what none of the keys signed is not read any further."""
    odd = {"ResultText": {}, "result": {"ResultText": {}}}
    with pytest.raises(ForgedReply):
        judge(signed(odd, key="a stranger's"))
    with pytest.raises(UnreadableReply, match="ResultText"):
        judge(signed(odd))


@pytest.mark.parametrize("value", [[[]] * 20_000, {str(n): 0 for n in range(20_000)}, {"a": [{}] * 10_001}])
def test_a_callback_of_too_many_values_is_not_parsed(value: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """A million empty lists take a third of a second to parse: commas and brackets are counted first."""
    monkeypatch.setattr("smile_async.protocol.v1.judging.read_object", lambda *_: pytest.fail("it was parsed"))
    with pytest.raises(UnreadableReply, match="more values than any result"):
        judge_callback(signed({"Actions": value}), SIGNER, NOW)


def test_a_callback_must_have_a_code() -> None:
    """A callback that says nothing is unreadable."""
    with pytest.raises(UnreadableReply, match="the callback has no ResultCode"):
        callback(ResultCode=None)


def test_a_number_in_the_parameters_is_not_smiles() -> None:
    """A partner's own parameter called smile_job_id does not pass for Smile's number."""
    assert callback(PartnerParams={**PARAMS, "smile_job_id": "mine"}).ticket.smile_job_id == "0000000123"


ANY_VALUE = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(sorted(RESULT)), ANY_VALUE))
def test_no_signed_fields_crash_a_judge(fields: dict[str, Any]) -> None:
    """Whatever a signed body holds, it is a verdict or a SmileError, and only 0820 of this job is approved."""
    fields.pop("timestamp", None)
    try:
        found = status({**fields})
    except SmileError:
        return
    if found.verdict is not None and found.verdict.approved:
        assert classify(found.verdict.code, 2) is Decision.APPROVED
        assert (found.ticket.user_id, found.ticket.job_id) == ("cust-42", "auth-7f1")


# -- values -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("confirmed", [False, True])
@pytest.mark.parametrize("decision", Decision)
def test_approved_is_confirmed_and_approved(decision: Decision, confirmed: bool) -> None:
    """`approved` needs both: the decision and its confirmation."""
    said = Verdict(decision, True, "0820", "", TICKET, confirmed=confirmed)
    assert said.approved is (confirmed and decision is Decision.APPROVED)


def test_verdicts_are_frozen_and_show_no_links() -> None:
    """A verdict can not be changed into an approval; no repr and no serialiser shows links, or what came."""
    odd = {"ImageLinks": {"selfie_image": "https://s3cr3t"}, "FullName": "s3cr3t", "signature": "s3cr3t"}
    found = status(odd, image_links={"x": "https://s3cr3t"}, history=[{**RESULT, **odd}])
    assert found.verdict is not None
    with pytest.raises(FrozenInstanceError):
        found.verdict.decision = Decision.APPROVED  # type: ignore[misc]
    for value, kind in ((found, JobStatus), (found.verdict, Verdict)):
        shown = [repr(value), asdict(value), astuple(value), orjson.dumps(value), jsonable_encoder(value)]
        shown += [TypeAdapter(kind).dump_python(value), TypeAdapter(kind).dump_json(value)]
        assert "s3cr3t" not in repr(shown)
        assert value.image_links == {"x": "https://s3cr3t"}
        assert "s3cr3t" in repr(value.raw)
        assert replace(value, history=()).raw is value.raw


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VERDICTS = st.builds(
    Verdict,
    decision=st.sampled_from(Decision),
    final=st.booleans(),
    code=TEXTS,
    text=TEXTS,
    ticket=st.builds(Ticket, TEXTS, TEXTS, st.sampled_from([0, 2, 4, 77]), st.none() | TEXTS),
    source=st.sampled_from(["poll", "callback"]),
    confirmed=st.booleans(),
    confidence=st.none() | st.floats(0, 100),
    timestamp=TEXTS,
    actions=st.dictionaries(TEXTS, TEXTS, max_size=3),
)


@given(VERDICTS)
def test_verdicts_survive_json_but_not_their_confirmation(said: Verdict) -> None:
    """A verdict comes back equal from its JSON, except that nobody's JSON is confirmed."""
    for text in (said.to_json(), said.to_json().encode()):
        found = Verdict.from_json(text)
        assert (found.confirmed, found.approved) == (False, False)
        assert found.to_json() == said.to_json().replace('"confirmed":true', '"confirmed":false', 1)
        assert found.ticket == said.ticket
    assert json.loads(said.to_json())["confirmed"] is said.confirmed


def test_json_holds_no_links_and_nothing_raw() -> None:
    """What is forwarded over a bus is the verdict, not the personal data that came with it."""
    text = verdict({"FullName": "Ada L"}, image_links={"x": "https://s3cr3t"}, history=[RESULT]).to_json()
    assert set(json.loads(text)) == {
        *("decision", "final", "code", "text", "ticket", "source", "confirmed", "confidence", "timestamp", "actions")
    }


GOOD = json.loads(Verdict(Decision.APPROVED, True, "0820", "ok", TICKET).to_json())


@pytest.mark.parametrize(
    "found",
    [
        *(None, [], "verdict", 5, {}),
        *({**GOOD, name: None} for name in ("decision", "actions")),
        *({n: v for n, v in GOOD.items() if n != missing} for missing in GOOD if missing != "confirmed"),
        {**GOOD, "decision": "welcome"},
        {**GOOD, "decision": []},
        {**GOOD, "ticket": {"user_id": "ada"}},
        {**GOOD, "ticket": None},
        {**GOOD, "confidence": "high"},
        {**GOOD, "confidence": []},
        {**GOOD, "actions": ["x"]},
    ],
)
def test_what_is_no_verdict_is_unreadable(found: Any) -> None:
    """Garbage for from_json is an UnreadableReply that says what to give, whatever is wrong with it."""
    with pytest.raises(UnreadableReply, match=r"not a verdict \(\w+\): give what to_json\(\) wrote"):
        Verdict.from_json(json.dumps(found))


@pytest.mark.parametrize("text", ["", "{", b"\xff", None])
def test_what_is_no_json_is_no_verdict(text: Any) -> None:
    """Broken JSON is an UnreadableReply too."""
    with pytest.raises(UnreadableReply, match="not a verdict"):
        Verdict.from_json(text)


@pytest.mark.parametrize("final", ["true", 1, None, "yes"])
def test_only_true_is_final(final: Any) -> None:
    """A text or number in place of `final` does not end anything; an unknown source counts as a poll."""
    found = Verdict.from_json(json.dumps({**GOOD, "final": final, "source": "rumour", "confirmed": True}))
    assert (found.final, found.source, found.confirmed) == (False, "poll", False)
