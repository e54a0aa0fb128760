"""The console in a real browser: headless Chromium reads the page, presses the buttons, and the library notices.

Skipped where Debian's chromium and chromium-driver are not installed; `.ci/run` installs them.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from sandbox_support import partner_of
from street import Pictures

from smile_async import Decision, Job, SmileSession
from smile_async.sandbox import RunningSandbox

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: see the dev group")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="no chromium: apt-get install chromium chromium-driver"
)

FLAGS = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync --disable-dev-shm-usage --ignore-certificate-errors --no-proxy-server"""
EVIL = "<img src=x onerror='window.owned=1'><script>window.owned=1</script>\"'"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One Chromium for all of these tests, with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "*")  # the driver listens on loopback
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        yield driver
        driver.quit()


class Browser:
    """Drives Chromium from a thread, so that the event loop goes on serving what it asks for."""

    def __init__(self, driver: Any, running: RunningSandbox) -> None:
        self.driver, self.home = driver, running.console_url

    async def go(self, address: str = "", width: int = 1280, height: int = 900) -> None:
        """Open a page of the console in a window of that size, and mark it: a reload would lose the mark."""

        def go() -> None:
            size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
            self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            self.driver.get(self.home + address)
            self.driver.execute_script("window.mark = 1")

        await asyncio.to_thread(go)

    async def see(self, condition: Callable[[Any], Any]) -> Any:
        """What *condition* says of the driver once that is true; fails after 15 s."""
        return await asyncio.to_thread(WebDriverWait(self.driver, 15, poll_frequency=0.05).until, condition)

    async def find(self, css: str) -> Any:
        """The element once it is there."""
        return await self.see(lambda driver: (driver.find_elements(By.CSS_SELECTOR, css) or [None])[0])

    async def says(self, text: str, css: str = "body") -> None:
        """Wait until an element says *text*."""
        await self.see(
            lambda driver: text in driver.execute_script(f"return document.querySelector('{css}').innerText")
        )

    async def run(self, script: str) -> Any:
        """The value of a script."""
        return await asyncio.to_thread(self.driver.execute_script, script)

    async def press(self, *keys: str) -> None:
        """Keys, one after the other, to whatever has the focus."""
        for key in keys:
            await asyncio.to_thread(webdriver.ActionChains(self.driver).send_keys(key).perform)

    async def unharmed(self) -> bool:
        """Whether the page was never reloaded and the browser had nothing to complain of, CSP included."""
        complaints = await asyncio.to_thread(self.driver.get_log, "browser")
        assert [each["message"] for each in complaints if each["level"] == "SEVERE"] == []
        return bool(await self.run("return window.mark === 1"))


@pytest.fixture
async def browser(chromium: Any, running: RunningSandbox) -> AsyncIterator[Browser]:
    """Chromium in front of the running sandbox."""
    yield Browser(chromium, running)
    # A page left open would ask the next test's ports for news of this sandbox, and complain.
    await asyncio.to_thread(chromium.get, "about:blank")
    await asyncio.to_thread(chromium.get_log, "browser")


async def test_approving_a_job_in_the_browser_ends_the_wait_of_the_library(
    browser: Browser, running: RunningSandbox, session: SmileSession, pictures: Pictures
) -> None:
    """A submitted job appears by itself with its picture; a click on Approve is the final verdict `follow` yields."""
    running.sandbox.script("ada", code="0822")
    await browser.go()
    await browser.says("No job yet")
    ticket = await session.submit(pictures.job())
    async with session.follow(ticket) as verdicts:
        assert (await anext(verdicts)).decision is Decision.PROVISIONAL
        button = await browser.find("#rows button[value=approve]")
        await browser.says(ticket.job_id, "#rows")
        await browser.see(
            lambda driver: driver.execute_script("return document.querySelector('.face img').naturalWidth")
        )
        await asyncio.to_thread(button.click)
        rest = [verdict async for verdict in verdicts]
    assert [(verdict.code, verdict.final, verdict.approved) for verdict in rest] == [("1220", True, True)]
    await browser.says("Approved", "#rows")
    await browser.says("approved", "#said")
    assert await browser.unharmed()


async def test_a_job_is_rejected_with_the_keyboard_alone(
    browser: Browser, running: RunningSandbox, session: SmileSession, pictures: Pictures
) -> None:
    """Tab reaches a job's link and then its buttons, each with a name and a visible ring; Enter presses."""
    running.sandbox.script("ada", code="0822")
    ticket = await session.submit(pictures.job(job_id="by-keyboard"))
    await browser.go()
    names = []
    for _ in range(30):
        await browser.press(Keys.TAB)
        name, ring = await browser.run(
            "const e = document.activeElement; const s = getComputedStyle(e), a = getComputedStyle(e, '::after');"
            "return [e.ariaLabel || e.labels?.[0]?.innerText || e.innerText || '', "
            " [s, a].some((each) => each.outlineStyle === 'solid')]"
        )
        assert name.strip()
        assert ring
        names.append(name)
        if name.startswith("Reject job"):
            break
    assert names[0] == "Skip to the jobs"
    assert names[-3:] == ["ada", "Approve job by-keyboard of ada", "Reject job by-keyboard of ada"]
    await browser.press(Keys.ENTER)
    assert (await session.wait(ticket, until="final", patience=15)).code == "1221"
    await browser.says("Rejected", "#rows")
    assert await browser.run("return document.activeElement.dataset.key.startsWith('open-')")
    assert await browser.unharmed()


async def test_markup_in_ids_is_shown_not_run(
    browser: Browser, running: RunningSandbox, session: SmileSession, pictures: Pictures
) -> None:
    """Ids full of markup arrive by live update and in a job's panel as plain text."""
    running.sandbox.enroll(EVIL)
    await browser.go()
    await session.submit(Job.authenticate(EVIL, pictures.selfie, partner_params={"note": EVIL}))
    await browser.says("onerror=", "#rows")
    assert await browser.unharmed()
    await asyncio.to_thread((await browser.find("#rows a.open")).click)
    await browser.says("onerror=", "#detail")
    assert await browser.run("return window.owned === undefined")
    assert not await browser.unharmed(), "a link leads to another page"


async def test_new_jobs_do_not_push_away_what_has_the_focus(
    browser: Browser, running: RunningSandbox, session: SmileSession, pictures: Pictures
) -> None:
    """While the keyboard is in the list new jobs wait behind a button, and what is there still changes in place."""
    sandbox = running.sandbox
    sandbox.script("ada", code="0822")
    await session.submit(pictures.job(job_id="first"))
    await browser.go()
    await browser.run("document.querySelector('#rows a.open').focus({ focusVisible: true })")
    await session.submit(pictures.job(job_id="second"))
    sandbox.review("first", "spoof")
    await browser.says("Show 1 newer job", "#newer")
    await browser.says("1222", "#rows")
    assert await browser.run("return document.querySelectorAll('#rows > li').length") == 1
    await asyncio.to_thread((await browser.find("#newer")).click)
    await browser.says("second", "#rows > li:first-child")
    assert await browser.unharmed()


async def test_faults_and_times_are_set_without_leaving_the_page(browser: Browser, running: RunningSandbox) -> None:
    """The forms beside the list work in place: a fault shows up in the strip and is cleared again, a latency is set."""
    sandbox = running.sandbox
    await browser.go()
    await asyncio.to_thread((await browser.find("#status")).send_keys, "503")
    await asyncio.to_thread((await browser.find("#faults .act button")).click)
    await browser.says("1 fault waiting", "#alarm")
    assert [(leg, fault.status) for leg, fault in sandbox.faults.waiting()] == [("upload", 503)]
    await asyncio.to_thread((await browser.find("#faults-now button")).click)
    await browser.says("None: everything works", "#faults-now")
    await browser.run("document.querySelector('#latency').value = '1.5'")
    await asyncio.to_thread((await browser.find("#timing .act button")).click)
    await browser.says("1.5 s", "#timing-now")
    assert (sandbox.settings.latency, sandbox.faults.waiting()) == (1.5, [])
    assert await browser.unharmed()


async def test_a_record_is_shown_when_asked_for_and_hidden_again(browser: Browser, running: RunningSandbox) -> None:
    """A lookup's panel masks whom it is about; a link shows it, updates keep it shown, another link hides it."""
    partner = partner_of(running)
    asked = {"country": "NG", "id_type": "BVN", "id_number": "22222222220"}
    ids = {"partner_params": {"user_id": "ada", "job_id": "looked-up"}}
    async with partner.http:
        assert (await partner.post("id_verification", partner.signed(partner_id="001", **ids, **asked))).is_success
    await browser.go(f"?job={running.sandbox.jobs['looked-up'].ref_id}")
    await browser.says("IDNumber", "#detail")
    assert not await browser.run("return document.body.innerText.includes('22222222220')")
    await asyncio.to_thread((await browser.find("#detail [data-key=open]")).click)
    await browser.says("22222222220", "#detail")
    running.sandbox.review("looked-up", "1013")
    await browser.says("1013", "#detail .what")
    assert await browser.run("return document.body.innerText.includes('22222222220')")
    await asyncio.to_thread((await browser.find("#detail [data-key=open]")).click)
    await browser.see(lambda driver: "22222222220" not in driver.execute_script("return document.body.innerText"))


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
async def test_the_page_fits_its_window(
    browser: Browser, running: RunningSandbox, session: SmileSession, pictures: Pictures, width: int, height: int
) -> None:
    """Nothing sticks out to the side, on a desk or on a phone, in the list or with a job open, whatever the ids."""
    running.sandbox.script("ada", code="0822")
    await session.submit(pictures.filed(job_id="j" * 80, partner_params={"note": "n" * 200}))
    running.sandbox.enroll("u" * 200)
    await session.submit(pictures.job("u" * 200))
    ref = running.sandbox.jobs["j" * 80].ref_id
    for address in ("", f"?job={ref}"):
        await browser.go(address, width, height)
        assert await browser.run("return document.documentElement.scrollWidth") <= width
        side = await browser.run("const e = document.querySelector('.side'); return [e.scrollWidth, e.clientWidth]")
        assert side[0] <= side[1]
    assert await browser.unharmed()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
async def test_the_log_fills_itself_and_opens_an_exchange(
    browser: Browser, running: RunningSandbox, scheme: str, width: int, height: int
) -> None:
    """A refused request appears by itself with its reason; opened, its bodies are there as far as they may be seen.

    In both colour schemes what is written can be told from what it is written on, and nothing sticks out.
    """
    partner = partner_of(running)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    await asyncio.to_thread(browser.driver.execute_cdp_cmd, "Emulation.setEmulatedMedia", media)
    await browser.go("console/log", width, height)
    await browser.says("Nothing was asked yet")
    async with partner.http:
        await partner.post("upload", partner.prep("nobody", "j" * 80))
        running.sandbox.fault("job_status", status=503)
        await partner.post("job_status", {"signature": "canary"})
    await browser.says("2210: no enrolled user found under this user id", "#rows")
    await browser.says("answers 503", "#rows")
    await asyncio.to_thread((await browser.find("#entry-1 a")).click)
    await browser.says("<44 characters>", "#detail")
    await browser.run("window.mark = 1")
    assert await browser.run("return document.documentElement.scrollWidth") <= width
    shades = "const s = e => getComputedStyle(document.querySelector(e)); "
    for ink, page in (
        ("#detail pre", "#detail pre"),
        ("#detail .meaning", "#detail"),
        ("#detail .pill", "#detail .pill"),
    ):
        colours = await browser.run(f"{shades} return [s('{ink}').color, s('{page}').backgroundColor]")
        assert contrast(*colours) >= 4.5, (ink, colours)
    assert (await browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(245, 246, 248)") is (
        scheme == "light"
    )
    assert await browser.unharmed()


def contrast(ink: str, page: str) -> float:
    """How well one colour can be told from another (WCAG 2.2, 1.4.3; 4.5 is what text needs)."""
    shades = []
    for colour in (ink, page):
        parts = [int(part) / 255 for part in colour[4:-1].split(",")]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        shades.append(0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)
    return max(shades) / min(shades)
