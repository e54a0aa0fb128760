"""Which account a session is of, and at which server: where what the call says meets what the variables say.

Half an account must not move to another server, and an approval of a sandbox must not pass for one of production: what
the call says counts, and where a variable would contradict it silently, it is refused or left alone as the table below
says. All of it is checked before anything is opened. Keys go in as text and are never seen again.

## Your account

`SmileSession.from_env()` and the command `smile-async` read these variables. Keys of Smile ID's sandbox and of
production differ.

| variable | meaning |
|---|---|
| `SMILE_PARTNER_ID` | as the portal shows it, leading zeros included |
| `SMILE_API_KEY` | from the portal |
| `SMILE_ENVIRONMENT` | `sandbox` (the default) or `production` |
| `SMILE_CALLBACK_URL` | where Smile ID posts results: https, or loopback |
| `SMILE_INSECURE_CALLBACKS` | `1`: callback URLs may be http, outside of production |
| `SMILE_UPLOAD_HOSTS` | hosts that upload URLs may name, default `*.amazonaws.com`: pin the one of your account |
| `SMILE_API` | `v1` (the default) or `v3`: see `smile_async.protocol.v3` |
| `SMILE_CONSENT_URL`, `SMILE_CONSENT_LANGUAGE` | V3: a policy for jobs that name none, and its language |
| `SMILE_BASE_URL` | another server, such as `smile-async sandbox`; ends in `/v1`, or in `/v3` for V3 |
| `SMILE_CA_FILE` | PEM file of the CAs to trust instead of the system's |
| `SMILE_HTTP` | the HTTP engine: `httpx` (the default), `httpx2` or `pyreqwest` |

## Which server is meant

Arguments of `SmileSession.from_env`, and options of the command line, win over variables. But partner id and key belong
to one server. So:

| you say | the variables say | what happens |
|---|---|---|
| nothing | `SMILE_BASE_URL`, or no more than `SMILE_ENVIRONMENT` | that server; without either, Smile ID's sandbox |
| nothing | `SMILE_BASE_URL` with `SMILE_ENVIRONMENT=production` | refused: unset one of them |
| nothing | production's URL with `SMILE_ENVIRONMENT=sandbox` | refused: unset one of them |
| `environment=` | id and key, with `SMILE_BASE_URL` or another environment | refused: the key would move |
| `environment=`, `partner_id=` and `api_key=` | anything | that environment; see below |
| `base_url=` | anything | that server; see below |
| `environment="production"` and `base_url=` | anything | refused |
| `environment="sandbox"` and production's URL | anything | refused |

With an environment and a whole account in the call, `SMILE_BASE_URL`, `SMILE_CA_FILE`, the callback variables,
`SMILE_API` and `SMILE_CONSENT_URL` count for nothing. With `base_url=`, `SMILE_ENVIRONMENT` counts for nothing, nor
does `SMILE_CA_FILE`, unless `SMILE_BASE_URL` names the same host. `SMILE_UPLOAD_HOSTS` always counts, because it only
restricts. The options `--environment` and `--base-url` follow the same rules.

`repr(session)`, `session.server` and the first line that a command writes to standard error say which server is meant:
`production (api.smileidentity.com)`, or host and port of another.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict, cast
from urllib.parse import urlsplit

from smile_async.errors import BadConfiguration, InvalidJob
from smile_async.jobs.person import Consent
from smile_async.limits import Limits
from smile_async.protocol.apis import APIS
from smile_async.protocol.signature import Secret, Signer
from smile_async.timing.clock import Clock
from smile_async.timing.pacing import Pace
from smile_async.urls import DEFAULT_UPLOAD_HOSTS, host_of, url_flaw

if TYPE_CHECKING:
    from smile_async.ledger import Ledger
    from smile_async.traffic.readers import InThread

__all__ = [
    "ENVIRONMENTS",
    "Options",
    "Settings",
    "checked_flag",
    "environment_of",
    "environment_settings",
    "named_as_told",
    "plain_callbacks",
]

#: wire.md §1.
ENVIRONMENTS = {
    "sandbox": "https://testapi.smileidentity.com/v1",
    "production": "https://api.smileidentity.com/v1",
}

_FROM_ENV = {
    "partner_id": "SMILE_PARTNER_ID",
    "api_key": "SMILE_API_KEY",
    "environment": "SMILE_ENVIRONMENT",
    "base_url": "SMILE_BASE_URL",
    "callback_url": "SMILE_CALLBACK_URL",
    "ca_file": "SMILE_CA_FILE",
    "http": "SMILE_HTTP",
    "upload_hosts": "SMILE_UPLOAD_HOSTS",
    "insecure_callbacks": "SMILE_INSECURE_CALLBACKS",
    "api": "SMILE_API",
    "consent": "SMILE_CONSENT_URL",
}
#: In which the notice at SMILE_CONSENT_URL is.
_LANGUAGE = "SMILE_CONSENT_LANGUAGE"
#: How tokens of V3 are shared: by all requests, or fetched for the product and user of each job.
TOKENS = ("shared", "per_job")
#: Who somebody is, and where: None is nothing said.
_WHO, _WHERE = ("partner_id", "api_key"), ("environment", "base_url")


class Options(TypedDict, total=False):
    """What `SmileSession` takes, by name: so that a type checker finds a misspelt one."""

    partner_id: str
    api_key: str | Secret
    environment: str | None
    base_url: str | None
    callback_url: str | None
    ca_file: str | os.PathLike[str] | None
    http: Any
    limits: Limits
    pace: Pace
    ledger: "Ledger | str | os.PathLike[str] | None"
    upload_hosts: str | Sequence[str] | None
    previous_api_keys: Sequence[str | Secret]
    trust_env: bool
    insecure_callbacks: bool
    clock: Clock | None
    in_thread: "InThread | None"
    api: str
    consent: Consent | None
    tokens: str


@dataclass(frozen=True, slots=True)
class Settings:
    """What a session was told, checked; its repr holds no secret."""

    signer: Signer
    base_url: str
    api_host: str
    callback_url: str
    upload_hosts: tuple[str, ...]
    insecure_callbacks: bool
    api: str = "v1"
    #: V3's alone: what a job agrees to that does not say so itself, how tokens are shared, bytes of one submission.
    consent: Consent | None = None
    tokens: str = "shared"
    most_bytes: int = 4_500_000

    @classmethod
    def checked(
        cls,
        *,
        partner_id: str,
        api_key: Secret,
        previous_api_keys: Sequence[Secret],
        environment: str | None,
        base_url: str | None,
        callback_url: str | None,
        upload_hosts: str | Sequence[str] | None,
        insecure_callbacks: bool,
        api: str = "v1",
        consent: Consent | None = None,
        tokens: str = "shared",
        most_bytes: int = 4_500_000,
    ) -> "Settings":
        """The settings, or BadConfiguration saying which one is wrong and what to do."""
        if tokens not in TOKENS:
            raise BadConfiguration(f"tokens is {tokens!r:.20}: give 'shared' or 'per_job'")
        given: object = consent
        if given is not None and not isinstance(given, Consent):
            raise BadConfiguration(f"consent is {type(given).__name__}: give a Consent")
        url = _base_url(environment, base_url, api)
        plain = _plain(url, insecure_callbacks)
        why = url_flaw(callback_url, plain=plain) if callback_url else ""
        if why:
            raise BadConfiguration(f"callback_url {why}")
        return cls(
            signer=Signer(partner_id, api_key, previous_api_keys),
            base_url=url,
            api_host=host_of(url),
            callback_url=callback_url or "",
            upload_hosts=_hosts(upload_hosts),
            insecure_callbacks=plain,
            api=api,
            consent=consent,
            tokens=tokens,
            most_bytes=most_bytes,
        )

    @property
    def server(self) -> str:
        """Which server is meant, for people: `production (api.smileidentity.com)`, or host and port of another."""
        name = environment_of(self.api_host)
        return f"{name} ({self.api_host})" if name else urlsplit(self.base_url).netloc


def environment_of(host: str) -> str:
    """Which of ENVIRONMENTS is at *host*; "" for a server of somebody else's."""
    return next((name for name, url in ENVIRONMENTS.items() if host_of(url) == host), "")


def _base_url(environment: str | None, base_url: str | None, api: str) -> str:
    if api not in APIS:
        raise BadConfiguration(f"api is {api!r:.20}: give 'v1' or 'v3'")
    if environment is not None and environment not in ENVIRONMENTS:
        raise BadConfiguration(f"environment is {environment!r}: give 'sandbox' or 'production'")
    if base_url is not None and _at_odds(environment, host_of(base_url)):
        raise BadConfiguration(f"environment is {environment!r} and there is a base_url: give one of them")
    url = f"{ENVIRONMENTS[environment or 'sandbox'].removesuffix('/v1')}/{api}" if base_url is None else base_url
    why = url_flaw(url)
    if why:
        raise BadConfiguration(f"base_url {why}")
    url = url.rstrip("/")
    if not urlsplit(url).path.endswith(f"/{api}") or "?" in url or "#" in url:
        other = next((one for one in APIS if one != api and urlsplit(url).path.endswith(f"/{one}")), "")
        cure = f"it is that of api={other!r}" if other else f"give that of api={api!r}"
        raise BadConfiguration(f"base_url does not end in /{api}: {cure}")
    return url


def _at_odds(environment: str | None, host: str) -> bool:
    """Whether one of the two, said together, takes for a trial what the other says is production."""
    return environment is not None and "production" in (environment, environment_of(host))


def _plain(url: str, insecure_callbacks: bool) -> bool:
    plain = checked_flag("insecure_callbacks", insecure_callbacks)
    if plain and environment_of(host_of(url)) == "production":
        raise BadConfiguration("insecure_callbacks does not go with production: give it a callback_url with https")
    return plain


def plain_callbacks(options: Options) -> bool:
    """Whether a session of *options* takes callback URLs without TLS; raises BadConfiguration."""
    url = _base_url(options.get("environment"), options.get("base_url"), options.get("api", "v1"))
    return _plain(url, options.get("insecure_callbacks", False))


def checked_flag(name: str, value: object) -> bool:
    """*value* of the flag *name*, if it is one; raises BadConfiguration: the text "false" would count as true."""
    if isinstance(value, bool):
        return value
    raise BadConfiguration(f"{name} is {type(value).__name__}: give True or False")


def _hosts(given: str | Sequence[str] | None) -> tuple[str, ...]:
    if given is None:
        return DEFAULT_UPLOAD_HOSTS
    names = given.replace(",", " ").split() if isinstance(given, str) else list(given)
    for name in names:
        if not (isinstance(name, str) and re.fullmatch(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*", name.lower())):
            raise BadConfiguration(f"upload_hosts names {name!r}: give host names such as bucket.s3.amazonaws.com")
    return tuple(name.lower() for name in names)


def environment_settings(environ: Mapping[str, str], told: Options, *, whole: bool = True) -> Options:
    """The session's arguments from what it is *told* and the `SMILE_*` variables, by the table above.

    Raises BadConfiguration where they contradict each other, or (*whole*) partner id or key is missing.
    """
    said = {name: value for name, value in told.items() if value is not None or name not in (*_WHO, *_WHERE)}
    found: dict[str, Any] = {name: environ[key] for name, key in _FROM_ENV.items() if environ.get(key)}
    if "api_key" in found:
        found["api_key"] = Secret(found["api_key"])
    language = environ.get(_LANGUAGE) or "EN"
    # Whoever prints the frames of what is raised from here on would print the key.
    del environ
    switch = found.pop("insecure_callbacks", "0")
    if switch not in ("0", "1"):
        # A word that might mean anything.
        raise BadConfiguration(f"SMILE_INSECURE_CALLBACKS is {switch!r}: set it to 1, or unset it")
    if switch == "1":
        found["insecure_callbacks"] = True
    if "consent" in found:
        found["consent"] = _agreed(found["consent"], language)
    for name in _silenced(said, found):
        found.pop(name, None)
    for name in _WHO:
        if whole and name not in said and name not in found:
            raise BadConfiguration(f"{_FROM_ENV[name]} is not set: export it, or pass {name}=")
    return cast("Options", {**found, **said})


def _agreed(url: str, language: str) -> Consent:
    try:
        return Consent(url, language)
    except InvalidJob as error:
        raise BadConfiguration(f"{_FROM_ENV['consent']} or {_LANGUAGE}: {error}") from None


def _silenced(said: Mapping[str, Any], found: Mapping[str, str]) -> tuple[str, ...]:
    """The variables that what is *said* puts out of force; raises BadConfiguration where neither may give way."""
    host = host_of(found.get("base_url", ""))
    at = f"SMILE_BASE_URL names the host {host}" if host else "SMILE_BASE_URL is set"
    if "base_url" in said:
        return ("environment",) if host and host == host_of(said["base_url"]) else ("environment", "ca_file")
    if "environment" not in said:
        if "base_url" in found and _at_odds(found.get("environment"), host):
            raise BadConfiguration(f"SMILE_ENVIRONMENT is {found['environment']!r}, but {at}: unset one of them")
        return ()
    if all(name in said for name in _WHO):
        return ("environment", "base_url", "ca_file", "callback_url", "insecure_callbacks", "api", "consent")
    wanted, other = said["environment"], found.get("environment", said["environment"])
    if "base_url" in found or other != wanted:
        but = at if "base_url" in found else f"SMILE_ENVIRONMENT is {other!r}"
        raise BadConfiguration(
            f"environment is {wanted!r}, but {but}, where partner id and key are from: unset the SMILE_* variables and"
            " set those of the account you mean, or pass its partner_id and api_key as well"
        )
    return ()


@contextmanager
def named_as_told(told: Options) -> Iterator[None]:
    """Let BadConfiguration call by its variable what was not *told* but came from one."""
    try:
        yield
    except BadConfiguration as error:
        name, _, why = str(error).partition(" ")
        if name not in _FROM_ENV or told.get(name) is not None:
            raise
        raise BadConfiguration(f"{_FROM_ENV[name]} {why}") from None
