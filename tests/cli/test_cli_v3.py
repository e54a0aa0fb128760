"""The command line and V3: whose job it is, what they agreed to, and the way back to a job by its ticket."""

import asyncio
import io
import json
import sys
from pathlib import Path

import pytest
from callback_support import URL
from cli_support import Run
from street import Pictures
from v3_batch_support import AMINA, CONSENT, PERSON, lose_answers, registration, session_v3

from smile_async import Job, SmileSession
from smile_async.cli.jobs import _under_way
from smile_async.sandbox import RunningSandbox

NAMES = tuple(word for name, text in AMINA.fields().items() for word in (f"--{name.replace('_', '-')}", str(text)))


@pytest.fixture
def v3(run: Run, account: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command with the variables that `smile-async sandbox --api v3` prints, and a consent; "ada" is on file."""
    monkeypatch.setenv("SMILE_API", "v3")
    monkeypatch.setenv("SMILE_BASE_URL", account.base_url_v3)
    monkeypatch.setenv("SMILE_CONSENT_URL", CONSENT.privacy_policy_url)
    return run


@pytest.fixture
def login(pictures: Pictures, tmp_path: Path) -> tuple[str, ...]:
    """Words of an authentication of ada's, whose frames are those of a directory."""
    for number, frame in enumerate(pictures.liveness[:6]):
        (tmp_path / f"frame_{number}.jpg").write_bytes(frame)
    return (pictures.selfie_path, "--user-id", "ada", "--liveness", str(tmp_path))


async def test_from_submit_to_replay(
    v3: Run, account: RunningSandbox, login: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ticket brings back status, verdict and webhook; the command that is shown holds it: ids alone would not do."""
    sent = await v3("submit", *login, *NAMES)
    ticket = json.loads(sent.out)
    assert (sent.code, ticket["api"], ticket["smile_job_id"][:4]) == (0, "v3", "job_")
    assert ticket["smile_job_id"] in sent.err
    asked, waited = await v3("status", sent.out, "--json"), await v3("wait", sent.out, "--json")
    assert (asked.code, waited.code, waited.document["code"]) == (0, 0, "clear")
    assert asked.document["verdict"]["ticket"] == ticket
    refused = await v3("replay", sent.out, "--json")
    assert (refused.code, refused.document["ticket"]) == (3, ticket)
    again = await v3("replay", sent.out, "--callback-url", URL, "--json")
    assert (again.code, again.document) == (0, {"replayed": ticket})
    assert (await v3("replay", sent.out, "--callback-url", "http://app.test")).code == 4
    assert len(account.sandbox.jobs) == 1
    by_ids = await v3("status", "--user-id", "ada", "--job-id", ticket["job_id"])
    assert (by_ids.code, "v3 finds a job by its ticket alone" in by_ids.err) == (4, True)
    monkeypatch.setenv("SMILE_BASE_URL", account.base_url)
    v1 = await v3("replay", sent.out, "--api", "v1")
    assert (v1.code, "v1 has no replay" in v1.err) == (4, True)
    assert "went to v3: ask with a session of api='v3'" in (await v3("status", sent.out, "--api", "v1")).err


async def test_where_a_person_comes_from(
    v3: Run, account: RunningSandbox, login: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options, a file or standard input; an option has the last word, and nothing of it is printed."""
    said = {"given_names": "Nobody", "last_name": AMINA.last_name, "email": AMINA.email}
    (tmp_path / "person").write_text(json.dumps(said))
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(AMINA.fields())))
    ran = [
        await v3("verify", *login, *NAMES, "--json"),
        await v3("verify", *login, "--person", "-", "--json"),
        await v3("verify", *login, "--person", f"@{tmp_path / 'person'}", "--given-names", AMINA.given_names),
    ]
    assert [each.code for each in ran] == [0, 0, 0]
    assert not any(text in each.out + each.err for each in ran for text in PERSON.values())
    assert {job.details["given_names"] for job in account.sandbox.jobs.values()} == {AMINA.given_names}


async def test_compare_and_consent(
    v3: Run, account: RunningSandbox, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pictures are compared; a consent is an option's, or else the variable's, and without any nothing is sent."""
    compare = ("verify", pictures.selfie_path, "--user-id", "eve", "--product", "compare", *NAMES)
    card = ("--comparison", pictures.liveness_paths[0], "--comparison-type", "id_photo")
    own = ("--consent-url", "https://own.example/p", "--consent-language", "FR")
    assert [(await v3(*compare, *card, *more)).code for more in ((), own)] == [0, 0]
    told = [
        (job.consent["notice_privacy_policy_url"], job.consent["notice_language"])
        for job in account.sandbox.jobs.values()
    ]
    assert told == [(CONSENT.privacy_policy_url, "EN"), ("https://own.example/p", "FR")]
    monkeypatch.delenv("SMILE_CONSENT_URL")
    missing = await v3(*compare, *card)
    assert (missing.code, "set SMILE_CONSENT_URL" in missing.err) == (4, True)
    assert len(account.sandbox.jobs) == 2


async def test_verdicts_become_exit_codes(v3: Run, account: RunningSandbox, login: tuple[str, ...]) -> None:
    """A shell is told 0 for clear, 1 for block, 5 for attention, 3 for error, and 2 for a job that goes on."""
    for code, exit_code in (("clear", 0), ("block:spoof_detected", 1), ("attention:medium_risk", 5)):
        account.sandbox.script("ada", code=code)
        assert (await v3("verify", *login, *NAMES)).code == exit_code
    account.sandbox.script("ada", code="error:internal_error")
    assert (await v3("verify", *login, *NAMES, "--json")).document["decision"] == "error"
    account.sandbox.script("ada", code="clear", after=60)
    waited = await v3("verify", *login, *NAMES, "--patience", "1.5", "--json")
    assert (waited.code, waited.document["error"]) == (2, "StillPending")
    assert waited.document["ticket"]["smile_job_id"] in waited.err


async def interrupted(session: SmileSession, job: Job, *, heard: bool) -> None:
    """What Ctrl-C does to a command, after or before it has *heard* that its job was taken."""
    async with _under_way(session, job.ticket, "verifying", {"api": "v3"}):
        if heard:
            await session.submit(job)
        raise asyncio.CancelledError


async def test_an_interrupted_command_shows_the_way_back(
    account: RunningSandbox, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever presses Ctrl-C gets the ticket with the name that V3 gave the job; before the answer there is none."""
    account.sandbox.script("bob", code="clear", after=60)
    async with session_v3(account) as session:
        for job_id, heard in (("j1", True), ("j2", False)):
            with pytest.raises(asyncio.CancelledError):
                await interrupted(session, registration(job_id), heard=heard)
            err = capsys.readouterr().err
            assert ("smile-async status" in err, '"smile_job_id":"job_' in err, "--api v3" in err) == (heard,) * 3
            assert (f"nobody can ask for job {job_id} of user bob" in err) is not heard


async def test_a_lost_answer(v3: Run, account: RunningSandbox, login: tuple[str, ...]) -> None:
    """It is exit code 3, was sent once, and no command is shown that could not find it."""
    lose_answers(account)
    ran = await v3("verify", *login, *NAMES, "--job-id", "j1", "--json")
    assert (ran.code, ran.document["error"], ran.document["retryable"]) == (3, "SubmissionUnknown", False)
    assert (ran.document["ticket"]["api"], ran.document["ticket"]["smile_job_id"]) == ("v3", None)
    assert ("nobody can ask for job j1 of user ada" in ran.err, "smile-async status" in ran.err) == (True, False)
    ticket = json.dumps(ran.document["ticket"])
    assert (await v3("status", ticket, "--json")).document["error"] == "SubmissionUnknown"
    assert [job.submissions for job in account.sandbox.jobs.values()] == [1]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--person", "Amina"), "--person takes '-' (standard input) or @FILE: everybody"),
        (("--person", "@{folder}/shoe"), "--person: shoe is not known"),
        (("--person", "@{folder}/list"), "--person is no JSON object"),
        (("--person", "-", "--id-info", "-"), "--id-info and --person can not both be read from standard input"),
        (("--given-names", "Amina"), "person: there is no last_name: give one"),
        ((*NAMES, "--phone-number", "0801"), "phone_number is not +"),
        ((*NAMES, "--consent-language", "FR"), "--consent-language needs --consent-url"),
        ((*NAMES, "--consent-url", "http://own.example"), "privacy_policy_url is not https"),
        ((*NAMES, "--comparison-type", "PORTRAIT"), "takes no comparison_type"),
        ((*NAMES, "--api", "v4"), "api is 'v4': give 'v1' or 'v3'"),
        ((), "there is no person"),
    ],
)
async def test_what_no_job_can_be_made_of(
    words: tuple[str, ...], says: str, v3: Run, account: RunningSandbox, login: tuple[str, ...], tmp_path: Path
) -> None:
    """Bad input is exit code 4, before anything is sent, and no message repeats a name or a number."""
    (tmp_path / "shoe").write_text('{"shoe": "Amina"}')
    (tmp_path / "list").write_text('["Amina"]')
    ran = await v3("verify", *login, *(word.format(folder=tmp_path) for word in words))
    assert (ran.code, says in ran.err, "Amina" in ran.err, "0801" in ran.err) == (4, True, False, False)
    assert not account.sandbox.jobs


@pytest.mark.parametrize(
    ("word", "decision"),
    [
        ("clear", "approved"),
        ("block", "rejected"),
        ("Attention", "attention"),
        ("error", "error"),
        ("spoof_detected", "rejected"),
    ],
)
async def test_words_are_explained(word: str, decision: str, v3: Run) -> None:
    """`explain` knows V3's statuses and reasons, of all products or of one."""
    assert (await v3("explain", word, "--json")).document["meanings"][0]["decision"] == decision
    assert (await v3("explain", word, "--product", "compare", "--json")).document["meanings"][0]["code"] == word.lower()
    assert (await v3("explain", "document_expired", "--product", "compare")).code == 3
    assert decision in (await v3("explain", word)).out


async def test_services_of_v3(v3: Run) -> None:
    """The lists of ids are V3's, where a session speaks it."""
    ran = await v3("services", "NG", "--json")
    assert (ran.code, {kind["country"] for kind in ran.document["id_types"]}) == (0, {"NG"})
