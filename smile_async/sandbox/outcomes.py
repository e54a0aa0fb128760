"""Which results a job gets, and what they say in Smile's words.

Codes per job type are those of jobs/codes.py; texts are Smile's own where a public fixture shows them (official
Python SDK, tests/conftest.py) and the meaning of the code otherwise; action values are from the official Android
enum (wire.md §10). The pairing of values with outcomes is our inference wherever no published sample has it.
"""

from smile_async.jobs.codes import classify, meaning_of

__all__ = ["APPROVED", "FINAL", "JOB_TYPES", "REGISTRATIONS", "actions_of", "text_of"]

#: The job types that travel by /upload and have documented results (wire.md §3; 8 and 9 do not).
JOB_TYPES = frozenset({1, 2, 4, 6, 11})
#: The job types that enrol their user (wire.md §3).
REGISTRATIONS = frozenset({1, 4, 6, 11})

#: sandbox_result "0", "1", "2" (wire.md §11) by job type; no provisional code for documents is documented.
APPROVED = {1: "0810", 2: "0820", 4: "0840", 6: "0810", 11: "0810"}
REJECTED = {1: "0811", 2: "0821", 4: "0841", 6: "0811", 11: "0811"}
PROVISIONAL = {1: "0812", 2: "0822", 4: "0844"}
#: What a human reviewer can say: approve, reject, spoof.
FINAL = {
    "approve": {1: "1210", 2: "1220", 4: "1240", 6: "0810", 11: "0810"},
    "reject": {1: "1211", 2: "1221", 4: "1241", 6: "0811", 11: "0811"},
    "spoof": {1: "1212", 2: "1222", 4: "1242", 6: "0907", 11: "0907"},
}

#: Texts seen in the official SDK's fixtures, and those built after the same pattern for job types 2 and 4.
_TEXTS = {
    "0810": "Enroll User",
    "0812": "Provisional Enroll",
    "0814": "Provisional Enroll - Under Review",
    "0820": "Authenticate User Machine Judgement",
    "0821": "Failed Authentication - Images Did Not Match - Machine Judgement",
    "0822": "Provisional Authenticate - Under Review",
    "0840": "Enroll User - Machine Judgement",
    "0844": "Provisional Enroll - Possible Spoof - Under Review",
    "1210": "Enroll User",
    "1220": "Authenticate User Human Judgement",
    "1221": "Failed Authentication - Images Did Not Match - Human Judgement",
    "1240": "Enroll User - Human Judgement",
}


def text_of(code: str, job_type: int) -> str:
    """The ResultText of *code*."""
    if job_type in (6, 11) and code == "0810":
        return "Document Verified"  # official Android SDK, JobResultAdapterTest
    meaning = meaning_of(code, job_type)
    if meaning is None:
        return "Result " + code
    return _TEXTS.get(code, meaning.text.capitalize())


#: The twelve keys of the published samples (wire.md §6), in their order.
_KEYS = (
    "Liveness_Check",
    "Register_Selfie",
    "Selfie_Provided",
    "Verify_ID_Number",
    "Human_Review_Compare",
    "Return_Personal_Info",
    "Selfie_To_ID_Card_Compare",
    "Human_Review_Update_Selfie",
    "Human_Review_Liveness_Check",
    "Selfie_To_ID_Authority_Compare",
    "Update_Registered_Selfie_On_File",
    "Selfie_To_Registered_Selfie_Compare",
)
#: Which comparison is the heart of a job type; a registration (4) compares with nothing.
_COMPARE = {
    1: "Selfie_To_ID_Authority_Compare",
    2: "Selfie_To_Registered_Selfie_Compare",
    6: "Selfie_To_ID_Card_Compare",
    11: "Selfie_To_ID_Card_Compare",
}
#: story: (Liveness_Check, comparison, Human_Review_Compare, Human_Review_Liveness_Check), "" = Not Applicable
_STORIES = {
    "pass": ("Passed", "Completed", "", ""),
    "mismatch": ("Passed", "Failed", "", ""),
    "provisional": ("Under Review", "Provisionally Approved", "", ""),
    "spoof": ("Failed", "Completed", "", ""),
    "suspected": ("Sent to Human Review", "Completed", "", ""),
    "unsure": ("Passed", "Provisionally Approved", "", ""),
    "human_pass": ("Passed", "Completed", "Passed", "Passed"),
    "human_mismatch": ("Passed", "Failed", "Failed", "Passed"),
    "human_spoof": ("Failed", "Completed", "Passed", "Failed"),
    "human_unsure": ("Unable To Determine", "Completed", "Passed", "Unable To Determine"),
    "unusable": ("Unable To Determine", "", "", ""),
    "nothing": ("", "", "", ""),
}
_ABOUT_LIVENESS = {"spoof", "suspected", "human_spoof", "human_unsure"}
#: The last digit tells the same story in the 081x, 082x and 084x families, and another one in the 12xx families.
_MACHINE = {"0": "pass", "1": "mismatch", "2": "provisional", "3": "spoof", "4": "suspected", "5": "unsure"}
_HUMAN = {"0": "human_pass", "1": "human_mismatch", "2": "human_spoof", "3": "human_unsure", "4": "human_mismatch"}


def _story(code: str, job_type: int) -> str:
    if code == "0907":
        return "spoof"
    if code == "0817":
        return "pass"
    if code[:3] in ("091", "092", "094"):
        return "unusable"
    if job_type in (6, 11) and code in ("0812", "0816"):
        return "unusable"
    if code[:3] in ("081", "082", "084"):
        return _MACHINE.get(code[3], "suspected")
    return _HUMAN.get(code[3], "nothing") if code[:3] in ("121", "122", "124") else "nothing"


def actions_of(code: str, job_type: int, *, frames: int) -> dict[str, str]:
    """The `Actions` of a result: the twelve documented keys with values that agree with *code*.

    Liveness is judged by 6 to 8 *frames* alone (wire.md §12), unless it is what the code itself is about.
    """
    story = _story(code, job_type)
    liveness, compare, human_compare, human_liveness = _STORIES[story]
    if not 6 <= frames <= 8 and story not in _ABOUT_LIVENESS:
        liveness = human_liveness = ""
    said = {
        "Liveness_Check": liveness,
        "Selfie_Provided": "Failed" if code in ("0001", "0903") else "Passed",
        "Human_Review_Liveness_Check": human_liveness,
    }
    if job_type in _COMPARE:
        said[_COMPARE[job_type]] = compare
        said["Human_Review_Compare"] = human_compare
    if job_type in REGISTRATIONS:
        enrolled = {"approved": "Approved", "provisional": "Provisionally Approved", "rejected": "Rejected"}
        said["Register_Selfie"] = enrolled.get(classify(code, job_type), "")
    if job_type == 1 and story != "nothing":
        said["Verify_ID_Number"], said["Return_Personal_Info"] = "Verified", "Returned"
    return {key: said.get(key) or "Not Applicable" for key in _KEYS}
