"""The products of one signed request are checked, answered and found again as documented."""

import json
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sandbox_support import HandClock, Partner, in_process, sign

from smile_async.sandbox import Sandbox
from smile_async.sandbox.products import PRODUCTS, Product

BVN = {"country": "NG", "id_type": "BVN", "id_number": "00000000000"}
FIRM = {"country": "NG", "id_type": "BUSINESS_REGISTRATION", "id_number": "0000000", "business_type": "co"}
NAME = {"countries": ["NG"], "full_name": "Ada Obi", "birth_year": "1990", "aliases": ["A. Obi"]}
SAID = {"enhanced_kyc": BVN, "basic_kyc": BVN, "business_verification": FIRM, "aml_check": NAME}
ASKED = [product for product in PRODUCTS.values() if product.path]
LATER = [product for product in ASKED if product.later_path]


def _name(value: object) -> str:
    return value.name if isinstance(value, Product) else str(value)


@pytest.fixture
def partner() -> Any:
    """A partner whose user ada is enrolled."""
    with in_process() as partner:
        partner.sandbox.enroll("ada")
        yield partner


def body(partner: Partner, product: Product, job_id: str, /, params: dict[str, Any] | None = None, **said: Any) -> Any:
    """The one request of *product* about its usual example, changed by *said*."""
    ids = {"user_id": "ada", "job_id": job_id}
    where = (
        {**ids, "partner_params": params or {}} if product.ids_on_top else {"partner_params": {**ids, **(params or {})}}
    )
    return partner.signed(**{"partner_id": "001", **SAID[product.name], **where, **said})


async def ask(partner: Partner, product: Product, job_id: str, /, **more: Any) -> tuple[int, dict[str, Any]]:
    """HTTP status and body of one request."""
    reply = await partner.post(product.path, body(partner, product, job_id, **more))
    return reply.status_code, reply.json()


async def refused(partner: Partner, product: Product, job_id: str = "no", /, **more: Any) -> str:
    """The code a request is refused with; it leaves no job behind."""
    before = len(partner.sandbox.jobs)
    status, reply = await ask(partner, product, job_id, **more)
    assert (status, reply.keys(), len(partner.sandbox.jobs)) == (400, {"error", "code"}, before), reply
    return str(reply["code"])


@pytest.mark.parametrize("product", ASKED, ids=_name)
async def test_one_request_is_answered_by_the_result(partner: Partner, product: Product) -> None:
    """The reply is a flat, signed result, and /job_status tells the same of that job, found by the same ids."""
    status, reply = await ask(partner, product, "j1", params={"order": "A-19"})
    assert (status, reply["ResultCode"], reply["SmileJobID"]) == (200, product.approved, "0000000001")
    assert reply["PartnerParams"].items() >= {"user_id": "ada", "job_id": "j1", "order": "A-19"}.items()
    assert reply["signature"] == sign(reply["timestamp"])
    assert "job_complete" not in reply
    told = await partner.status("ada", "j1", history=True)
    assert (told["code"], told["job_complete"], told["result"], told["history"]) == ("2302", True, reply, [reply])
    job = partner.sandbox.jobs["j1"]
    assert (job.kind, job.state, job.submissions, job.zip_at) == (product, "final", 1, None)


@pytest.mark.parametrize(
    ("digit", "code", "verified"),
    [
        ("0", "1012", "Verified"),
        ("1", "1013", "Not Verified"),
        ("2", "1014", "Not Verified"),
        ("3", "1015", "Issuer Unavailable"),
        ("4", "1012", "Verified"),
        ("7", "1012", "Verified"),
    ],
)
async def test_the_last_digit_decides(partner: Partner, digit: str, code: str, verified: str) -> None:
    """A number that ends in 0 to 4 comes to the documented code, with a record only where somebody was found."""
    _, reply = await ask(partner, PRODUCTS["enhanced_kyc"], "j1", id_number="0000000000" + digit)
    found = code == "1012"
    assert (reply["ResultCode"], reply["Actions"]["Verify_ID_Number"]) == (code, verified)
    assert (reply["IDNumber"], reply["Country"], reply["IDType"]) == ("0000000000" + digit, "NG", "BVN")
    assert (reply["FullName"] != "Not Available") is ("FullData" in reply) is found
    _, firm = await ask(partner, PRODUCTS["business_verification"], "j2", id_number="000000" + digit)
    assert (firm["ResultCode"], bool(firm["company_information"]), bool(firm["directors"])) == (code, found, found)
    _, match = await ask(partner, PRODUCTS["basic_kyc"], "j3", id_number="0000000000" + digit)
    assert match["ResultCode"] == ("1020" if found else code)


async def test_a_number_that_ends_in_4_says_what_partner_params_say(partner: Partner) -> None:
    """Any key of the result can be overridden then, and nothing but such keys; with another number none."""
    params = {"FullName": "Grace Hopper", "Photo": "x" * 50_000, "SmileJobID": "7", "ResultCode": "1013"}
    _, reply = await ask(partner, PRODUCTS["enhanced_kyc"], "j1", params=params, id_number="00000000004")
    assert (reply["FullName"], len(reply["Photo"]), reply["ResultCode"]) == ("Grace Hopper", 50_000, "1012")
    assert reply["SmileJobID"] == "0000000001"
    _, other = await ask(partner, PRODUCTS["enhanced_kyc"], "j2", params=params)
    assert other["FullName"] == "Ada Obi"


async def test_basic_kyc_says_which_details_match_and_nothing_else(partner: Partner) -> None:
    """What was given is compared, what was not is Not Provided, and no personal data comes back."""
    _, reply = await ask(partner, PRODUCTS["basic_kyc"], "j1", first_name="Ada", dob="1990-01-31")
    actions = reply["Actions"]
    assert [actions[key] for key in ("Names", "DOB", "Gender")] == ["Exact Match", "Exact Match", "Not Provided"]
    assert not reply.keys() & {"FullName", "IDNumber", "Photo", "DOB"}
    partner.sandbox.script("ada", code="1021")
    assert (await ask(partner, PRODUCTS["basic_kyc"], "j2", last_name="Obi"))[1]["Actions"]["Names"] == "Partial Match"


async def test_aml_finds_who_was_said_to_be_found(partner: Partner) -> None:
    """Nobody is on a list unless a script or sandbox_result says so; found, in the news and not found differ."""
    aml = PRODUCTS["aml_check"]
    codes = {"1031": ("Not Listed", 0), "1030": ("Listed", 1), "1017": ("Not Listed", 1), "1023": ("Listed", 1)}
    for code, told in codes.items():
        partner.sandbox.script("ada", code=code)
        _, reply = await ask(partner, aml, code, strict_match=False)
        assert (reply["ResultCode"], reply["StrictMatch"], reply["ResultType"]) == (code, False, "")
        assert (reply["Actions"]["Listed"], reply["no_of_persons_found"], len(reply["people"])) == (*told, told[1])
        assert reply["PartnerParams"] == {"job_type": 10, "user_id": "ada", "job_id": code}
    assert (await ask(partner, aml, "forced", params={"sandbox_result": "1"}))[1]["ResultCode"] == "1030"
    assert await refused(partner, aml, user_id="eve", search_existing_user=True) == "2210"


@pytest.mark.parametrize("product", LATER, ids=_name)
async def test_asked_for_later_it_is_only_accepted(partner: Partner, product: Product) -> None:
    """The asynchronous form says success and no more; the result is told by /job_status, after the latency."""
    partner.sandbox.settings.latency = 5
    reply = await partner.post(product.later_path, body(partner, product, "j1"))
    assert (reply.status_code, reply.json()) == (200, {"success": True})
    told = await partner.status("ada", "j1")
    assert (told["code"], told["job_complete"]) == ("2302", False)
    clock = partner.sandbox.settings.clock
    assert isinstance(clock, HandClock)
    clock.now += 5
    assert (await partner.status("ada", "j1"))["result"]["ResultCode"] == product.approved


async def test_an_authority_takes_its_time(partner: Partner) -> None:
    """At once means: after the latency, or what a script says, on the sandbox's clock."""
    clock = partner.sandbox.settings.clock
    partner.sandbox.settings.latency, began = 3, clock.time()
    assert (await ask(partner, PRODUCTS["enhanced_kyc"], "j1"))[1]["ResultCode"] == "1012"
    partner.sandbox.script("ada", code="1015", after=40, then=[(10, "1012")])
    assert (await ask(partner, PRODUCTS["enhanced_kyc"], "j2"))[1]["ResultCode"] == "1015"
    assert clock.time() - began == 43


@pytest.mark.parametrize("product", ASKED, ids=_name)
async def test_a_job_id_is_good_for_one_lookup(partner: Partner, product: Product) -> None:
    """The same ids again are 2215, whatever is asked, by whatever product."""
    await ask(partner, product, "j1")
    for other in ASKED:
        assert await refused(partner, other, "j1") == "2215"
    assert await refused(partner, product, "j1", user_id="eve", params={"user_id": "eve"}) == "2215"
    assert partner.sandbox.jobs["j1"].submissions == 1


async def test_what_nobody_knows_can_be_played() -> None:
    """A product /job_status does not know, a job_id that looks up twice, and a result that is recorded 40 s late."""
    basic, enhanced = PRODUCTS["basic_kyc"], PRODUCTS["enhanced_kyc"]
    with in_process(without_status={"basic_kyc"}, run_again={"aml_check"}, recorded_after=40) as partner:
        clock = partner.sandbox.settings.clock
        assert isinstance(clock, HandClock)
        for product in (basic, enhanced):
            await ask(partner, product, product.name)
            assert (await partner.status("ada", product.name))["code"] == "2304"
        await ask(partner, enhanced, "enhanced_kyc", id_number="00000000001")
        clock.now += 40
        assert (await partner.status("ada", "enhanced_kyc"))["result"]["ResultCode"] == "1013"
        assert partner.sandbox.jobs["enhanced_kyc"].submissions == 2
        assert await refused(partner, enhanced, "enhanced_kyc") == "2215"
        assert (await partner.status("ada", "basic_kyc"))["code"] == "2304"
        assert await refused(partner, basic, "basic_kyc") == "2215"
        for _ in range(2):
            assert (await ask(partner, PRODUCTS["aml_check"], "aml"))[0] == 200
            clock.now += 100
        assert partner.sandbox.count("aml") == 2


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("enhanced_kyc", {"country": "ng"}, "2413"),
    ("enhanced_kyc", {"country": None}, "2413"),
    ("enhanced_kyc", {"id_number": 12345678901}, "2413"),
    ("enhanced_kyc", {"id_number": ""}, "2413"),
    ("enhanced_kyc", {"dob": "31.01.1990"}, "2413"),
    ("enhanced_kyc", {"consent_information": {"consented": {"personal_details": True}}}, "2413"),
    ("enhanced_kyc", {"partner_params": None}, "2413"),
    ("enhanced_kyc", {"partner_params": "x"}, "2413"),
    ("enhanced_kyc", {"partner_params": {"user_id": "ada", "job_id": "x", "job_type": 7}}, "2212"),
    ("enhanced_kyc", {"params": {"sandbox_result": 1}}, "2413"),
    ("enhanced_kyc", {"signature": "forged"}, "2405"),
    ("enhanced_kyc", {"partner_id": "002"}, "2405"),
    ("enhanced_kyc", {"timestamp": "1767323045678"}, "2405"),
    ("basic_kyc", {"id_type": 7}, "2413"),
    ("business_verification", {"id_type": "PASSPORT"}, "2413"),
    ("business_verification", {"id_type": ["CAC"]}, "2413"),
    ("business_verification", {"business_type": "gmbh"}, "2413"),
    ("aml_check", {"countries": []}, "2413"),
    ("aml_check", {"countries": ["Nigeria"]}, "2413"),
    ("aml_check", {"full_name": ""}, "2413"),
    ("aml_check", {"birth_year": 1990}, "2413"),
    ("aml_check", {"strict_match": "true"}, "2413"),
    ("aml_check", {"job_id": 7}, "2413"),
]


@pytest.mark.parametrize(("name", "wrong", "code"), WRONG)
async def test_what_is_missing_or_mistyped_is_refused(
    partner: Partner, name: str, wrong: dict[str, Any], code: str
) -> None:
    """Requests about ids are refused in their own family of codes, in JSON, without the value that was wrong."""
    assert await refused(partner, PRODUCTS[name], **wrong) == code


async def test_an_id_type_may_be_made_to_demand_its_fields() -> None:
    """What the catalogue says an id type needs is demanded only if the sandbox is told to."""
    pin = {"id_type": "KRA_PIN", "country": "KE", "id_number": "00000000"}
    with in_process(demand_fields=True) as partner:
        assert await refused(partner, PRODUCTS["enhanced_kyc"], **pin) == "2413"
        assert (await ask(partner, PRODUCTS["enhanced_kyc"], "j1", **pin, citizenship="KE"))[0] == 200
    with in_process() as partner:
        assert (await ask(partner, PRODUCTS["enhanced_kyc"], "j1", **pin))[0] == 200
        session = {"id_type": "BVN_MFA", "id_number": None, "session_id": "s"}
        assert (await ask(partner, PRODUCTS["enhanced_kyc"], "j2", **session))[0] == 200


@pytest.mark.parametrize("product", LATER, ids=_name)
async def test_the_result_of_a_later_form_is_called_back(product: Product) -> None:
    """The flat, signed result goes to the callback URL once; the immediate form is told by its reply alone."""
    got: list[dict[str, Any]] = []

    def receive(request: httpx.Request) -> httpx.Response:
        got.append(json.loads(request.content))
        return httpx.Response(200)

    with in_process(callback_url="https://shop.test/smile") as partner:
        async with partner.sandbox.sending_callbacks(httpx.MockTransport(receive)):
            await ask(partner, product, "at-once")
            await partner.post(product.later_path, body(partner, product, "later", callback_url="https://shop.test/b"))
            for _ in range(200):
                if got:
                    break
                await anyio.sleep(0.005)
        assert [each["PartnerParams"]["job_id"] for each in got] == ["later"]
        assert (got[0]["ResultCode"], got[0]["signature"]) == (product.approved, sign(got[0]["timestamp"]))
        assert partner.sandbox.jobs["later"].callbacks[0].url == "https://shop.test/b"


async def test_faults_hit_the_one_request_before_and_after_its_effect(partner: Partner) -> None:
    """The leg is "request", for both forms and every product; victims are found by ids at the top as well."""
    kyc, aml = PRODUCTS["enhanced_kyc"], PRODUCTS["aml_check"]
    partner.sandbox.fault("request", status=503, job_id="j1")
    partner.sandbox.fault("request", status=500, effect=True, job_id="j2")
    partner.sandbox.fault("request", status=429, body={"code": "2222", "error": "blocked"}, job_id="j3")
    replies = [
        await partner.post(kyc.path, body(partner, kyc, "j1")),
        await partner.post(aml.path, body(partner, aml, "j2")),
    ]
    assert [reply.status_code for reply in replies] == [503, 500]
    assert list(partner.sandbox.jobs) == ["j2"]
    assert (await ask(partner, kyc, "j3")) == (429, {"code": "2222", "error": "blocked"})
    partner.sandbox.fault("request", cut=True, effect=True)
    with pytest.raises(ConnectionError):
        await partner.post(kyc.later_path, body(partner, kyc, "j4"))
    assert partner.sandbox.count("j4") == 1
    partner.sandbox.fault("request", tamper=lambda reply: reply.update(Photo="x" * 1_500_000))
    assert len((await ask(partner, kyc, "j5"))[1]["Photo"]) == 1_500_000


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5) | st.sampled_from(["NG", "1"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)
NAMES = ["partner_params", "country", "id_type", "id_number", "dob", "countries", "full_name", "aliases", "job_type"]
NAMES += ["consent_information", "user_id", "job_id", "callback_url", "product", "strict_match", "entered"]
PATHS = [*(each.path for each in ASKED), *(each.later_path for each in LATER), "/v1/token", "/v1/valid_documents"]


@settings(max_examples=60, deadline=None)
@given(path=st.sampled_from(PATHS), odd=st.dictionaries(st.sampled_from(NAMES), ODD), params=ODD)
async def test_whatever_is_sent_gets_an_answer_in_json(path: str, odd: dict[str, Any], params: Any) -> None:
    """No value in any field makes the sandbox stumble: it answers, or refuses with one of the documented codes."""
    with in_process() as partner:
        usual = {**BVN, **NAME, "user_id": "u", "job_id": "j", "product": "basic_kyc", "callback_url": ""}
        usual["partner_params"] = {"user_id": "u", "job_id": "j", "x": params, "job_type": params}
        reply = await partner.post(path, partner.signed(partner_id="001", **{**usual, **odd}))
        said = reply.json()
        refused = reply.status_code == 400 and said["code"] in {"2413", "2212", "2213", "2204", "2217", "2210"}
        assert refused or reply.status_code == 200, said


async def test_lookups_survive_a_restart(tmp_path: Path) -> None:
    """What was looked up is on record after a restart, tells the same, and calls nobody back a second time."""
    product, state = PRODUCTS["basic_kyc"], tmp_path / "state"
    with in_process(state=state, callback_url="https://shop.test/smile") as partner:
        await ask(partner, product, "j1")
        await partner.post(product.later_path, body(partner, product, "j2"))
        told = (await partner.status("ada", "j1"))["result"]
        sandbox = Sandbox(state=state, clock=partner.sandbox.settings.clock)
    again = Partner(sandbox, httpx.AsyncClient(transport=httpx.ASGITransport(sandbox.app)))
    assert (await again.status("ada", "j1"))["result"] == told
    assert [(job.kind, job.notified) for job in sandbox.jobs.values()] == [(product, 1), (product, 0)]
    assert BVN["id_number"] not in repr(sandbox.jobs)


@pytest.mark.parametrize("path", ["", "/v9/palm"])
async def test_one_more_product_is_one_more_value(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Nothing but the table knows the products: a made-up one is served, decided, kept and shown."""
    palm = Product(name="palm", title="Palm reading", job_type=77, approved="7700", rejected="7701", path=path)
    monkeypatch.setitem(PRODUCTS, palm.name, palm)
    monkeypatch.setitem(SAID, palm.name, {})
    with in_process() as partner:
        if path:
            assert (await ask(partner, palm, "j1"))[1]["ResultCode"] == "7700"
        else:
            await partner.submit("ada", "j1", 77)
        assert (await partner.status("ada", "j1"))["result"]["ResultCode"] == "7700"
        page = await partner.http.get(f"https://localhost/?job={partner.sandbox.jobs['j1'].ref_id}")
        assert "Palm reading" in page.text
