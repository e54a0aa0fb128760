"""Jobs come to the results they were told to, at the moment they were told to, in Smile's shape."""

import base64
from typing import Any

import pytest
from sandbox_support import HandClock, Partner, entry, in_process, jpeg, sign, zipped

from smile_async.jobs.codes import classify
from smile_async.sandbox.outcomes import actions_of, text_of
from smile_async.sandbox.products import PRODUCTS, Product, of_type


@pytest.fixture
def partner() -> Any:
    """A partner whose user ada is enrolled."""
    with in_process() as partner:
        partner.sandbox.enroll("ada")
        yield partner


def turn(partner: Partner, seconds: float) -> None:
    """Let *seconds* pass on the sandbox's clock."""
    clock = partner.sandbox.settings.clock
    assert isinstance(clock, HandClock)
    clock.now += seconds


CARD = zipped(
    {"images": [entry(0, "selfie.jpg"), entry(1, "selfie.jpg")], "id_info": {"country": "KE", "id_type": "X"}}
)


def by_type(job_type: int) -> Product:
    """The product of pictures that has that number."""
    product = of_type(job_type)
    assert product is not None
    return product


@pytest.mark.parametrize(
    ("job_type", "outcomes"),
    [
        (1, {"0": "0810", "1": "0811", "2": "0812"}),
        (2, {"0": "0820", "1": "0821", "2": "0822"}),
        (4, {"0": "0840", "1": "0841", "2": "0844"}),
        (6, {"0": "0810", "1": "0811", "2": None}),
        (11, {"0": "0810", "1": "0811", "2": "1012"}),
    ],
)
async def test_sandbox_result_forces_the_outcome(
    partner: Partner, job_type: int, outcomes: dict[str, str | None]
) -> None:
    """The documented `sandbox_result` approves, rejects or suspends every job type (documents just wait)."""
    for forced, code in outcomes.items():
        user = "ada" if job_type == 2 else f"user-{forced}"
        await partner.submit(user, forced, job_type, content=CARD, sandbox_result=forced)
        assert partner.sandbox.jobs[forced].code == code


async def test_a_result_has_the_documented_shape(partner: Partner) -> None:
    """All fields of a result, the extra partner params echoed, the signature that of its own timestamp."""
    await partner.submit("ada", "j1", order="A-19")
    body = await partner.status("ada", "j1", history=True)
    result = body["result"]
    assert (body["code"], body["job_complete"], body["job_success"]) == ("2302", True, True)
    assert "image_links" not in body
    assert result["PartnerParams"] == {"user_id": "ada", "job_id": "j1", "job_type": 2, "order": "A-19"}
    assert (result["ResultCode"], result["SmileJobID"], result["Source"]) == ("0820", "0000000001", "WebAPI")
    assert result["ResultText"] == "Authenticate User Machine Judgement"
    assert (result["ResultType"], len(result["Actions"])) == ("SAIA", 12)
    assert result["Actions"]["Selfie_To_Registered_Selfie_Compare"] == "Completed"
    assert result["ConfidenceValue"] == "99"
    assert result["signature"] == sign(result["timestamp"])
    assert body["history"] == [result]
    assert partner.sandbox.jobs["j1"].polls == 1


async def test_rejections_are_complete_but_no_success(partner: Partner) -> None:
    """A rejected face completes the job without success."""
    await partner.submit("ada", "j1", sandbox_result="1")
    body = await partner.status("ada", "j1")
    assert (body["job_complete"], body["job_success"], body["result"]["ConfidenceValue"]) == (True, False, "0")


async def test_latency_passes_before_a_result() -> None:
    """Between zip and decision the job is not complete and has no result object."""
    with in_process(latency=5) as partner:
        await partner.submit("ada", "j1", 4)
        body = await partner.status("ada", "j1", history=True)
        assert (body["code"], body["job_complete"], body["history"]) == ("2302", False, [])
        assert isinstance(body["result"], str)
        job = partner.sandbox.jobs["j1"]
        assert (job.state, job.code, job.final) == ("processing", None, False)
        turn(partner, 5)
        assert (await partner.status("ada", "j1"))["job_complete"] is True
        assert (job.state, job.decision) == ("final", "approved")


async def test_review_turns_provisional_into_final() -> None:
    """A provisional result is not complete; after the review time the human's approval is, and history tells both."""
    with in_process(latency=1, review=7200) as partner:
        partner.sandbox.enroll("ada")
        await partner.submit("ada", "j1", sandbox_result="2")
        turn(partner, 1)
        body = await partner.status("ada", "j1")
        assert (body["result"]["ResultCode"], body["job_complete"], body["job_success"]) == ("0822", False, False)
        assert partner.sandbox.jobs["j1"].state == "provisional"
        turn(partner, 7200)
        body = await partner.status("ada", "j1", history=True)
        assert (body["result"]["ResultCode"], body["job_complete"], body["job_success"]) == ("1220", True, True)
        assert [entry["ResultCode"] for entry in body["history"]] == ["1220", "0822"]
        await partner.submit("doc", "j2", 6, content=CARD, sandbox_result="2")
        turn(partner, 7201)
        assert partner.sandbox.jobs["j2"].code == "0810"


async def test_provisional_may_count_as_complete() -> None:
    """Nobody knows whether the real job_complete is true for a provisional result: both can be had."""
    with in_process(complete_on_provisional=True) as partner:
        await partner.submit("ada", "j1", 4, sandbox_result="2")
        body = await partner.status("ada", "j1")
        assert (body["job_complete"], body["job_success"], body["result"]["ResultCode"]) == (True, True, "0844")


async def test_a_script_decides_all_following_jobs(partner: Partner) -> None:
    """Scripted codes come at scripted times, for each job of the user anew; sandbox_result still wins."""
    partner.sandbox.script("ada", code="0824", after=2, then=[(10, "0825"), (60, "1222")])
    for job_id in ("j1", "j2"):
        await partner.submit("ada", job_id)
        seen = []
        for seconds in (0, 2, 10, 60):
            turn(partner, seconds)
            seen.append(partner.sandbox.jobs[job_id].code)
        assert seen == [None, "0824", "0825", "1222"]
    await partner.submit("ada", "j3", sandbox_result="0")
    assert partner.sandbox.jobs["j3"].code == "0820"
    await partner.submit("bob", "j4", 4)
    assert partner.sandbox.jobs["j4"].code == "0840"


async def test_a_script_may_use_codes_nobody_knows(partner: Partner) -> None:
    """An undocumented code is the last word, decides nothing, and says so."""
    partner.sandbox.script("ada", code="0899")
    await partner.submit("ada", "j1")
    body = await partner.status("ada", "j1")
    assert (body["result"]["ResultCode"], body["job_complete"], body["job_success"]) == ("0899", True, False)
    assert partner.sandbox.jobs["j1"].decision == "unknown"


def test_scripts_are_checked(partner: Partner) -> None:
    """What is no code, or runs backwards in time, is refused where it is written."""
    for code in ("820", "abcd", 820, "²²²²"):
        with pytest.raises(ValueError, match="four digits"):
            partner.sandbox.script("ada", code=code)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="four digits"):
        partner.sandbox.script("ada", code="0820", then=[(1, "x")])
    with pytest.raises(ValueError, match="negative"):
        partner.sandbox.script("ada", code="0820", after=-1)
    with pytest.raises(ValueError, match="negative"):
        partner.sandbox.script("ada", code="0820", then=[(-1, "0820")])


async def test_a_corrupt_zip_beats_the_script(partner: Partner) -> None:
    """No script can approve what could not be read."""
    partner.sandbox.script("ada", code="0820")
    await partner.submit("ada", "j1", content=b"junk")
    body = await partner.status("ada", "j1")
    assert (body["result"]["ResultCode"], body["job_success"]) == ("0903", False)
    assert body["result"]["Actions"]["Selfie_Provided"] == "Failed"


async def test_a_person_may_review(partner: Partner) -> None:
    """Approve, reject, spoof or any code replaces what was planned for later, from now on."""
    partner.sandbox.settings.review = 100
    for judgement, code in [("approve", "1220"), ("reject", "1221"), ("spoof", "1222"), ("0907", "0907")]:
        await partner.submit("ada", judgement, sandbox_result="2")
        turn(partner, 1)
        partner.sandbox.review(judgement, judgement)
        turn(partner, 1000)
        body = await partner.status("ada", judgement, history=True)
        assert [entry["ResultCode"] for entry in body["history"]] == [code, "0822"]
    await partner.upload("ada", "early")
    for job_id, judgement, error in [("early", "approve", ValueError), ("x", "approve", KeyError)]:
        with pytest.raises(error):
            partner.sandbox.review(job_id, judgement)
    with pytest.raises(ValueError, match="one of approve"):
        partner.sandbox.review("approve", "perhaps")


async def test_a_registration_rejected_on_review_is_no_enrolment(partner: Partner) -> None:
    """A provisional enrolment lasts until a person says otherwise."""
    await partner.submit("bob", "r1", 4, sandbox_result="2")
    await partner.upload("bob", "a1", 2)
    partner.sandbox.review("r1", "reject")
    reply = await partner.post("upload", partner.prep("bob", "a2", 2))
    assert reply.json()["code"] == "2210"


@pytest.mark.parametrize(
    ("code", "job_type", "expected"),
    [
        ("0820", 2, {"Liveness_Check": "Passed", "Register_Selfie": "Not Applicable"}),
        ("0821", 2, {"Selfie_To_Registered_Selfie_Compare": "Failed"}),
        ("0822", 2, {"Liveness_Check": "Under Review"}),
        ("0823", 2, {"Liveness_Check": "Failed"}),
        ("0824", 2, {"Liveness_Check": "Sent to Human Review"}),
        ("0825", 2, {"Selfie_To_Registered_Selfie_Compare": "Provisionally Approved"}),
        ("1220", 2, {"Human_Review_Compare": "Passed", "Human_Review_Liveness_Check": "Passed"}),
        ("1221", 2, {"Human_Review_Compare": "Failed"}),
        ("1222", 2, {"Human_Review_Liveness_Check": "Failed"}),
        ("0921", 2, {"Liveness_Check": "Unable To Determine", "Selfie_Provided": "Passed"}),
        ("0907", 2, {"Liveness_Check": "Failed"}),
        ("0840", 4, {"Register_Selfie": "Approved", "Human_Review_Compare": "Not Applicable"}),
        ("0844", 4, {"Register_Selfie": "Provisionally Approved"}),
        ("0846", 4, {"Liveness_Check": "Sent to Human Review"}),
        ("0841", 4, {"Register_Selfie": "Rejected"}),
        ("0810", 1, {"Register_Selfie": "Approved", "Selfie_To_ID_Authority_Compare": "Completed"}),
        ("0811", 6, {"Verify_Document": "Failed", "Document_Check": "Passed"}),
        ("1213", 1, {"Human_Review_Liveness_Check": "Unable To Determine"}),
        ("1214", 1, {"Human_Review_Compare": "Failed"}),
        ("0812", 6, {"Liveness_Check": "Unable To Determine"}),
        ("0817", 6, {"Selfie_To_ID_Card_Compare": "Completed"}),
        ("0903", 4, {"Selfie_Provided": "Failed", "Liveness_Check": "Not Applicable"}),
        ("1299", 2, {"Liveness_Check": "Not Applicable"}),
    ],
)
def test_actions_agree_with_the_code(code: str, job_type: int, expected: dict[str, str]) -> None:
    """Each code's actions tell the story of that code with the official values."""
    actions = actions_of(code, by_type(job_type), frames=8)
    assert {key: actions[key] for key in expected} == expected
    assert len(actions) == (14 if job_type == 6 else 12)


@pytest.mark.parametrize("frames", [0, 1, 2, 5, 6, 7, 8, 9, 20])
def test_liveness_is_judged_by_six_to_eight_frames(frames: int) -> None:
    """Without frames, or with another number of them, nothing is said of liveness, unless the code is about it."""
    judged = 6 <= frames <= 8
    for code, machine, human in (("0820", "Passed", ""), ("0822", "Under Review", ""), ("1220", "Passed", "Passed")):
        actions = actions_of(code, by_type(2), frames=frames)
        said = actions["Liveness_Check"], actions["Human_Review_Liveness_Check"]
        assert said == ((machine, human or "Not Applicable") if judged else ("Not Applicable",) * 2)
    assert actions_of("0823", by_type(2), frames=frames)["Liveness_Check"] == "Failed"
    assert actions_of("1222", by_type(2), frames=frames)["Human_Review_Liveness_Check"] == "Failed"


async def test_frames_are_counted_in_the_zip(partner: Partner) -> None:
    """A reply says that liveness passed when there were frames to judge it by, as files or inline."""
    frame = base64.b64encode(jpeg()).decode()
    for frames, said in (([], "Not Applicable"), ([entry(6, image=frame)] * 7, "Passed")):
        info = {"images": [entry(0, "selfie.jpg"), *frames]}
        await partner.submit("ada", f"j{len(frames)}", content=zipped(info))
        result = (await partner.status("ada", f"j{len(frames)}"))["result"]
        assert result["Actions"]["Liveness_Check"] == said


def test_texts_and_decisions_are_per_job_type() -> None:
    """0812 is a review for one job type and a refusal for another; unknown pairs decide nothing."""
    assert (classify("0812", 1), classify("0812", 6), classify("0820", 4)) == (
        "provisional",
        "rejected",
        "unknown",
    )
    assert text_of("0810", by_type(6)) == "Document Verified"
    assert text_of("0820", by_type(4)) == "Result 0820"
    assert text_of("0921", by_type(2)) == "No face found in selfie"
    assert {each.job_type for each in PRODUCTS.values() if not each.path} == {1, 2, 4, 6, 8, 11}
