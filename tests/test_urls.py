"""urls.py: a face goes only where it may, however the address is disguised."""

import asyncio

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smile_async.urls import DEFAULT_UPLOAD_HOSTS, SERVED, asleep, is_loopback, upload_url_flaw, url_flaw

API = "testapi.smileidentity.com"


def refused(url: str, *, api_host: str = API, allowed: tuple[str, ...] = DEFAULT_UPLOAD_HOSTS) -> str:
    """What upload_url_flaw says."""
    return upload_url_flaw(url, api_host=api_host, allowed=allowed)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.smileidentity.com/v1",
        "HTTPS://EXAMPLE.com:8443/cb?x=1#y",
        "https://10.0.0.1/cb",
        "http://localhost:8443/v1",
        "http://sandbox.localhost/v1",
        "http://127.0.0.1:1/v1",
        "http://127.8.9.10/v1",
        "http://[::1]:8443/v1",
    ],
)
def test_https_everywhere_and_http_on_this_machine(url: str) -> None:
    """An encrypted address, or a plain one that never leaves this machine, has no flaw."""
    assert url_flaw(url) == ""


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://example.com/cb", "is not https"),
        ("http://localhost.example.com/cb", "is not https"),
        ("http://notlocalhost/cb", "is not https"),
        ("http://0.0.0.0/cb", "is not https"),
        ("http://127.1/cb", "is not https"),
        ("http://2130706433/cb", "is not https"),
        ("ftp://localhost/cb", "is not https"),
        ("wss://example.com", "is not https"),
        ("//example.com/cb", "is not https"),
        ("", "is not a URL: give https://host/path"),
        ("example.com", "is not a URL"),
        ("https://", "is not a URL"),
        ("https:///path", "is not a URL"),
        ("https:example.com", "is not a URL"),
        ("https://:443/", "is not a URL"),
        ("https://exa mple.com/", "is not a URL"),
        ("https://example.com/\n", "is not a URL"),
        ("https://exam\tple.com/", "is not a URL"),
        ("https://exa\u00admple.com/", "is not a URL"),
        ("https://example.com:port/", "is not a URL"),
        ("https://example.com:99999/", "is not a URL"),
        ("https://[::1/", "is not a URL"),
        ("https://example.com\\.amazonaws.com/", "is not a URL"),
        ("https:\\\\example.com", "is not a URL"),
        ("https://a\uff0fb.example.com/", "is not a URL"),
        ("https://user@example.com/", "carries a user name or password: take it out"),
        ("https://user:pw@example.com/", "carries a user name"),
        ("https://:pw@example.com/", "carries a user name"),
        ("https://@example.com/", "carries a user name"),
        (None, "is not a URL"),
        (b"https://example.com", "is not a URL"),
    ],
)
def test_each_flaw_is_named_with_its_cure(url: str, words: str) -> None:
    """Plain http, other schemes, credentials and everything two parsers may read differently are refused."""
    assert words in url_flaw(url)
    assert words in refused(url)


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.0.0.1", True),
        ("127.255.255.254", True),
        ("::1", True),
        ("localhost.com", False),
        ("128.0.0.1", False),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_alone(host: str, is_ours: bool) -> None:
    """Only names and addresses that can not leave this machine count as loopback."""
    assert is_loopback(host) is is_ours


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://bucket.s3.us-west-2.amazonaws.com/videos/x?Signature=y", DEFAULT_UPLOAD_HOSTS),
        ("https://BUCKET.S3.AmazonAWS.com/x", DEFAULT_UPLOAD_HOSTS),
        ("https://bucket.s3.amazonaws.com./x", DEFAULT_UPLOAD_HOSTS),
        ("https://bucket.s3.amazonaws.com:8443/x", DEFAULT_UPLOAD_HOSTS),
        ("https://bucket.s3.amazonaws.com/x", ("*.AMAZONAWS.com",)),
        ("https://pinned.example.com/x", ("other.example.com", "Pinned.Example.com")),
        (f"https://{API}/x", ()),
        (f"https://{API}:9443/x", ()),
        (f"https://{API.upper()}./x", ()),
    ],
)
def test_allowed_hosts_are_allowed(url: str, allowed: tuple[str, ...]) -> None:
    """A host that matches by whole labels, and the API's own on any port, may have the zip, whatever its case."""
    assert refused(url, allowed=allowed) == ""


def test_what_is_not_ascii_is_refused() -> None:
    """No engine can send it: it is told before any of them meets it, and not shown."""
    assert "not ASCII" in url_flaw("https://api.example/\u00e9")
    assert "not ASCII" in refused("https://bucket.s3.amazonaws.com/\u00e9?Signature=s3cr3t")
    assert "not ASCII" in refused(f"https://{API}/\u00e9?Signature=s3cr3t")


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("amazonaws.com", DEFAULT_UPLOAD_HOSTS),
        ("evilamazonaws.com", DEFAULT_UPLOAD_HOSTS),
        ("bucket.amazonaws.com.evil.com", DEFAULT_UPLOAD_HOSTS),
        ("amazonaws.com.evil.com", DEFAULT_UPLOAD_HOSTS),
        ("bucket.amazonaws.co", DEFAULT_UPLOAD_HOSTS),
        ("bucket.\u0430mazonaws.com", DEFAULT_UPLOAD_HOSTS),  # a Cyrillic letter
        ("xn--mazonaws-yyb.com", DEFAULT_UPLOAD_HOSTS),
        ("sub.pinned.example.com", ("pinned.example.com",)),
        ("notpinned.example.com", ("pinned.example.com",)),
        (f"evil-{API}", ()),
        (f"sub.{API}", ()),
        ("localhost", DEFAULT_UPLOAD_HOSTS),
        ("bucket.amazonaws.com", ()),
    ],
)
def test_lookalikes_are_refused(host: str, allowed: tuple[str, ...]) -> None:
    """Parts of labels, longer names, other alphabets and names that nobody listed get nothing."""
    told = refused(f"https://{host}/x?Signature=s3cr3t", allowed=allowed)
    assert "which is not allowed: if it is Smile ID's, add it to upload_hosts" in told
    assert "s3cr3t" not in told


@pytest.mark.parametrize(
    "host",
    [
        "203.0.113.9",
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[2001:db8::1]",
        "[fe80::1%25eth0]",
        "2130706433",
        "0x7f000001",
        "0x7F.1",
        "0xcb.0x0.0x71.0x9",
        "0177.0.0.1",
        "127.1",
        "203.0.113.9.",
        "169.254.169.254",
    ],
)
def test_addresses_are_refused_in_all_disguises(host: str) -> None:
    """An IP address, decimal, octal, hexadecimal, shortened or version 6, is no host to send a face to."""
    assert refused(f"https://{host}/x", allowed=("*.amazonaws.com", "*.9", "*.1")) == (
        "the upload URL names an IP address instead of a host"
    )


@pytest.mark.parametrize("api_host", ["localhost", "127.0.0.1", "::1", "sandbox.localhost"])
@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1:8444", "[::1]:8444", "s3.localhost"])
def test_a_sandbox_on_this_machine_keeps_its_storage_there(api_host: str, host: str) -> None:
    """While the API itself is on loopback, so may the storage be, by any name, http included."""
    assert refused(f"https://{host}/x", api_host=api_host, allowed=()) == ""
    assert refused(f"http://{host}/x", api_host=api_host, allowed=()) == ""
    assert refused(f"http://{host}/x", allowed=()) != ""


@given(
    st.text(alphabet="abAB.-:@/\\?#%[]0x1 \t\n\u3002\uff1bé", max_size=30),
    st.sampled_from(["", ".amazonaws.com", "amazonaws.com/x"]),
)
@example("evil.com\\", ".amazonaws.com")
@example("evil.com/", ".amazonaws.com")
@example("evil.com#", ".amazonaws.com")
@example("evil.com?", ".amazonaws.com")
@example("u@", "evil.com#.amazonaws.com")
def test_what_is_allowed_is_plain(start: str, end: str) -> None:
    """Whatever is put before the name of an allowed domain: if it passes, the host really ends in that domain."""
    url = f"https://{start}{end}"
    if refused(url) == "":
        authority = url.split("/")[2]
        assert not set(authority) & set("@\\?# \t\n")
        assert authority.partition(":")[0].lower().rstrip(".").endswith(".amazonaws.com")


def test_who_serves_in_a_loop_that_does_not_run_is_asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would answer on a port of this process whose loop has stopped; a loop that is closed serves no more."""
    loop = asyncio.new_event_loop()
    monkeypatch.setitem(SERVED, 8443, loop)

    async def running() -> bool:
        return asleep("https://127.0.0.1:8443/v1")

    assert asleep("https://127.0.0.1:8443/v1")
    assert not loop.run_until_complete(running())
    assert not asleep("https://example.com:8443/v1")
    assert not asleep("https://127.0.0.1:1/v1")
    loop.close()
    assert not asleep("https://127.0.0.1:8443/v1")
