"""The products of one request, and those with more than a face, through a session: each verb, and each lost answer."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from ground_support import png
from street import ENGINES, Pictures, session_of

from smile_async import (
    Decision,
    Document,
    Failed,
    Finished,
    IdInfo,
    Job,
    Limits,
    Product,
    SmileSession,
    Ticket,
    explain,
)
from smile_async.errors import (
    ForgedReply,
    IdNumberBlocked,
    InvalidJob,
    JobExists,
    JobNotFound,
    Refused,
    SmileError,
    SubmissionUnknown,
    Unavailable,
)
from smile_async.ledger import Ledger
from smile_async.ledger.rows import Begun
from smile_async.sandbox import RunningSandbox, Sandbox
from smile_async.timing.clock import Clock

NUMBER, OTHER = "00000000000", "11111111110"


def info(number: str = NUMBER, **more: Any) -> IdInfo:
    """An entry at an authority."""
    return IdInfo("NG", "NIN_V2", number, first_name="Ada", last_name="Obi", dob="1990-01-31", **more)


def company(number: str = "0000000", **more: Any) -> IdInfo:
    """An entry in a register of companies."""
    return IdInfo("NG", "BASIC_BUSINESS_REGISTRATION", number, business_type="co", **more)


ONE_REQUEST: dict[str, Callable[..., Job]] = {
    "enhanced_kyc": lambda **more: Job.enhanced_kyc("ada", more.pop("id_info", info()), **more),
    "basic_kyc": lambda **more: Job.basic_kyc("ada", more.pop("id_info", info()), **more),
    "business_verification": lambda id_info=None, **more: Job.business_verification(
        "ada", company(id_info.id_number if id_info else "0000000"), **more
    ),
    "aml_check": lambda **more: Job.aml_check("ada", "Ada Obi", ["NG"], **more),
}
LATER = [name for name in ONE_REQUEST if name != "aml_check"]
CODES = {"enhanced_kyc": "1012", "basic_kyc": "1020", "business_verification": "1012", "aml_check": "1031"}


@pytest.fixture
def sandbox(smile_sandbox: Sandbox) -> Sandbox:
    """A sandbox in this process, on a clock that jumps, that answers for everybody."""
    smile_sandbox.settings.scripted_only = False
    return smile_sandbox


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ONE_REQUEST)
async def test_verify_is_one_request(name: str, engine: str, running: RunningSandbox) -> None:
    """One signed request brings the verdict, confirmed, of its own product, with the record; nothing is polled."""
    async with session_of(running, http=engine) as session:
        job = ONE_REQUEST[name]()
        verdict = await session.verify(job)
        assert session.stats.polls == 0
    assert (verdict.code, verdict.decision, verdict.final) == (CODES[name], Decision.APPROVED, True)
    assert (verdict.source, verdict.confirmed, verdict.approved) == ("reply", True, True)
    assert (verdict.ticket.product, verdict.ticket.job_id) == (Product(name), job.job_id)
    assert verdict.ticket.smile_job_id is not None
    assert bool(verdict.record) == (name != "basic_kyc")
    assert running.sandbox.count(job.job_id) == 1


@pytest.mark.parametrize("name", LATER)
async def test_submit_and_wait(name: str, running: RunningSandbox) -> None:
    """The asynchronous form gives a ticket at once; wait, status and follow find its result by the ticket's JSON."""
    async with session_of(running) as session:
        ticket = await session.submit(ONE_REQUEST[name]())
        again = Ticket.from_json(ticket.to_json())
        assert again == ticket
        verdict = await session.wait(again)
        assert (verdict.code, verdict.decision, verdict.source) == (CODES[name], Decision.APPROVED, "poll")
        assert verdict.ticket.product is Product(name)
        assert (await session.status(again)).complete
        async with session.follow(again) as verdicts:
            assert [found.code async for found in verdicts] == [CODES[name]]


async def test_an_aml_check_has_no_asynchronous_form(running: RunningSandbox) -> None:
    """Submitting one is refused before anything leaves."""
    async with session_of(running) as session:
        with pytest.raises(InvalidJob, match="AML Check has no asynchronous form: use verify") as caught:
            await session.submit(ONE_REQUEST["aml_check"]())
    assert caught.value.ticket is None
    assert running.sandbox.jobs == {}


def _uploads(pictures: Pictures) -> dict[str, Job]:
    card = Document("NG", pictures.selfie, pictures.other, "PASSPORT")
    return {
        "biometric_kyc": Job.biometric_kyc("bio", pictures.selfie, info(), liveness=pictures.liveness),
        "by card": Job.biometric_kyc("card", pictures.selfie, IdInfo("NG", "PASSPORT"), id_card=pictures.other),
        "doc_verification": Job.document_verification("doc", pictures.selfie, card),
        "enhanced_document_verification": Job.enhanced_document_verification("edv", pictures.selfie, card),
        "enrolled": Job.document_verification("ada", None, card, use_enrolled_image=True),
    }


async def test_uploads_with_ids_and_documents(running: RunningSandbox, pictures: Pictures) -> None:
    """Each product that travels as a zip comes to its approval; what the sandbox got is what was said."""
    async with session_of(running) as session:
        jobs = _uploads(pictures)
        verdicts = {name: await session.verify(job, until="final") for name, job in jobs.items()}
    assert {name: (verdict.code, verdict.approved) for name, verdict in verdicts.items()} == dict.fromkeys(
        jobs, ("0810", True)
    )
    got = {name: running.sandbox.jobs[job.job_id] for name, job in jobs.items()}
    kinds = {name: sorted({image.image_type_id for image in job.images}) for name, job in got.items()}
    assert kinds == {
        "biometric_kyc": [0, 4],
        "by card": [0, 1],
        "doc_verification": [0, 1, 5],
        "enhanced_document_verification": [0, 1, 5],
        "enrolled": [1, 5],
    }
    assert got["biometric_kyc"].id_info["id_number"] == NUMBER
    assert (got["biometric_kyc"].id_info["entered"], got["by card"].id_info["entered"]) == (True, False)
    assert verdicts["doc_verification"].record["Country"] == "NG"


async def test_an_update_of_a_photo_is_unknown(running: RunningSandbox, pictures: Pictures) -> None:
    """No source says what its codes mean: the verdict is UNKNOWN, and opens no door."""
    async with session_of(running) as session:
        verdict = await session.verify(Job.update_photo("ada", pictures.selfie), until="final")
    assert (verdict.decision, verdict.approved) == (Decision.UNKNOWN, False)


async def test_a_stream_mixes_products_and_tickets(running: RunningSandbox, pictures: Pictures) -> None:
    """Jobs of all products and tickets of earlier ones come out with their verdicts; a ticket has no job."""
    async with session_of(running) as session:
        ticket = await session.submit(ONE_REQUEST["enhanced_kyc"]())
        lost = Ticket("ada", "never-sent", 5)
        jobs = [make() for make in ONE_REQUEST.values()] + list(_uploads(pictures).values())
        async with session.stream([*jobs, ticket, lost], until="final") as outcomes:
            found = [outcome async for outcome in outcomes]
    finished = [outcome for outcome in found if isinstance(outcome, Finished)]
    assert len(finished) == len(jobs) + 1
    assert {outcome.verdict.decision for outcome in finished} == {Decision.APPROVED}
    assert {outcome.job for outcome in finished if outcome.job is None or outcome.ticket == ticket} == {None}
    failed = [outcome for outcome in found if isinstance(outcome, Failed)]
    assert [(outcome.job, outcome.ticket) for outcome in failed] == [(None, lost)]


async def test_a_stream_asks_about_many_at_once(running: RunningSandbox) -> None:
    """Requests without pictures do not wait for each other: more are under way than there are upload places."""
    running.sandbox.fault("request", delay=0.2, times=None)
    jobs = [ONE_REQUEST["enhanced_kyc"]() for _ in range(48)]
    async with session_of(running) as session, session.stream(jobs) as outcomes:
        first = await anext(outcomes)
        assert isinstance(first, Finished)
        assert session.stats.in_flight > session.limits.uploads
        assert len([outcome async for outcome in outcomes]) == 47


@pytest.mark.parametrize(
    ("digit", "code", "decision"),
    [("1", "1013", "rejected"), ("2", "1014", "error"), ("3", "1015", "error")],
)
async def test_what_an_authority_says(digit: str, code: str, decision: str, running: RunningSandbox) -> None:
    """Not found, a wrong format and an authority that is down are verdicts, the last word of the one request."""
    async with session_of(running) as session:
        verdict = await session.verify(ONE_REQUEST["enhanced_kyc"](id_info=info(NUMBER[:-1] + digit)), until="final")
    assert (verdict.code, verdict.decision, verdict.final) == (code, decision, True)
    assert "Not Available" not in verdict.record.values()


async def test_an_authority_that_is_down_may_be_asked_again(running: RunningSandbox) -> None:
    """1015 is an error, and the same person may be asked about again, as another job; 1016 is one that stays."""
    for code, resubmit, text in (("1015", True, "unavailable"), ("1016", False, "not activated")):
        running.sandbox.script("ada", code=code)
        async with session_of(running) as session:
            verdict = await session.verify(ONE_REQUEST["enhanced_kyc"]())
        (meaning,) = [each for each in explain(code) if 5 in each.job_types]
        assert (verdict.decision, verdict.final, verdict.approved) == (Decision.ERROR, True, False)
        assert (meaning.decision, meaning.resubmit) == (Decision.ERROR, resubmit)
        assert text in meaning.text


@pytest.mark.parametrize("photo", ["no base64!", "", "Not Available", 7, ["a"], {"jpeg": "x"}, None])
async def test_a_photo_that_is_not_base64_stays_what_it_is(
    photo: Any, session: SmileSession, running: RunningSandbox
) -> None:
    """Nobody decodes it: whatever an authority calls a photo costs no verdict; words for nothing are left out."""
    running.sandbox.fault("request", tamper=lambda body: body.update(Photo=photo))
    verdict = await session.verify(ONE_REQUEST["enhanced_kyc"]())
    assert verdict.approved
    assert verdict.record.get("Photo") == (None if photo in ("", "Not Available") else photo)


async def test_a_refusal_in_a_good_reply(session: SmileSession, running: RunningSandbox) -> None:
    """An error that comes with HTTP 200 is an answer: refused, and not sent again."""
    body = {"error": "Unsupported business type", "code": "2413", "success": False}
    running.sandbox.fault("request", body=body)
    with pytest.raises(Refused, match="2413 Unsupported business type"):
        await session.verify(ONE_REQUEST["business_verification"]())
    assert running.sandbox.jobs == {}


async def test_a_blocked_number(session: SmileSession, running: RunningSandbox) -> None:
    """HTTP 429 with 2222 is about one id number: told at once, not sent again, and nobody else waits for it."""
    running.sandbox.fault("request", status=429, body={"error": "blocked", "code": "2222"}, times=None, user_id="ada")
    with pytest.raises(IdNumberBlocked) as caught:
        await session.verify(ONE_REQUEST["enhanced_kyc"]())
    assert (caught.value.code, caught.value.retryable) == ("2222", False)
    assert (await session.verify(Job.enhanced_kyc("eve", info()))).approved


# --- replies that are not what they should be


async def test_a_reply_without_a_signature_is_confirmed_by_status(
    session: SmileSession, running: RunningSandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Where a product turns out not to sign, a warning says so and one status query confirms the verdict."""
    running.sandbox.fault("request", tamper=_unsign)
    job = ONE_REQUEST["enhanced_kyc"]()
    verdict = await session.verify(job)
    assert (verdict.approved, verdict.source, verdict.code) == (True, "poll", "1012")
    assert "carries no signature" in caplog.text
    assert running.sandbox.count(job.job_id) == 1


async def test_a_reply_without_a_signature_that_status_does_not_know(
    session: SmileSession, running: RunningSandbox
) -> None:
    """It is told, not confirmed, and opens no door."""
    running.sandbox.settings.without_status = ("aml_check",)
    running.sandbox.fault("request", tamper=_unsign)
    verdict = await session.verify(ONE_REQUEST["aml_check"]())
    assert (verdict.decision, verdict.confirmed, verdict.approved) == (Decision.APPROVED, False, False)


def _unsign(body: dict[str, Any]) -> None:
    body.pop("signature")


@pytest.mark.parametrize("name", ONE_REQUEST)
async def test_a_forged_reply_is_not_sent_again(name: str, session: SmileSession, running: RunningSandbox) -> None:
    """A wrong signature, or another's ids, end it with the ticket, whether or not the request was taken."""
    for spoil in ({"signature": "AAAA"}, {"PartnerParams": {"user_id": "eve", "job_id": "x", "job_type": 5}}):
        job = ONE_REQUEST[name]()
        running.sandbox.fault("request", tamper=lambda body, spoil=spoil: body.update(spoil))  # type: ignore[misc]
        with pytest.raises(ForgedReply) as caught:
            await session.verify(job)
        assert (caught.value.ticket, caught.value.retryable) == (job.ticket, False)
        assert running.sandbox.count(job.job_id) == 1


# --- lost answers, on a clock that jumps


@pytest.mark.parametrize("name", ONE_REQUEST)
async def test_a_lost_reply_is_found_again(name: str, smile_session: SmileSession, sandbox: Sandbox) -> None:
    """The answer is lost after the lookup: status tells the result, of this job and confirmed; one lookup was made."""
    sandbox.fault("request", cut=True, effect=True)
    job = ONE_REQUEST[name]()
    verdict = await smile_session.verify(job)
    assert (verdict.approved, verdict.source, verdict.ticket.product) == (True, "poll", Product(name))
    assert sandbox.count(job.job_id) == 1


async def test_a_lost_request_is_sent_once_more_after_a_minute(smile_session: SmileSession, sandbox: Sandbox) -> None:
    """Enhanced KYC: a request that never arrived is looked for for 60 s, and then sent once more."""
    sandbox.fault("request", cut=True)
    began = smile_session.now()
    job = ONE_REQUEST["enhanced_kyc"]()
    assert (await smile_session.verify(job)).approved
    assert 60 <= smile_session.now() - began < 70
    assert sandbox.count(job.job_id) == 1


async def test_a_result_that_is_recorded_late(smile_session: SmileSession, sandbox: Sandbox) -> None:
    """The authority works for 40 s more while status says 2304: the result is waited for, not asked for again."""
    sandbox.settings.recorded_after = 40.0
    sandbox.fault("request", cut=True, effect=True)
    job = ONE_REQUEST["enhanced_kyc"]()
    began = smile_session.now()
    assert (await smile_session.verify(job)).approved
    assert 40 <= smile_session.now() - began < 50
    assert sandbox.count(job.job_id) == 1


async def test_twice_lost_is_unknown(smile_session: SmileSession, sandbox: Sandbox) -> None:
    """Two requests without an answer are enough; who calls again with the same job resumes it by asking first."""
    sandbox.fault("request", cut=True, times=2)
    job = ONE_REQUEST["enhanced_kyc"]()
    with pytest.raises(SubmissionUnknown) as caught:
        await smile_session.verify(job, patience=300)
    assert caught.value.ticket == job.ticket
    assert sandbox.jobs == {}
    assert (await smile_session.verify(job, patience=300)).approved
    assert sandbox.count(job.job_id) == 1


@pytest.mark.parametrize("name", ["basic_kyc", "business_verification", "aml_check"])
@pytest.mark.parametrize("effect", [False, True], ids=["never arrived", "taken"])
async def test_what_nobody_can_tell_is_never_sent_again(
    name: str, effect: bool, smile_session: SmileSession, sandbox: Sandbox
) -> None:
    """Where status does not know the product, the caller hears so, and calling again does not send it either."""
    sandbox.settings.without_status = (name,)
    sandbox.settings.run_again = (name,)
    sandbox.fault("request", cut=True, effect=effect)
    job = ONE_REQUEST[name]()
    for _ in range(2):
        with pytest.raises(SubmissionUnknown) as caught:
            await smile_session.verify(job)
        assert isinstance(caught.value, Unavailable)
        assert (caught.value.ticket, caught.value.retryable) == (job.ticket, False)
        assert "compare what it says with what you sent" in str(caught.value)
        assert (sandbox.count(job.job_id) if effect else len(sandbox.jobs)) == int(effect)


class Off:
    """A clock whose time of day is *off* by so many seconds."""

    def __init__(self, clock: Clock, off: float) -> None:
        self._clock, self._off = clock, off

    def time(self) -> float:
        return self._clock.time() + self._off

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)


async def learns_the_time(session: SmileSession) -> None:
    """A first request, which may be refused for its clock, is behind us."""
    with pytest.raises(JobNotFound):
        await session.status(Ticket("ada", "none", 5))


#: Seconds by which a machine's clock may be off: as little as a Date header can not tell, and so much that it must.
OFFS = (3.0, -3.0, 90_000.0, -90_000.0)


@pytest.mark.parametrize("off", OFFS)
@pytest.mark.parametrize("name", ONE_REQUEST)
async def test_a_wrong_clock_disowns_no_result(
    name: str, off: float, smile_settings: Mapping[str, Any], sandbox: Sandbox, smile_clock: Clock
) -> None:
    """A lost reply's result is ours, and one that came before our attempt is not, by the clock that signs them."""
    here = {**smile_settings, "clock": Off(smile_clock, off)}
    async with SmileSession(**here) as session:
        await learns_the_time(session)
        sandbox.fault("request", cut=True, effect=True)
        job = ONE_REQUEST[name](job_id="old")
        assert (await session.verify(job)).approved
        await smile_clock.sleep(2.0)
        sandbox.fault("request", cut=True, effect=True)
        with pytest.raises(JobExists):
            await session.verify(ONE_REQUEST[name](job_id="old"))
    assert sandbox.count("old") == 1


async def test_a_slow_ledger_disowns_no_result(
    smile_settings: Mapping[str, Any], sandbox: Sandbox, smile_clock: Clock, tmp_path: Path
) -> None:
    """What the ledger took to say how old the first attempt is does not make it any younger."""

    class Slow(Ledger):
        async def begin(self, job: Job, digest: bytes) -> Begun:
            begun = await super().begin(job, digest)
            await smile_clock.sleep(1.0)
            return begun

    job = ONE_REQUEST["aml_check"](job_id="j1")
    for lost in (True, False):
        sandbox.settings.without_status = ("aml_check",) if lost else ()
        async with (
            (Ledger if lost else Slow)(tmp_path / "l.db", clock=smile_clock) as ledger,
            SmileSession(**{**smile_settings, "ledger": ledger}) as session,
        ):
            if lost:
                sandbox.fault("request", cut=True, effect=True)
                with pytest.raises(SubmissionUnknown):
                    await session.verify(job)
            else:
                assert (await session.verify(job)).approved


@pytest.mark.parametrize("off", OFFS)
async def test_a_wrong_clock_disowns_no_result_after_a_restart(
    off: float, smile_settings: Mapping[str, Any], sandbox: Sandbox, smile_clock: Clock, tmp_path: Path
) -> None:
    """The next process, with the same wrong clock, finds the result of the one before, and no older one."""
    clock = Off(smile_clock, off)
    sandbox.settings.without_status = ("aml_check",)
    for number, old in enumerate((False, True)):
        job = ONE_REQUEST["aml_check"](job_id=f"j{number}")
        place = tmp_path / f"{number}.db"
        if old:
            async with SmileSession(**smile_settings) as session:
                assert (await session.verify(ONE_REQUEST["aml_check"](job_id=job.job_id))).approved
            await smile_clock.sleep(30.0)
        sandbox.settings.without_status = ("aml_check",)
        async with (
            Ledger(place, clock=clock) as ledger,
            SmileSession(**{**smile_settings, "clock": clock, "ledger": ledger}) as session,
        ):
            await learns_the_time(session)
            sandbox.fault("request", cut=True, effect=True)
            with pytest.raises(SubmissionUnknown):
                await session.verify(job)
        sandbox.settings.without_status = ()
        await smile_clock.sleep(600.0)
        async with (
            Ledger(place, clock=clock) as ledger,
            SmileSession(**{**smile_settings, "clock": clock, "ledger": ledger}) as session,
        ):
            if old:
                with pytest.raises(JobExists):
                    await session.verify(job)
            else:
                assert (await session.verify(job)).approved
        assert sandbox.count(job.job_id) == 1


@pytest.mark.parametrize("by", [-86_400.0, -40.0, 3_600.0])
@pytest.mark.parametrize("name", ONE_REQUEST)
async def test_a_clock_that_is_set_between_two_processes_disowns_no_result(
    name: str, by: float, smile_settings: Mapping[str, Any], sandbox: Sandbox, smile_clock: Clock, tmp_path: Path
) -> None:
    """How long ago a lost lookup was sent is counted, not read off a clock: its result is ours, an older one is not."""
    for job_id, old in (("theirs", True), ("ours", False)):
        clock = Off(smile_clock, 0.0)
        given = {**smile_settings, "clock": clock}
        if old:
            async with SmileSession(**smile_settings) as session:
                assert (await session.verify(ONE_REQUEST[name](job_id=job_id))).approved
            await smile_clock.sleep(30.0)
        async with Ledger(tmp_path / f"{job_id}.db", clock=clock) as ledger:
            job = ONE_REQUEST[name](job_id=job_id)
            async with SmileSession(**given, ledger=ledger) as session:
                sandbox.fault("request", cut=True, effect=True)
                sandbox.fault("job_status", status=500, times=None)
                with pytest.raises(Unavailable):
                    await session.verify(job, patience=5.0)
        clock._off = by
        sandbox.mend()
        async with (
            Ledger(tmp_path / f"{job_id}.db", clock=clock) as ledger,
            SmileSession(**given, ledger=ledger) as session,
        ):
            if old:
                with pytest.raises(JobExists):
                    await session.verify(job)
            else:
                assert (await session.verify(job)).approved
        assert sandbox.count(job_id) == 1


@pytest.mark.parametrize("name", ONE_REQUEST)
@pytest.mark.parametrize("told", [True, False], ids=["status tells", "status does not"])
async def test_a_double_click_is_one_lookup(
    name: str, told: bool, smile_session: SmileSession, sandbox: Sandbox
) -> None:
    """The second click asks about the first one's lookup, and is unknown where nobody tells."""
    # Of Enhanced KYC it is known that a job_id is good for one.
    sandbox.settings.run_again = () if name == "enhanced_kyc" else (name,)
    sandbox.settings.without_status = () if told else (name,)
    job, ends = ONE_REQUEST[name](job_id="j"), []

    async def click() -> None:
        try:
            ends.append((await smile_session.verify(job, patience=60)).code)
        except SmileError as error:
            ends.append(type(error).__name__)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(click)
        tasks.start_soon(click)
    assert sandbox.count("j") == 1
    assert sorted(ends) == sorted([CODES[name], CODES[name] if told else "SubmissionUnknown"])


async def test_a_submitted_lookup_may_be_recorded_late(smile_session: SmileSession, sandbox: Sandbox) -> None:
    """Enhanced KYC by its asynchronous form: what status knows only 40 s later is waited for."""
    sandbox.settings.recorded_after = 40.0
    ticket = await smile_session.submit(ONE_REQUEST["enhanced_kyc"]())
    assert (await smile_session.wait(ticket)).approved


async def test_exists_after_a_lost_attempt_without_a_result(smile_session: SmileSession, sandbox: Sandbox) -> None:
    """2215 to our second attempt may be about the first: without a result nobody can tell."""
    sandbox.settings.without_status = ("enhanced_kyc",)
    sandbox.fault("request", cut=True, effect=True)
    job = ONE_REQUEST["enhanced_kyc"]()
    with pytest.raises(SubmissionUnknown) as caught:
        await smile_session.verify(job)
    assert not caught.value.retryable
    assert sandbox.count(job.job_id) == 1


WEATHERS: dict[str, dict[str, Any]] = {
    "clear": {},
    "the 2215 is lost": {"cut": True, "effect": True},
    "the request is lost": {"cut": True},
    "a 502 instead": {"status": 502, "effect": True},
}


@pytest.mark.parametrize("weather", WEATHERS)
@pytest.mark.parametrize("name", ONE_REQUEST)
async def test_an_impostor_gets_no_old_verdict(
    name: str, weather: str, smile_session: SmileSession, sandbox: Sandbox, smile_clock: Any
) -> None:
    """Under the job_id of an approved job another person's, even one of the same number: JobExists, never a verdict."""
    old = ONE_REQUEST[name](job_id="old")
    assert (await smile_session.verify(old)).approved
    await smile_clock.sleep(1)
    others = [ONE_REQUEST[name](job_id="old")]
    if name != "aml_check":
        others.append(ONE_REQUEST[name](job_id="old", id_info=info(OTHER)))
    for job in others:
        if WEATHERS[weather]:
            sandbox.fault("request", **WEATHERS[weather])
        with pytest.raises(JobExists) as caught:
            await smile_session.verify(job, patience=200)
        assert caught.value.ticket is not None
        assert sandbox.count("old") == 1


async def test_an_old_job_of_another_product(smile_session: SmileSession, sandbox: Sandbox, smile_clock: Any) -> None:
    """A result under our ids that is of another job type is another job's, however fresh."""
    assert (await smile_session.verify(ONE_REQUEST["business_verification"](job_id="old"))).approved
    sandbox.fault("request", cut=True, effect=True)
    with pytest.raises(JobExists):
        await smile_session.verify(ONE_REQUEST["enhanced_kyc"](job_id="old"))


async def test_a_job_about_another_number_does_not_resume(smile_session: SmileSession, sandbox: Sandbox) -> None:
    """Calling again with another id number under a job_id that got lost is another job: 2215, and JobExists."""
    sandbox.fault("request", cut=True, effect=True)
    sandbox.fault("job_status", status=400, body={"code": "2405", "error": "no"})
    with pytest.raises(SubmissionUnknown):
        await smile_session.verify(ONE_REQUEST["enhanced_kyc"](job_id="mine"))
    with pytest.raises(JobExists):
        await smile_session.verify(ONE_REQUEST["enhanced_kyc"](job_id="mine", id_info=info(OTHER)))
    assert sandbox.count("mine") == 1


async def test_patience_ends_in_the_middle(smile_session: SmileSession, sandbox: Sandbox) -> None:
    """Out of patience while status is asked: for a product that may be repeated once more, for others unknown."""
    for name, retryable in (("enhanced_kyc", True), ("basic_kyc", False)):
        sandbox.settings.without_status = (name,)
        sandbox.fault("request", cut=True, times=2)
        with pytest.raises(Unavailable) as caught:
            await smile_session.verify(ONE_REQUEST[name](), patience=8)
        assert caught.value.retryable is retryable
        assert caught.value.ticket is not None
        sandbox.faults.clear()


@pytest.mark.parametrize("name", ONE_REQUEST)
async def test_no_number_in_logs_or_errors(
    name: str, smile_session: SmileSession, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a log line, an error nor a repr of job, verdict or outcome shows whom it is about."""
    caplog.set_level("DEBUG", logger="smile_async")
    canary = "90817263540"
    more = {} if name == "aml_check" else {"id_info": info(canary)}
    job = ONE_REQUEST[name](**more)
    verdict = await smile_session.verify(job)
    sandbox.fault("request", cut=True, times=None)
    with pytest.raises(SmileError) as caught:
        await smile_session.verify(ONE_REQUEST[name](**more), patience=5)
    shown = f"{caplog.text} {caught.value!r} {caught.value.job!r} {job!r} {verdict!r} {verdict.to_json()}"
    for secret in (canary, "Ada", "Obi", "1990"):
        assert secret not in shown


def test_what_travels_inline(pictures: Pictures) -> None:
    """A document's pictures keep their order beside the face's."""
    job = Job.document_verification("ada", pictures.selfie, Document("NG", png(), png()))
    assert [name for name, _ in job.named_images()] == ["selfie", "front", "back"]


# --- what an attacker, or bad weather, would like


@pytest.mark.parametrize("off", [-86_400.0, 86_400.0], ids=["slow", "fast"])
@pytest.mark.parametrize("name", ["aml_check", "enhanced_kyc"])
async def test_a_wrong_clock_inherits_no_old_verdict(
    name: str, off: float, sandbox: Sandbox, smile_settings: Any, smile_clock: Any
) -> None:
    """The first attempt is dated by the clock that its own refusal corrected: what is older is another's all the same,
    and what is not is ours.
    """

    class Off:
        def __getattr__(self, name: str) -> Any:
            return getattr(smile_clock, name)

        def time(self) -> float:
            return float(smile_clock.time() + off)

    async with SmileSession(**smile_settings) as session:
        assert (await session.verify(ONE_REQUEST[name](job_id="old"))).approved
    await smile_clock.sleep(60)
    for job_id, ours in (("old", False), ("new", True)):
        async with SmileSession(**{**smile_settings, "clock": Off()}) as session:
            # It is refused for its clock and sent again at once; the answer to that is lost.
            sandbox.fault("request", headers={"Server": "as it is"})
            sandbox.fault("request", cut=True, effect=True)
            submitted = session.verify(ONE_REQUEST[name](job_id=job_id))
            if ours:
                assert (await submitted).approved
            else:
                with pytest.raises(JobExists):
                    await submitted
    assert (sandbox.count("old"), sandbox.count("new")) == (1, 1)


async def test_a_stream_with_fewer_places_than_jobs_loses_none(sandbox: Sandbox, smile_settings: Any) -> None:
    """A job that waits for its place after the source's end is not forgotten by a quick reader."""
    del sandbox
    async with SmileSession(**smile_settings, limits=Limits(requests=1, uploads=3)) as session:
        jobs = [ONE_REQUEST["enhanced_kyc"](job_id=str(number)) for number in range(5)]
        async with session.stream(jobs) as outcomes:
            got = {outcome.ticket.job_id async for outcome in outcomes if outcome.ticket}
    assert got == {"0", "1", "2", "3", "4"}


async def test_an_outage_of_status_makes_nobody_give_up(
    sandbox: Sandbox, smile_settings: Any, smile_clock: Any
) -> None:
    """Nothing is kept in memory for a request without pictures: it waits for the outage's end like anybody else."""
    sandbox.fault("request", cut=True, effect=True, times=12)
    sandbox.fault("job_status", status=503, times=None)
    async with SmileSession(**smile_settings) as session, anyio.create_task_group() as tasks:
        jobs = [Job.enhanced_kyc(f"user{number}", info()) for number in range(12)]
        approved: list[bool] = []

        async def verify(job: Job) -> None:
            approved.append((await session.verify(job)).approved)

        for job in jobs:
            tasks.start_soon(verify, job)
        await smile_clock.sleep(20)
        sandbox.mend("job_status")
    assert approved == [True] * 12
    assert {sandbox.count(job.job_id) for job in jobs} == {1}


@pytest.mark.parametrize("wish", [{}, {"history": True}, {"image_links": True}])
async def test_a_message_on_the_way_wakes_nobody(
    wish: dict[str, bool], sandbox: Sandbox, smile_session: SmileSession, smile_clock: Any, pictures: Pictures
) -> None:
    """1012 of a Biometric KYC is progress, whatever is wanted beside the verdict, and whoever delivers it."""
    sandbox.script("ada", code="1012", after=1, then=[(30, "0810")])
    job = Job.biometric_kyc("ada", pictures.selfie, info())
    ticket = await smile_session.submit(job)
    await smile_clock.sleep(5)
    said = (await smile_session.status(ticket)).verdict
    assert said is not None
    assert (said.code, said.on_the_way, said.confirmed) == ("1012", True, True)
    written: list[Any] = []
    smile_session.poller.on_news = written.append
    await smile_session.deliver(said)
    assert written == []
    another = Job.biometric_kyc("eve", pictures.selfie, info())
    sandbox.script("eve", code="1012", after=1, then=[(30, "0810")])
    assert (await smile_session.verify(another, **wish)).code == "0810"
