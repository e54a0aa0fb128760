"""settings.py: a session that can not work is refused before anything is opened, in words that cure."""

import math
from typing import Any

import pytest

from smile_async.errors import BadConfiguration
from smile_async.limits import Limits, Stats
from smile_async.protocol.signature import Secret
from smile_async.settings import ENVIRONMENTS, Settings, environment_settings
from smile_async.urls import DEFAULT_UPLOAD_HOSTS

CANARY = "k3y-that-nobody-may-see"


def checked(**changes: Any) -> Settings:
    """Good settings, with *changes*."""
    good: dict[str, Any] = {
        "partner_id": "085",
        "api_key": Secret(CANARY),
        "previous_api_keys": (),
        "environment": "sandbox",
        "base_url": None,
        "callback_url": None,
        "upload_hosts": None,
    }
    return Settings.checked(**{**good, **changes})


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_an_environment_is_enough(environment: str) -> None:
    """Naming the environment gives Smile ID's own address, no callback, and the documented storage hosts."""
    found = checked(environment=environment)
    assert found.base_url == ENVIRONMENTS[environment]
    assert found.api_host == found.base_url.split("/")[2]
    assert (found.callback_url, found.upload_hosts) == ("", DEFAULT_UPLOAD_HOSTS)
    assert found.signer.partner_id == "085"


@pytest.mark.parametrize(
    ("given", "base_url", "api_host"),
    [
        ("https://localhost:8443/v1", "https://localhost:8443/v1", "localhost"),
        ("http://127.0.0.1:8443/v1/", "http://127.0.0.1:8443/v1", "127.0.0.1"),
        ("https://API.Example.com./v1", "https://API.Example.com./v1", "api.example.com"),
    ],
)
def test_a_base_url_wins_over_the_environment(given: str, base_url: str, api_host: str) -> None:
    """Another address may be given, with a slash at the end or not, and then the environment need not be known."""
    found = checked(base_url=given, environment="mine")
    assert (found.base_url, found.api_host) == (base_url, api_host)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"environment": "prod"}, "environment is 'prod': give 'sandbox' or 'production', or a base_url"),
        ({"environment": "prod", "base_url": ""}, "environment is 'prod'"),
        ({"base_url": "http://api.example.com/v1"}, "base_url is not https"),
        ({"base_url": "api.example.com/v1"}, "base_url is not a URL"),
        ({"base_url": "https://key@api.example.com/v1"}, "base_url carries a user name"),
        ({"base_url": "https://api.example.com"}, "base_url does not end in /v1: this library speaks version 1"),
        ({"base_url": "https://api.example.com/v2"}, "base_url does not end in /v1"),
        ({"callback_url": "http://shop.example/smile"}, "callback_url is not https"),
        ({"partner_id": ""}, "partner_id is empty"),
        ({"partner_id": "0 85"}, "partner_id is empty or has blanks"),
        ({"api_key": Secret("")}, "api_key is empty"),
        ({"previous_api_keys": [Secret(" ")]}, "api_key is empty"),
        ({"upload_hosts": ["https://bucket.example"]}, "upload_hosts names 'https://bucket.example': give host names"),
        ({"upload_hosts": ["*"]}, "upload_hosts names '*'"),
        ({"upload_hosts": ["a.*.example"]}, "upload_hosts names 'a.*.example'"),
        ({"upload_hosts": ["bucket.example:443"]}, "upload_hosts names"),
        ({"upload_hosts": ["good.example", ""]}, "upload_hosts names ''"),
    ],
)
def test_each_wrong_setting_is_named_with_its_cure(changes: dict[str, Any], words: str) -> None:
    """A setting that would fail later, or leak, is refused now, without showing the key."""
    with pytest.raises(BadConfiguration) as caught:
        checked(**changes)
    assert words in str(caught.value)
    assert CANARY not in str(caught.value)


def test_a_callback_url_is_kept() -> None:
    """The default callback of the session is what was given."""
    assert checked(callback_url="https://shop.example/smile").callback_url == "https://shop.example/smile"


@pytest.mark.parametrize("given", ["Pinned.Example, *.b.example", ["pinned.example", "*.B.example"]])
def test_upload_hosts_are_a_list_or_a_text(given: str | list[str]) -> None:
    """Hosts come as a list, or as a text with commas or blanks as in a variable, in any case."""
    assert checked(upload_hosts=given).upload_hosts == ("pinned.example", "*.b.example")


def test_no_upload_hosts_leave_the_api_alone() -> None:
    """An empty list allows nothing besides the API's own host."""
    assert checked(upload_hosts=[]).upload_hosts == ()


def test_settings_show_no_key() -> None:
    """The repr of settings, with its signer and its keys, shows no key."""
    assert CANARY not in repr(checked(previous_api_keys=[Secret(CANARY)]))


@pytest.mark.parametrize("name", ["uploads", "requests", "pending"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "16", None])
def test_limits_are_whole_numbers(name: str, value: Any) -> None:
    """A limit that is no whole number from 1 is refused by name."""
    with pytest.raises(BadConfiguration, match=f"Limits.{name} is .*: give a whole number from 1"):
        Limits(**{name: value})
    assert getattr(Limits(**{name: 1}), name) == 1


@pytest.mark.parametrize("rate", [0, -1.0, math.inf, math.nan])
def test_a_rate_is_above_zero(rate: float) -> None:
    """A rate at which nothing would ever be sent, or none at all, is refused."""
    with pytest.raises(BadConfiguration, match=r"Limits\.jobs_per_second is .*: give a number above 0, or None"):
        Limits(jobs_per_second=rate)
    assert Limits(jobs_per_second=0.5).jobs_per_second == 0.5
    assert Limits().jobs_per_second is None


def test_stats_are_a_plain_snapshot() -> None:
    """Two snapshots of the same moment are equal, and a field reads as it was set."""
    numbers = dict.fromkeys(("submitted", "pending", "finished", "failed", "polls", "retries", "in_flight"), 1)
    stats = Stats(**numbers, api_http_version="HTTP/2", storage_http_version="")
    assert stats == Stats(**numbers, api_http_version="HTTP/2", storage_http_version="")
    assert stats.api_http_version == "HTTP/2"


ENVIRON = {
    "SMILE_PARTNER_ID": "085",
    "SMILE_API_KEY": CANARY,
    "SMILE_ENVIRONMENT": "production",
    "SMILE_BASE_URL": "https://localhost:8443/v1",
    "SMILE_CALLBACK_URL": "",
    "SMILE_CA_FILE": "/ca.pem",
    "SMILE_HTTP": "httpx2",
    "SMILE_UPLOAD_HOSTS": "bucket.example",
    "SMILE_SOMETHING": "else",
}


def test_every_variable_becomes_an_argument() -> None:
    """What is set in the environment arrives under its own name, the key as a secret; what is empty does not."""
    found = environment_settings(ENVIRON, {})
    key = found.pop("api_key")
    assert isinstance(key, Secret)
    assert key.reveal() == CANARY
    assert found == {
        "partner_id": "085",
        "environment": "production",
        "base_url": "https://localhost:8443/v1",
        "ca_file": "/ca.pem",
        "http": "httpx2",
        "upload_hosts": "bucket.example",
    }


def test_overrides_win() -> None:
    """What is passed by hand wins over the environment, and may be all there is."""
    found = environment_settings(ENVIRON, {"partner_id": "001", "patience": 5})
    assert (found["partner_id"], found["patience"]) == ("001", 5)
    assert environment_settings({}, {"partner_id": "1", "api_key": "k"}) == {"partner_id": "1", "api_key": "k"}


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "SMILE_PARTNER_ID is not set: export it, or pass partner_id="),
        ({"SMILE_PARTNER_ID": "085"}, "SMILE_API_KEY is not set: export it, or pass api_key="),
        ({"SMILE_PARTNER_ID": "085", "SMILE_API_KEY": ""}, "SMILE_API_KEY is not set"),
    ],
)
def test_a_missing_variable_is_named(environ: dict[str, str], words: str) -> None:
    """Without partner id or key the message names the variable to export."""
    with pytest.raises(BadConfiguration, match=words):
        environment_settings(environ, {})
