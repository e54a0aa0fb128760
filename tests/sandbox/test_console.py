"""The console shows what is there, does what it is told, and answers nobody it should not."""

import json
import os
import re
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from sandbox_support import KEY, HandClock, Partner, entry, in_process, jpeg, partner_of, zipped
from street import until

from smile_async.sandbox import RunningSandbox, Sandbox, Settings, serve_forever
from smile_async.sandbox.console.query import Query
from smile_async.sandbox.console.views import Moment
from smile_async.sandbox.records import CallbackSent, ImageRecord, JobRecord, Message
from smile_async.sandbox.search import JobCounts, standing

HOME = "https://localhost:8443"
OURS = {"origin": HOME, "sec-fetch-site": "same-origin"}
EVIL = "<script>alert('x')</script>\"'><img src=x onerror=y>"


class Reader(httpx.AsyncClient):
    """A browser, as far as headers go, in front of one sandbox's console."""

    def __init__(self, sandbox: Sandbox, peer: str = "127.0.0.1") -> None:
        transport = httpx.ASGITransport(sandbox.app, client=(peer, 50_000))
        super().__init__(transport=transport, base_url=HOME)
        self.sandbox = sandbox

    async def do(self, what: str, /, **form: Any) -> httpx.Response:
        """Press a button without the script, as on the page."""
        fields = {"csrf": self.sandbox.console.csrf, **form}
        return await self.post(f"/console/do/{what}", data=fields, headers=OURS)


@pytest.fixture
def partner() -> Any:
    """A partner of a sandbox without sockets, whose user ada is enrolled."""
    with in_process() as partner:
        partner.sandbox.enroll("ada")
        yield partner


@pytest.fixture
async def reader(partner: Partner) -> AsyncIterator[Reader]:
    """Somebody who reads the console of that sandbox."""
    async with Reader(partner.sandbox) as reader:
        yield reader


def job_of(sandbox: Sandbox, job_id: str) -> JobRecord:
    """The job of that id."""
    return sandbox.registry.jobs[job_id]


def crowd(sandbox: Sandbox, count: int, code: str = "0820") -> None:
    """Put *count* decided jobs into the books without asking the API."""
    registry, now = sandbox.registry, sandbox.settings.clock.time()
    for number in range(count):
        job = JobRecord(
            user_id=f"user{number}",
            job_id=f"job{number}",
            job_type=2,
            smile_job_id=f"{number + 1:010}",
            ref_id=f"001-{number}",
            created_at=now,
            zip_at=now,
            plan=[Message(now, code)],
            _clock=sandbox.settings.clock,
        )
        registry._add(job)


# ---- what it shows


async def test_a_job_is_listed_with_state_code_meaning_and_picture(partner: Partner, reader: Reader) -> None:
    """The list says who, what came of it and what that means, and its thumbnail is a small JPEG."""
    await partner.submit("ada", "j1", content=zipped(selfie__jpg=jpeg((1200, 1500))))
    page = (await reader.get("/")).text
    for said in ("ada", "j1", "Approved", "0820", "Authenticated, machine pass"):
        assert said in page
    link = re.search(r'src="(/console/images/[^"]+\?small)"', page)
    assert link is not None
    small = await reader.get(link[1])
    whole = await reader.get(link[1].removesuffix("?small"))
    assert small.headers["content-type"] == whole.headers["content-type"] == "image/jpeg"
    assert len(small.content) < 5_000 < len(whole.content)
    assert (await reader.get(link[1])).content == small.content
    assert small.headers["cache-control"] == whole.headers["cache-control"] == "no-store"


async def test_the_strip_tells_how_to_connect_but_not_the_key(partner: Partner, reader: Reader) -> None:
    """Base URL, partner id and export lines are on the page; the API key is on no page at all."""
    await partner.submit("ada", "j1")
    pages = [(await reader.get(path)).text for path in ("/", f"/?job={job_of(partner.sandbox, 'j1').ref_id}")]
    pages.append((await reader.get("/console/live")).text)
    assert "export SMILE_BASE_URL=https://localhost:8443/v1" in pages[0]
    assert "export SMILE_PARTNER_ID=001" in pages[0]
    assert not any(KEY in page for page in pages)


async def test_the_panel_of_a_job_shows_history_plan_and_callbacks(partner: Partner, reader: Reader) -> None:
    """History, what is planned, callbacks with host (not the secret part of the URL), answer and attempt are there."""
    sandbox = partner.sandbox
    sandbox.script("ada", code="0822", then=[(7200, "1220")])
    await partner.submit("ada", "j1", order="A-19")
    job = job_of(sandbox, "j1")
    for status in (500, None, 200):
        job.callbacks.append(
            CallbackSent(job.created_at, "https://u:p@partner.test:444/cb?token=secret", "0822", status)
        )
    page = (await reader.get(f"/?job={job.ref_id}")).text
    for said in ("Provisional", "1220", "planned", "partner.test:444", "500", "no answer", "A-19", "Spoof"):
        assert said in page
    assert "secret" not in page
    assert "u:p@" not in page


async def test_states_and_complaints_have_words(partner: Partner, reader: Reader) -> None:
    """A job without a zip, one being processed and one whose zip is bad are told apart, and why it is bad is said."""
    sandbox = partner.sandbox
    await partner.upload("ada", "no-zip")
    await partner.submit("ada", "bad-zip", content=b"no zip at all")
    sandbox.settings.latency = 60.0
    await partner.submit("ada", "slow")
    page = (await reader.get("/")).text
    assert "Awaiting zip" in page
    assert "Processing" in page
    assert "zip is corrupt" in (await reader.get(f"/?job={job_of(sandbox, 'bad-zip').ref_id}")).text
    assert "the zip has not arrived" in (await reader.get(f"/?job={job_of(sandbox, 'no-zip').ref_id}")).text


PERSON = {"country": "NG", "id_type": "BVN", "id_number": "22222222220", "first_name": "Wangari", "entered": True}


async def test_what_is_personal_is_masked_until_asked_for(partner: Partner, reader: Reader) -> None:
    """A job's page names the id fields and what is on record, and shows the values on request, for that page alone."""
    images = [entry(0, "selfie.jpg"), entry(1, "selfie.jpg"), entry(5, "selfie.jpg")]
    await partner.submit("bob", "j1", 1, zipped({"images": images, "id_info": PERSON}))
    lookup = {**PERSON, "partner_params": {"user_id": "eve", "job_id": "j2"}, "callback_url": ""}
    assert (await partner.post("id_verification", partner.signed(partner_id="001", **lookup))).status_code == 200
    for job_id in ("j1", "j2"):
        job = job_of(partner.sandbox, job_id)
        addresses = ["/", "/console/live", f"/?job={job.ref_id}", f"/console/live?job={job.ref_id}", "/?open=1"]
        for page in [(await reader.get(address)).text for address in addresses]:
            assert not re.search(r"22222222220|Wangari|/9j/", page)
        masked = (await reader.get(f"/?job={job.ref_id}")).text
        assert all(said in masked for said in ("id_number", "FullName", "Photo", "\N{BULLET}" * 8))
        shown = re.search(r'href="(/\?job=[^"]*open=1)"', masked)
        assert shown is not None
        page = (await reader.get(shown[1].replace("&amp;", "&"))).text
        assert all(said in page for said in ("22222222220", "Wangari", "Hide what is personal"))
        others = {address for address in re.findall(r'href="(/[^"]*)"', page) if "open=" in address}
        assert others == set(), "no link takes it elsewhere"


async def test_each_product_has_its_name_buttons_and_pictures(partner: Partner, reader: Reader) -> None:
    """Cards are told from selfies; of a lookup there is no zip, no spoof and no upload URL to speak of."""
    images = [entry(1, "card.jpg"), entry(5, "back.jpg")]
    prep = {**partner.prep("ada", "j1", 6), "use_enrolled_image": True}
    prepared = (await partner.post("upload", prep)).json()
    content = zipped({"images": images, "id_info": {"country": "KE"}}, card__jpg=jpeg(), back__jpg=jpeg())
    await partner.put(prepared["upload_url"], content)
    names = {"user_id": "eve", "job_id": "j2", "full_name": "Wangari", "countries": ["KE"]}
    await partner.post("aml", partner.signed(partner_id="001", **names))
    documents = (await reader.get(f"/?job={job_of(partner.sandbox, 'j1').ref_id}")).text
    assert all(said in documents for said in ("Document verification", "ID card front", "ID card back", "Spoof"))
    assert documents.count("?small") == 3, "a card stands for the job that has no selfie"
    listed = (await reader.get(f"/?job={job_of(partner.sandbox, 'j2').ref_id}")).text
    detail = listed[listed.index('id="detail"') : listed.index('id="desk"')]
    assert all(said in detail for said in ("AML check", "Looked up", "1 times", "1031", "1030"))
    assert not re.search("Zip|upload URL|Spoof", detail)
    reply = await reader.do("review", ref=job_of(partner.sandbox, "j2").ref_id, judgement="reject")
    assert reply.status_code == 303
    assert job_of(partner.sandbox, "j2").code == "1030"
    partner.sandbox.review("j1", "0817")
    assert "Attention" in (await reader.get("/")).text


async def test_filters_and_pages(partner: Partner, reader: Reader) -> None:
    """Newest first, 25 a page; filters by state and by part of an id hold on the next page as well."""
    crowd(partner.sandbox, 60)
    partner.sandbox.review("job7", "0821")
    first = (await reader.get("/?find=USER")).text
    assert first.index("user59") < first.index("user35")
    assert "user34" not in first
    older = re.search(r'href="(/\?find=user&amp;before=\d+)"', first)
    assert older is not None
    assert "user34" in (await reader.get(older[1].replace("&amp;", "&"))).text
    rejected = (await reader.get("/?state=rejected")).text
    assert re.findall(r"<bdi>(user\d+)</bdi>", rejected) == ["user7"]
    assert "Show all jobs" in (await reader.get("/?find=nobody")).text


async def test_5000_jobs_make_a_small_page_at_once(partner: Partner, reader: Reader) -> None:
    """With 5,000 jobs the page and an update stay below 100 kB, and take less than a second of the processor."""
    crowd(partner.sandbox, 5_000)
    began = time.process_time()
    page = await reader.get("/")
    live = await reader.get("/console/live")
    assert time.process_time() - began < 1.0
    assert "5000" in page.text
    assert max(len(page.content), len(live.content)) < 100_000


async def test_a_search_gives_up_and_says_where_to_go_on(partner: Partner, reader: Reader) -> None:
    """A filter that fits nothing looks at 20,000 jobs, not at all of them, and offers to look further back."""
    crowd(partner.sandbox, 20_100)
    page = (await reader.get("/?find=user99999")).text
    assert "Look further back" in page
    assert "Looked through 20,000 jobs" in page
    assert "before=100" in page


async def test_a_dear_count_is_kept_for_a_while(partner: Partner) -> None:
    """Counting many jobs is not repeated at once, unless an action has changed something."""
    crowd(partner.sandbox, 2_000)
    counts, now = JobCounts(partner.sandbox.registry), partner.sandbox.settings.clock.time()
    first = await counts.count(now)
    assert first == {"approved": 2_000}
    counts._good_until = time.perf_counter() + 60
    partner.sandbox.review("job1", "0821")
    assert await counts.count(now) is first
    counts.forget()
    assert await counts.count(now) == {"approved": 1_999, "rejected": 1}


async def test_counts_follow_time_reviews_and_new_jobs(partner: Partner) -> None:
    """Counting the settled once and the others again gives what counting everything would give."""
    sandbox, clock = partner.sandbox, partner.sandbox.settings.clock
    assert isinstance(clock, HandClock)
    counts = JobCounts(sandbox.registry)

    async def check() -> None:
        counts.forget()
        everybody = Counter(standing(job, clock.now) for job in sandbox.jobs.values())
        assert await counts.count(clock.now) == everybody

    sandbox.script("ada", code="0822", then=[(60, "1220"), (60, "1221")])
    for number in range(3):
        await partner.upload("ada", f"waits{number}")
        await partner.submit("ada", f"j{number}")
        await check()
        clock.now += 30
    for step in range(6):
        clock.now += 30
        if step % 2:
            sandbox.review("j0", ("0822", "approve", "spoof")[step // 2])
        await check()


async def test_an_update_is_empty_when_nothing_happened(partner: Partner, reader: Reader) -> None:
    """Whoever has seen the present state gets 204, and the new state once there is one."""
    seen = (await reader.get("/console/live")).headers["x-version"]
    assert (await reader.get("/console/live", headers={"x-seen": seen})).status_code == 204
    await partner.submit("ada", "j1")
    fresh = await reader.get("/console/live", headers={"x-seen": seen})
    assert fresh.status_code == 200
    assert "j1" in fresh.text


async def test_what_comes_from_outside_is_escaped(partner: Partner, reader: Reader) -> None:
    """Markup in user id, job id, parameters, file names and search words stays text everywhere."""
    sandbox = partner.sandbox
    sandbox.enroll(EVIL)
    info = {"images": [{"image_type_id": 0, "image": "", "file_name": EVIL}]}
    await partner.submit(EVIL, EVIL, content=zipped(json.dumps(info).encode(), **{EVIL: jpeg()}), **{EVIL: EVIL})
    sandbox.fault("upload", status=500, user_id=EVIL)
    ref = job_of(sandbox, EVIL).ref_id
    for path, params in (("/", {"job": ref}), ("/", {"find": EVIL}), ("/console/live", {"job": ref, "find": EVIL})):
        page = (await reader.get(path, params=params)).text
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "\"'>" not in page
    assert "&lt;script&gt;" in page


async def test_a_megabyte_of_an_id_does_not_make_a_megabyte_of_a_page(partner: Partner, reader: Reader) -> None:
    """Long ids and parameters are cut to size."""
    partner.sandbox.enroll("u" * 300_000)
    await partner.submit("u" * 300_000, "j" * 300_000, note="n" * 300_000, **{f"p{i}": i for i in range(500)})
    ref = job_of(partner.sandbox, "j" * 300_000).ref_id
    assert len((await reader.get(f"/?job={ref}")).content) < 40_000


async def test_pictures_that_cannot_be_shown_are_not_found(partner: Partner, reader: Reader) -> None:
    """A picture that is gone, was never there, claims too many pixels or is broken is a 404, never an error."""
    await partner.submit("ada", "j1", content=zipped(selfie__jpg=jpeg()[:300] + b"junk"))
    job = job_of(partner.sandbox, "j1")
    address = f"/console/images/{job.ref_id}"
    assert (await reader.get(f"{address}/0?small")).status_code == 404
    assert (await reader.get(f"{address}/0")).status_code == 200
    job.images.append(ImageRecord("big.png", 0, 9, job.images[0].sha256, 50_000, 50_000, "image/png"))
    assert (await reader.get(f"{address}/1?small")).status_code == 404
    assert (await reader.get(f"{address}/7")).status_code == 404
    assert (await reader.get("/console/images/nobody/0")).status_code == 404
    assert (await reader.get("/console/static/../guard.py")).status_code == 404
    assert (await reader.get("/console/static/guard.py")).status_code == 404


# ---- what it does


async def test_buttons_review_a_job(partner: Partner, reader: Reader) -> None:
    """Approve, reject, spoof and a code of one's own become the result; the answer leads back to the same page."""
    sandbox = partner.sandbox
    sandbox.script("ada", code="0822")
    for judgement, code in (("approve", "1220"), ("reject", "1221"), ("spoof", "1222"), ("0825", "0825")):
        await partner.submit("ada", judgement)
        job = job_of(sandbox, judgement)
        reply = await reader.do("review", ref=job.ref_id, judgement=judgement, back="state=provisional&evil=//x")
        assert (reply.status_code, reply.headers["location"]) == (303, "/?state=provisional")
        assert job.code == code
    assert "got result 0825" in (await reader.get("/")).text
    assert (await partner.status("ada", "approve"))["result"]["ResultCode"] == "1220"


async def test_the_script_gets_a_sentence_instead_of_a_page(partner: Partner, reader: Reader) -> None:
    """With the token in a header the answer is what was done, or why it was not."""
    await partner.upload("ada", "j1")
    headers = {**OURS, "x-csrf-token": partner.sandbox.console.csrf}
    reply = await reader.post("/console/do/enroll", data={"user_id": "eve"}, headers=headers)
    assert (reply.status_code, reply.text) == (200, "user eve is enrolled")
    ref = job_of(partner.sandbox, "j1").ref_id
    reply = await reader.post("/console/do/review", data={"ref": ref, "judgement": "approve"}, headers=headers)
    assert reply.status_code == 400
    assert "no zip" in reply.text


async def test_users_are_enrolled_and_forgotten(partner: Partner, reader: Reader) -> None:
    """Enrolling makes authentication possible; forgetting undoes it, whether enrolled by hand or by a registration."""
    sandbox = partner.sandbox
    await reader.do("enroll", user_id=" eve ")
    await partner.submit("grace", "r1", 4)
    assert sandbox.registry.enrolled("eve")
    assert sandbox.registry.enrolled_users(9) == ["eve", "ada", "grace"]
    for user in ("eve", "grace"):
        await reader.do("forget", user_id=user)
        assert not sandbox.registry.enrolled(user)
    await reader.do("forget", user_id="eve")
    assert "user eve was not enrolled" in (await reader.get("/")).text
    await partner.submit("grace", "r2", 4)
    assert sandbox.registry.enrolled("grace")


async def test_who_was_forgotten_stays_so_after_a_restart(tmp_path: Any) -> None:
    """With a state directory, forgetting survives."""
    with in_process(state=tmp_path) as partner:
        partner.sandbox.enroll("ada")
        partner.sandbox.enroll("bob")
        await partner.submit("grace", "r1", 4)
        for user in ("ada", "grace"):
            assert partner.sandbox.forget(user)
        assert not partner.sandbox.forget("ada")
    again = Sandbox("001", KEY, state=tmp_path, clock=partner.sandbox.settings.clock)
    assert again.registry.enrolled_users(9) == ["bob"]


async def test_times_are_changed(partner: Partner, reader: Reader) -> None:
    """Latency and review time are those of the form; an empty review means nobody reviews."""
    settings = partner.sandbox.settings
    await reader.do("timing", latency="0.5", review="7200")
    assert (settings.latency, settings.review) == (0.5, 7200.0)
    assert "<b>2 h</b>" in (await reader.get("/")).text
    await reader.do("timing", latency="0", review="")
    assert (settings.latency, settings.review) == (0.0, None)


async def test_faults_are_injected_and_cleared(partner: Partner, reader: Reader) -> None:
    """A fault from the form happens to its victim only, is listed until then, and can be cleared by leg or at once."""
    sandbox = partner.sandbox
    await partner.submit("ada", "j1")
    await reader.do("fault", leg="job_status", status="503", times="2", delay="0", user_id="ada", effect="on")
    assert "job_status: answers 503, after the work is done, 2 times, user ada" in (await reader.get("/")).text
    polls = job_of(sandbox, "j1").polls
    reply = await partner.post("job_status", partner.signed(partner_id="001", user_id="ada", job_id="j1"))
    assert (reply.status_code, job_of(sandbox, "j1").polls) == (503, polls + 1)
    await reader.do("fault", leg="put", delay="1.5", times="", cut="on")
    assert "put: connection dropped, 1.5 s late, every time" in (await reader.get("/")).text
    await reader.do("mend", leg="put")
    assert [leg for leg, _ in sandbox.faults.waiting()] == ["job_status"]
    await reader.do("mend")
    assert sandbox.faults.waiting() == []


async def test_callbacks_are_sent_again_and_twice_over(partner: Partner, reader: Reader) -> None:
    """Resending sends one callback, duplicating the same bytes twice, and an earlier result may come late."""
    sandbox, got = partner.sandbox, []

    async def receive(request: httpx.Request) -> httpx.Response:
        got.append(request.content)
        return httpx.Response(200)

    sandbox.settings.callback_url = "https://partner.test/cb"
    sandbox.script("ada", code="0822")
    await partner.submit("ada", "j1")
    job = job_of(sandbox, "j1")
    sandbox.review("j1", "approve")
    assert "callbacks are sent only while" in (await reader.do("resend", ref=job.ref_id)).text
    async with sandbox.sending_callbacks(httpx.MockTransport(receive)):
        await arrive(job, 2)
        await reader.do("resend", ref=job.ref_id)
        await arrive(job, 3)
        await reader.do("resend", ref=job.ref_id, copies="2", back="1")
        await arrive(job, 5)
    assert [json.loads(body)["ResultCode"] for body in got] == ["0822", "1220", "1220", "0822", "0822"]
    assert got[3] == got[4]
    page = (await reader.get(f"/?job={job.ref_id}")).text
    assert page.count("partner.test") == 5


async def arrive(job: JobRecord, count: int) -> None:
    """Wait until *count* callbacks of *job* were sent."""
    await until(lambda: len(job.callbacks) >= count)


@pytest.mark.parametrize(
    ("what", "form"),
    [
        ("review", {"ref": "nobody", "judgement": "approve"}),
        ("review", {"judgement": "maybe"}),
        ("resend", {"copies": "999"}),
        ("resend", {"back": "7"}),
        ("resend", {}),
        ("timing", {"latency": "-1"}),
        ("timing", {"latency": "nan"}),
        ("timing", {"latency": "soon"}),
        ("timing", {"latency": "0", "review": "inf"}),
        ("fault", {"leg": "moon", "status": "500"}),
        ("fault", {"leg": "put"}),
        ("fault", {"leg": "put", "status": "99"}),
        ("fault", {"leg": "put", "status": "500", "times": "0"}),
        ("fault", {"leg": "put", "delay": "1e9"}),
        ("mend", {"leg": "moon"}),
        ("enroll", {"user_id": "  "}),
        ("forget", {}),
    ],
)
async def test_nonsense_is_refused_in_words(partner: Partner, reader: Reader, what: str, form: dict[str, str]) -> None:
    """What cannot be done is a 400 with a sentence, and changes nothing."""
    await partner.submit("ada", "j1")
    job = job_of(partner.sandbox, "j1")
    reply = await reader.do(what, **{"ref": job.ref_id, **form})
    assert reply.status_code == 400
    assert len(reply.text) > 10
    assert (job.code, partner.sandbox.faults.waiting()) == ("0820", [])


async def test_an_unknown_action_is_not_found(reader: Reader) -> None:
    """There is no action besides those on the page, and none by GET."""
    assert (await reader.do("shutdown")).status_code == 404
    assert (await reader.get("/console/do/mend")).status_code == 405


# ---- whom it answers


async def test_actions_need_the_token_of_this_run(partner: Partner, reader: Reader) -> None:
    """Without the CSRF token, with a wrong one, or with another run's, nothing happens."""
    other = Sandbox().console.csrf
    for csrf in ("", "wrong", "ünicode", other):
        reply = await reader.do("enroll", user_id="eve", csrf=csrf)
        assert reply.status_code == 403
    too_large = {"csrf": partner.sandbox.console.csrf, "user_id": "eve" * 50_000}
    assert (await reader.do("enroll", **too_large)).status_code == 403
    assert (await reader.do("enroll", **{f"f{number}": "" for number in range(99)})).status_code == 403
    assert not partner.sandbox.registry.enrolled("eve")


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"origin": "https://evil.test"},
        {"origin": "null"},
        {"origin": "https://localhost:3000"},
        {"origin": "http://localhost:8443"},
        {"origin": "https://[broken"},
        {"origin": HOME, "sec-fetch-site": "cross-site"},
        {"origin": HOME, "sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
    ],
)
async def test_actions_need_our_own_origin(partner: Partner, reader: Reader, said: dict[str, str]) -> None:
    """Even with the right token, a request that no page of ours sent is refused; silence about the origin as well."""
    form = {"csrf": partner.sandbox.console.csrf, "user_id": "eve"}
    assert (await reader.post("/console/do/enroll", data=form, headers=said)).status_code == 403
    assert not partner.sandbox.registry.enrolled("eve")


@pytest.mark.parametrize("said", [{"origin": HOME}, {"sec-fetch-site": "same-origin"}])
async def test_either_header_of_a_browser_is_enough(partner: Partner, reader: Reader, said: dict[str, str]) -> None:
    """A browser that sends only one of the two headers can still press buttons."""
    form = {"csrf": partner.sandbox.console.csrf, "user_id": "eve"}
    assert (await reader.post("/console/do/enroll", data=form, headers=said)).status_code == 303


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("localhost.:8443", 200),
        ("app.localhost:8443", 200),
        ("127.0.0.1:8443", 200),
        ("127.9.9.9", 200),
        ("[::1]:8443", 200),
        ("evil.test", 421),
        ("evil.test:8443", 421),
        ("localhost.evil.test", 421),
        ("127.0.0.1.evil.test", 421),
        ("notlocalhost", 421),
        ("user@localhost", 421),
        ("localhost:8443:8443", 421),
        ("localhost:999999", 421),
        ("10.0.0.7:8443", 421),
        ("0.0.0.0:8443", 421),
        ("", 421),
    ],
)
async def test_only_names_of_this_machine_are_answered(reader: Reader, host: str, status: int) -> None:
    """A page that was rebound to 127.0.0.1 by DNS still sends its own Host, and gets nothing, not even the script."""
    for path in ("/", "/console/live", "/console/static/console.js"):
        assert (await reader.get(path, headers={"host": host})).status_code == status


@pytest.mark.parametrize("nobody", [None, ""])
async def test_without_a_public_host_the_served_host_is_answered(partner: Partner, nobody: str | None) -> None:
    """With no public host a foreign Host is refused all the same, and the host that is printed works with the token."""
    sandbox = partner.sandbox
    sandbox.settings.public_host = nobody
    sandbox.console.exposed, sandbox.console.bound = True, "192.0.2.7"
    printed = {"host": "192.0.2.7:8443"}
    async with Reader(sandbox, "192.0.2.9") as far:
        assert (await far.get("/", headers={"host": "evil.example"})).status_code == 421
        assert (await far.get("/", headers=printed)).status_code == 401
        welcome = await far.get("/", params={"token": sandbox.console.token}, headers=printed)
        shown = {"cookie": welcome.headers["set-cookie"].split(";")[0], **printed}
        assert (await far.get("/", headers=shown)).status_code == 200


async def test_no_action_and_no_picture_for_a_foreign_host(partner: Partner, reader: Reader) -> None:
    """The Host is checked for actions and pictures too."""
    await partner.submit("ada", "j1")
    headers = {"host": "evil.test", "origin": "https://evil.test", "sec-fetch-site": "same-origin"}
    form = {"csrf": partner.sandbox.console.csrf, "user_id": "eve"}
    assert (await reader.post("/console/do/enroll", data=form, headers=headers)).status_code == 421
    address = f"/console/images/{job_of(partner.sandbox, 'j1').ref_id}/0"
    assert (await reader.get(address, headers=headers)).status_code == 421


async def test_the_api_answers_any_host(partner: Partner) -> None:
    """The checks are the console's own: the v1 API and storage work under whatever name they are reached."""
    partner.base_url = "https://api.evil.test/v1"
    await partner.submit("ada", "j1")
    assert (await partner.status("ada", "j1"))["result"]["ResultCode"] == "0820"


@pytest.mark.parametrize(
    "path", ["/", "/console/live", "/console/static/console.css", "/?token=wrong", "/console/do/x"]
)
async def test_every_reply_carries_the_protective_headers(reader: Reader, path: str) -> None:
    """CSP without inline anything, no sniffing, no framing, no caching; refusals included."""
    for host in ("localhost:8443", "evil.test"):
        send = reader.post if "/do/" in path else reader.get
        headers = (await send(path, headers={"host": host})).headers
        assert headers["content-security-policy"].startswith("default-src 'self'; ")
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        assert headers["cache-control"] == "no-store"


async def test_the_page_needs_nothing_inline_and_nothing_from_elsewhere(partner: Partner, reader: Reader) -> None:
    """No inline script, style or handler and no foreign address: it lives under its own CSP, without internet."""
    await partner.submit("ada", "j1")
    page = (await reader.get(f"/?job={job_of(partner.sandbox, 'j1').ref_id}")).text
    assert re.findall(r"<script(?![^>]*\ssrc=)", page) == []
    assert re.findall(r"<style|\sstyle=|\son\w+=", page) == []
    assert [link for link in re.findall(r'(?:src|href|action)="([^"]+)"', page) if link[0] not in "/#"] == []


async def test_whoever_comes_from_elsewhere_needs_the_token(partner: Partner) -> None:
    """Another machine, a proxy's client or a public name gets 401, then a strict cookie for the printed token."""
    sandbox = partner.sandbox
    sandbox.settings.public_host = "sandbox.test"
    public = {"host": "sandbox.test"}
    async with Reader(sandbox, "10.0.0.7") as far, Reader(sandbox) as near:
        assert (await far.get("/")).status_code == 401
        assert (await near.get("/", headers={"x-forwarded-for": "8.8.8.8"})).status_code == 401
        assert (await near.get("/", headers=public)).status_code == 401
        assert (await near.get("/")).status_code == 200
        assert (await far.get("/?token=wrong")).status_code == 401
        assert (await far.do("enroll", user_id="eve")).status_code == 401
        welcome = await far.get("/", params={"token": sandbox.console.token})
        assert (welcome.status_code, welcome.headers["location"]) == (303, "/")
        cookie = welcome.headers["set-cookie"].lower()
        assert all(word in cookie for word in ("__host-", "httponly", "samesite=strict", "secure", "path=/"))
        assert (await far.get("/")).status_code == 200
        far.cookies.clear()
        shown = {"cookie": welcome.headers["set-cookie"].split(";")[0], **public}
        assert (await far.get("/", headers=shown)).status_code == 200


async def test_a_mapped_loopback_address_is_loopback(partner: Partner) -> None:
    """A dual-stack server sees 127.0.0.1 as ::ffff:127.0.0.1, which needs no token."""
    async with Reader(partner.sandbox, "::ffff:127.0.0.1") as reader:
        assert (await reader.get("/")).status_code == 200


async def test_a_console_that_is_off_is_not_there() -> None:
    """console=False leaves the API alone."""
    with in_process(console=False) as partner:
        async with Reader(partner.sandbox) as reader:
            assert (await reader.get("/")).status_code == 404


@pytest.mark.parametrize("name", ["https://a.test", "a.test:8443", "a b", "-" * 300, "a..b", "my_sandbox"])
def test_a_public_host_is_a_name_and_nothing_else(name: str) -> None:
    """A scheme, a port, a blank or what no certificate can name is refused when the sandbox is made."""
    with pytest.raises(ValueError, match="public_host"):
        Settings(public_host=name)


def test_a_query_drops_what_makes_no_sense() -> None:
    """Addresses come from outside: unknown states and odd numbers are forgotten, links are built anew."""
    query = Query.read({"state": "owned", "before": "-1", "find": " X ", "job": "a&b", "evil": "1"})
    assert query.link() == "/?find=x&job=a%26b"
    assert Query.read({"before": "9" * 30}).link() == "/"


def test_a_clock_turned_too_far_breaks_no_page() -> None:
    """A moment beyond the calendar is shown as its last day."""
    assert Moment(1e20).iso.startswith("9999")


# ---- over sockets


async def test_over_http2_the_loopback_needs_no_token(running: RunningSandbox) -> None:
    """In a served sandbox GET / works at once, shows the CA file's export line, and actions work over HTTP/2."""
    partner = partner_of(running)
    try:
        page = await partner.http.get(running.console_url)
        assert (page.status_code, page.http_version) == (200, "HTTP/2")
        assert f"export SMILE_CA_FILE={running.ca_file}" in page.text
        assert "token=" not in running.console_url
        headers = {"origin": running.console_url.rstrip("/"), "x-csrf-token": running.sandbox.console.csrf}
        reply = await partner.http.post(
            running.console_url + "console/do/enroll", data={"user_id": "eve"}, headers=headers
        )
        assert reply.text == "user eve is enrolled"
    finally:
        await partner.http.aclose()


async def test_a_sandbox_open_to_others_wants_its_token_even_from_here() -> None:
    """With a non-loopback host every page needs the token; console_url carries it, under the public name if any."""
    async with Sandbox.serve(host="0.0.0.0") as running:
        partner = partner_of(running, http2=False)
        try:
            home = running.console_url.split("?", maxsplit=1)[0]
            assert (await partner.http.get(home)).status_code == 401
            assert (await partner.http.get(running.console_url)).status_code == 303
            assert (await partner.http.get(home)).status_code == 200
            assert (await partner.post("job_status", {})).status_code == 400
        finally:
            await partner.http.aclose()
    async with Sandbox.serve(public_host="console.test") as running:
        assert running.console_url.startswith("https://console.test:")
        assert "?token=" in running.console_url
    async with Sandbox.serve(console=False) as running:
        assert running.console_url == ""


async def test_the_token_is_printed_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    """`serve_forever` prints the address with the token where one is needed, and nothing on standard output."""
    for host, printed in (("0.0.0.0", True), ("127.0.0.1", False)):
        seen: list[str] = []

        def announce(running: RunningSandbox, seen: list[str] = seen) -> None:
            seen.append(running.console_url)
            os.kill(os.getpid(), signal.SIGTERM)

        await serve_forever(announce, host=host, port=0, storage_port=0)
        out, err = capsys.readouterr()
        assert out == ""
        assert (err == f"console: {seen[0]}\n") is printed
        assert bool(err) is printed


async def test_virtual_time_reaches_the_page(partner: Partner, reader: Reader) -> None:
    """The page follows the sandbox's clock: after two hours of it the planned verdict is the one shown."""
    clock = partner.sandbox.settings.clock
    assert isinstance(clock, HandClock)
    partner.sandbox.script("ada", code="0822", then=[(7200, "1220")])
    await partner.submit("ada", "j1")
    assert "Pure provisional" in (await reader.get("/")).text
    clock.now += 7201
    page = (await reader.get("/")).text
    assert "Authenticated, human pass" in page
    assert page.count('name="judgement"') == 0


# ---- the log


async def test_the_log_page_finds_and_pages(partner: Partner, reader: Reader) -> None:
    """Newest first, 50 a page, narrowed by leg and by part of an id or path; a job's panel leads to its exchanges."""
    for number in range(60):
        await partner.post(f"nowhere/{number}", {})
    await partner.submit("ada", "j1")
    first = (await reader.get("/console/log")).text
    assert first.index("/v1/upload") < first.index("/nowhere/59") < first.index("/nowhere/12")
    assert "/nowhere/11" not in first
    older = re.search(r'href="(/console/log\?before=\d+)"', first)
    assert older is not None
    assert "/nowhere/11" in (await reader.get(older[1])).text
    puts = (await reader.get("/console/log?leg=put&before=soon&entry=x")).text
    assert (puts.count('class="call"'), "selfie.zip" in puts) == (1, True)
    assert "Nothing fits" in (await reader.get("/console/log?find=nobody")).text
    panel = (await reader.get(f"/?job={job_of(partner.sandbox, 'j1').ref_id}")).text
    assert "/console/log?find=j1" in panel
    found = (await reader.get("/console/log?find=J1")).text
    assert found.count('class="call"') == 2
    opened = (await reader.get("/console/log?find=j1&entry=61")).text
    assert all(said in opened for said in ("Request 61", "smile_client_id", "&lt;44 characters&gt;", "/?find=j1"))
    assert "had to make room" in (await reader.get("/console/log?entry=999")).text


async def test_the_log_page_escapes_and_stays_small(partner: Partner, reader: Reader) -> None:
    """Markup in paths, ids and headers is text, and a megabyte of one makes no megabyte of a page."""
    await partner.post(f"{EVIL}", partner.prep(EVIL, EVIL))
    sandbox = partner.sandbox
    sandbox.enroll(EVIL)
    for user in (EVIL, "u" * 300_000):
        await partner.http.post(
            f"{partner.base_url}/upload", json=partner.prep(user, EVIL), headers={"user-agent": f"{EVIL}é".encode()}
        )
    for number in range(1, len(sandbox.log) + 1):
        for path in ("/console/log", "/console/log/live"):
            page = await reader.get(path, params={"entry": number, "find": "x" * 5000})
            assert len(page.content) < 40_000
            page = await reader.get(path, params={"entry": number})
            assert len(page.content) < 40_000
            assert "<script>alert" not in page.text
            assert "<img src=x" not in page.text
            assert "\"'>" not in page.text


async def test_the_log_page_is_as_private_as_the_rest(partner: Partner, reader: Reader) -> None:
    """It is for the same hosts and holders of the token, and an update is empty when nothing happened."""
    for path in ("/console/log", "/console/log/live"):
        assert (await reader.get(path, headers={"host": "evil.test"})).status_code == 421
        assert (await reader.get(path, headers={"x-forwarded-for": "8.8.8.8"})).status_code == 401
        assert (await reader.get(path)).headers["content-security-policy"].startswith("default-src 'self'; ")
    seen = (await reader.get("/console/log/live")).headers["x-version"]
    assert (await reader.get("/console/log/live", headers={"x-seen": seen})).status_code == 204
    await partner.post("nowhere", {})
    assert "/v1/nowhere" in (await reader.get("/console/log/live", headers={"x-seen": seen})).text
