"""settings.py: a session that can not work is refused before anything is opened, in words that cure."""

import math
from inspect import signature
from typing import Any, Unpack

import pytest
from ground_support import frames_holding

from smile_async.errors import BadConfiguration
from smile_async.jobs.person import Consent
from smile_async.limits import Limits, Stats
from smile_async.protocol.signature import Secret
from smile_async.session import SmileSession
from smile_async.settings import ENVIRONMENTS, Options, Settings, environment_settings, plain_callbacks
from smile_async.urls import DEFAULT_UPLOAD_HOSTS

CANARY = "k3y-that-nobody-may-see"


def checked(**changes: Any) -> Settings:
    """Good settings, with *changes*."""
    good: dict[str, Any] = {
        "partner_id": "085",
        "api_key": Secret(CANARY),
        "previous_api_keys": (),
        "environment": None,
        "base_url": None,
        "callback_url": None,
        "upload_hosts": None,
        "insecure_callbacks": False,
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
    assert checked(environment=environment, api="v3").base_url == found.base_url.replace("/v1", "/v3")


@pytest.mark.parametrize(
    ("given", "base_url", "api_host"),
    [
        ("https://localhost:8443/v1", "https://localhost:8443/v1", "localhost"),
        ("http://127.0.0.1:8443/v1/", "http://127.0.0.1:8443/v1", "127.0.0.1"),
        ("https://API.Example.com./v1", "https://API.Example.com./v1", "api.example.com"),
    ],
)
def test_another_server_may_be_given(given: str, base_url: str, api_host: str) -> None:
    """A base URL names another server than the vendor's, with a slash at the end or not."""
    found = checked(base_url=given, environment="sandbox")
    assert (found.base_url, found.api_host) == (base_url, api_host)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"environment": "prod"}, "environment is 'prod': give 'sandbox' or 'production'"),
        ({"environment": "prod", "base_url": "https://localhost/v1"}, "environment is 'prod'"),
        ({"environment": ""}, "environment is ''"),
        ({"environment": "production", "base_url": "https://localhost/v1"}, "give one of them"),
        (
            {"environment": "sandbox", "base_url": ENVIRONMENTS["production"]},
            "'sandbox' and there is a base_url: give one",
        ),
        ({"base_url": ""}, "base_url is not a URL"),
        ({"base_url": "http://api.example.com/v1"}, "base_url is not https"),
        ({"base_url": "api.example.com/v1"}, "base_url is not a URL"),
        ({"base_url": "https://key@api.example.com/v1"}, "base_url carries a user name"),
        ({"base_url": "https://api.example.com"}, "base_url does not end in /v1: give that of api"),
        ({"base_url": "https://api.example.com/v2"}, "base_url does not end in /v1"),
        ({"base_url": "https://api.example.com/v3"}, "does not end in /v1: it is that of api='v3'"),
        ({"base_url": "https://api.example.com/v1", "api": "v3"}, "does not end in /v3: it is that of api='v1'"),
        ({"api": "v2"}, "api is 'v2': give 'v1' or 'v3'"),
        ({"api": None}, "api is None: give 'v1' or 'v3'"),
        ({"tokens": "many"}, "tokens is 'many': give 'shared' or 'per_job'"),
        ({"consent": {"granted": True}}, "consent is dict: give a Consent"),
        ({"callback_url": "http://shop.example/smile"}, "callback_url is not https"),
        ({"callback_url": "ftp://shop.example/", "insecure_callbacks": True}, "callback_url is not https"),
        ({"insecure_callbacks": "false"}, "insecure_callbacks is str: give True or False"),
        ({"insecure_callbacks": True, "environment": "production"}, "does not go with production"),
        ({"insecure_callbacks": True, "base_url": "https://API.smileidentity.com./v1"}, "does not go with production"),
        ({"partner_id": ""}, "partner_id is empty"),
        ({"partner_id": "0 85"}, "partner_id has a blank"),
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
    insecure = checked(callback_url="http://shop.example/smile", insecure_callbacks=True)
    assert insecure.callback_url == "http://shop.example/smile"


@pytest.mark.parametrize("given", ["Pinned.Example, *.b_c.example", ["pinned.example", "*.B_C.example"]])
def test_upload_hosts_are_a_list_or_a_text(given: str | list[str]) -> None:
    """Hosts come as a list, or as a text with commas or blanks as in a variable, in any case; S3 has some with _."""
    assert checked(upload_hosts=given).upload_hosts == ("pinned.example", "*.b_c.example")


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


@pytest.mark.parametrize("rate", [0, -1.0, math.inf, math.nan, 10**400, True, "5"])
def test_a_rate_is_above_zero(rate: Any) -> None:
    """A rate at which nothing would ever be sent, or none at all, is refused."""
    with pytest.raises(BadConfiguration, match=r"Limits\.jobs_per_second is not a finite number above 0"):
        Limits(jobs_per_second=rate)
    assert Limits(jobs_per_second=0.5).jobs_per_second == 0.5
    assert Limits().jobs_per_second is None


@pytest.mark.parametrize("polls", [-1.0, math.inf, math.nan, 10**400, "200", True])
def test_a_bound_on_eager_polls_is_a_finite_number(polls: Any) -> None:
    """Limits.eager_polls is polls a second; with 0 nobody is polled more eagerly than a batch."""
    with pytest.raises(BadConfiguration, match=r"Limits\.eager_polls is not a finite number"):
        Limits(eager_polls=polls)
    assert Limits(eager_polls=0).eager_polls == 0


def test_stats_are_a_plain_snapshot() -> None:
    """Two snapshots of the same moment are equal, and a field reads as it was set."""
    numbers = dict.fromkeys(("submitted", "pending", "finished", "failed", "polls", "retries", "in_flight"), 1)
    stats = Stats(**numbers, api_http_version="HTTP/2", storage_http_version="")
    assert stats == Stats(**numbers, api_http_version="HTTP/2", storage_http_version="")
    assert stats.api_http_version == "HTTP/2"


SANDBOX, PRODUCTION = ENVIRONMENTS["sandbox"], ENVIRONMENTS["production"]
DESK, OTHER = "https://localhost:8443/v1", "https://smile.example/v1"
WHO = {"partner_id": "001", "api_key": "another-key"}
DESK_VARIABLES = {"SMILE_BASE_URL": DESK, "SMILE_CA_FILE": "/ca.pem", "SMILE_CALLBACK_URL": "https://shop.example"}
LEFT_ALONE = {"ca_file": "/ca.pem", "callback_url": "https://shop.example"}


@pytest.mark.parametrize(
    ("told", "variables", "server", "kept"),
    [
        # The call says nothing.
        ({}, {}, SANDBOX, {}),
        ({}, {"SMILE_ENVIRONMENT": "sandbox"}, SANDBOX, {}),
        ({}, {"SMILE_ENVIRONMENT": "production"}, PRODUCTION, {}),
        ({}, DESK_VARIABLES, DESK, LEFT_ALONE),
        ({}, {"SMILE_ENVIRONMENT": "sandbox", **DESK_VARIABLES}, DESK, LEFT_ALONE),
        ({}, {"SMILE_ENVIRONMENT": "production", "SMILE_BASE_URL": DESK}, "SMILE_ENVIRONMENT .* SMILE_BASE_URL", None),
        (
            {},
            {"SMILE_ENVIRONMENT": "sandbox", "SMILE_BASE_URL": PRODUCTION},
            "'sandbox', but SMILE_BASE_URL .* api",
            None,
        ),
        ({}, {"SMILE_BASE_URL": PRODUCTION}, PRODUCTION, {}),
        ({"base_url": PRODUCTION}, {"SMILE_ENVIRONMENT": "sandbox"}, PRODUCTION, {}),
        ({}, {"SMILE_ENVIRONMENT": "prod"}, "environment is 'prod'", None),
        ({}, {"SMILE_ENVIRONMENT": "prod", "SMILE_BASE_URL": DESK}, "environment is 'prod'", None),
        # An environment alone: partner id and key do not move.
        ({"environment": "production"}, {}, PRODUCTION, {}),
        ({"environment": "sandbox"}, {"SMILE_ENVIRONMENT": "sandbox"}, SANDBOX, {}),
        ({"environment": "production"}, DESK_VARIABLES, "'production', but SMILE_BASE_URL .* localhost", None),
        ({"environment": "sandbox"}, DESK_VARIABLES, "'sandbox', but SMILE_BASE_URL names the host localhost", None),
        ({"environment": "production"}, {"SMILE_ENVIRONMENT": "sandbox"}, "SMILE_ENVIRONMENT is 'sandbox'", None),
        ({"environment": "sandbox"}, {"SMILE_ENVIRONMENT": "production"}, "SMILE_ENVIRONMENT is 'production'", None),
        ({"environment": "production", "api_key": "another-key"}, DESK_VARIABLES, "but SMILE_BASE_URL", None),
        ({"environment": "production", **WHO, "partner_id": None}, DESK_VARIABLES, "but SMILE_BASE_URL", None),
        # A whole account.
        ({"environment": "production", **WHO}, DESK_VARIABLES, PRODUCTION, {}),
        ({"environment": "production", **WHO}, {"SMILE_INSECURE_CALLBACKS": "1"}, PRODUCTION, {}),
        ({"environment": "sandbox", **WHO}, {"SMILE_ENVIRONMENT": "production"}, SANDBOX, {}),
        ({"environment": "prod", **WHO}, {}, "environment is 'prod'", None),
        # Another server.
        ({"base_url": OTHER}, {"SMILE_ENVIRONMENT": "production", "SMILE_CA_FILE": "/ca.pem"}, OTHER, {}),
        ({"base_url": OTHER}, DESK_VARIABLES, OTHER, {"callback_url": "https://shop.example"}),
        ({"base_url": "https://localhost:1/v1"}, DESK_VARIABLES, "https://localhost:1/v1", LEFT_ALONE),
        ({"base_url": OTHER, "environment": "production"}, {}, "give one of them", None),
        ({"base_url": OTHER, "environment": "production", **WHO}, {}, "give one of them", None),
        ({"base_url": OTHER, "environment": "sandbox"}, {}, OTHER, {}),
        ({"base_url": ""}, {}, "base_url is not a URL", None),
        ({"base_url": None, "environment": None}, {}, SANDBOX, {}),
    ],
)
def test_which_account(
    told: dict[str, Any], variables: dict[str, str], server: str, kept: dict[str, str] | None
) -> None:
    """The table in the guide: no approval of a sandbox passes for one of production, and no half of an account moves.

    *server* is the base URL that comes out, or (*kept* None) what the refusal says; *kept* are the variables beside it.
    """
    environ = {"SMILE_PARTNER_ID": "085", "SMILE_API_KEY": CANARY, "SMILE_UPLOAD_HOSTS": "bucket.example", **variables}
    if kept is None:
        with pytest.raises(BadConfiguration, match=server) as caught:
            checked(**environment_settings(environ, told))  # type: ignore[arg-type]
        assert frames_holding(caught.value, CANARY) == []
        return
    found: dict[str, Any] = {**environment_settings(environ, told)}  # type: ignore[arg-type]
    ca_file = found.pop("ca_file", None)
    settings = checked(**{**found, "api_key": Secret(found["api_key"])})
    assert settings.base_url == server
    assert (ca_file, settings.callback_url) == (kept.get("ca_file"), kept.get("callback_url", ""))
    assert settings.upload_hosts == ("bucket.example",)
    assert settings.insecure_callbacks is False


@pytest.mark.parametrize(
    ("told", "server"),
    [
        ({}, "sandbox (testapi.smileidentity.com)"),
        ({"environment": "production"}, "production (api.smileidentity.com)"),
        ({"base_url": "https://API.smileidentity.com./v1"}, "production (api.smileidentity.com)"),
        ({"base_url": DESK}, "localhost:8443"),
    ],
)
def test_a_session_says_which_server_is_meant(told: Options, server: str) -> None:
    """Whoever prints a session sees whose it is and where its faces go, and no key."""
    session = SmileSession("085", CANARY, **told)
    assert repr(session) == f"<SmileSession of partner 085 at {server}, closed>"
    assert (session.partner_id, session.server) == ("085", server)


def test_every_argument_of_a_session_can_be_told_by_name() -> None:
    """`from_env` is typed with the arguments of a session, so that a type checker finds a misspelt one."""
    assert {*Options.__annotations__} == {*signature(SmileSession).parameters}
    (told,) = signature(SmileSession.from_env).parameters.values()
    assert told.annotation == Unpack[Options]


@pytest.mark.parametrize(("value", "found"), [("1", True), ("0", False), ("", False), ("true", None), ("no", None)])
def test_the_switch_for_insecure_callbacks(value: str, found: bool | None) -> None:
    """The variable is 1 or nothing; a word that might mean anything is refused."""
    environ = {"SMILE_PARTNER_ID": "085", "SMILE_API_KEY": CANARY, "SMILE_INSECURE_CALLBACKS": value}
    if found is None:
        with pytest.raises(BadConfiguration, match=r"SMILE_INSECURE_CALLBACKS is .*: set it to 1, or unset it"):
            environment_settings(environ, {})
        return
    assert environment_settings(environ, {}).get("insecure_callbacks", False) is found


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("SMILE_API_KEY", f"{CANARY}\n", "has a blank or a line break"),
        ("SMILE_PARTNER_ID", '"085"', "has quotes around it"),
        ("SMILE_ENVIRONMENT", "prod", "is 'prod': give"),
        ("SMILE_BASE_URL", "localhost", "is not a URL"),
        ("SMILE_CALLBACK_URL", "http://shop.example", "is not https"),
        ("SMILE_CA_FILE", "/nowhere", "'/nowhere' is not a file"),
        ("SMILE_HTTP", "curl", "is 'curl': give"),
        ("SMILE_UPLOAD_HOSTS", "https://b", "names 'https://b'"),
    ],
)
def test_what_came_from_a_variable_is_called_by_its_name(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, why: str
) -> None:
    """Who has set a variable wrongly is told of the variable, and who has given an argument of that."""
    for name in ENVIRON:
        monkeypatch.delenv(name, raising=False)
    environ = {"SMILE_PARTNER_ID": "085", "SMILE_API_KEY": CANARY, variable: value}
    for name, text in environ.items():
        monkeypatch.setenv(name, text)
    with pytest.raises(BadConfiguration, match=f"^{variable} {why}") as caught:
        SmileSession.from_env()
    assert frames_holding(caught.value, CANARY) == []
    with pytest.raises(BadConfiguration, match=r"^callback_url is not https"):
        SmileSession.from_env(
            **{**WHO, "environment": "sandbox", "ca_file": None, "http": "httpx", "upload_hosts": None},
            callback_url="http://shop.example",
        )


@pytest.mark.parametrize(
    ("told", "variables", "found"),
    [
        ({}, {}, False),
        ({}, {"SMILE_INSECURE_CALLBACKS": "1"}, True),
        ({"base_url": DESK}, {"SMILE_INSECURE_CALLBACKS": "1", "SMILE_ENVIRONMENT": "production"}, True),
        ({"environment": "production"}, {"SMILE_INSECURE_CALLBACKS": "1"}, "does not go with production"),
        ({"environment": "production"}, DESK_VARIABLES, "but SMILE_BASE_URL"),
        ({"environment": "prod"}, {}, "environment is 'prod'"),
    ],
)
def test_whether_callbacks_may_be_plain_is_known_without_an_account(
    told: Options, variables: dict[str, str], found: bool | str
) -> None:
    """What a run's session would say of http callbacks is said before there is a partner id or a key."""
    if isinstance(found, bool):
        assert plain_callbacks(environment_settings(variables, told, whole=False)) is found
        return
    with pytest.raises(BadConfiguration, match=found):
        plain_callbacks(environment_settings(variables, told, whole=False))


ENVIRON = {
    "SMILE_PARTNER_ID": "085",
    "SMILE_API_KEY": CANARY,
    "SMILE_ENVIRONMENT": "sandbox",
    "SMILE_BASE_URL": "https://localhost:8443/v1",
    "SMILE_CALLBACK_URL": "",
    "SMILE_CA_FILE": "/ca.pem",
    "SMILE_HTTP": "httpx2",
    "SMILE_UPLOAD_HOSTS": "bucket.example",
    "SMILE_SOMETHING": "else",
}


def test_a_consent_for_all_jobs_comes_from_two_variables() -> None:
    """The privacy policy and its language become the session's consent; one that V3 would refuse is named."""
    said = {**ENVIRON, "SMILE_CONSENT_URL": "https://shop.example/privacy"}
    assert environment_settings(said, {})["consent"] == Consent("https://shop.example/privacy")
    assert environment_settings({**said, "SMILE_CONSENT_LANGUAGE": "FR"}, {})["consent"] == Consent(
        "https://shop.example/privacy", "FR"
    )
    own = Consent("https://other.example/privacy")
    assert environment_settings(said, {"consent": own})["consent"] is own
    for name, value in (("SMILE_CONSENT_URL", "http://shop.example"), ("SMILE_CONSENT_LANGUAGE", "french")):
        with pytest.raises(BadConfiguration, match=f"{name}.*: consent: "):
            environment_settings({**said, name: value}, {})


def test_a_whole_account_leaves_the_api_of_the_variables_behind() -> None:
    """Which API an account speaks is its own, and so is what its users agree to."""
    said = {**ENVIRON, "SMILE_API": "v3", "SMILE_CONSENT_URL": "https://shop.example/privacy"}
    found = environment_settings(said, {"environment": "sandbox", **WHO})  # type: ignore[typeddict-item]
    assert {"api", "consent"}.isdisjoint(found)
    assert environment_settings({**said, "SMILE_BASE_URL": ""}, {"environment": "sandbox"})["api"] == "v3"


def test_every_variable_becomes_an_argument() -> None:
    """What is set in the environment arrives under its own name, the key as a secret; what is empty does not."""
    found = dict(environment_settings(ENVIRON, {}))
    key = found.pop("api_key")
    assert isinstance(key, Secret)
    assert key.reveal() == CANARY
    assert found == {
        "partner_id": "085",
        "environment": "sandbox",
        "base_url": "https://localhost:8443/v1",
        "ca_file": "/ca.pem",
        "http": "httpx2",
        "upload_hosts": "bucket.example",
    }


def test_overrides_win() -> None:
    """What is passed by hand wins over the environment, and may be all there is."""
    found = environment_settings(ENVIRON, {"partner_id": "001", "http": "httpx"})
    assert (found["partner_id"], found["http"]) == ("001", "httpx")
    assert {*environment_settings({}, {"partner_id": "1", "api_key": "k"})} == {"partner_id", "api_key"}


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
