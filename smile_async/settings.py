"""What a session was told about its account and its server, checked before anything is opened.

Every message says what to do. Keys go in as text and are never seen again.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from smile_async.errors import BadConfiguration
from smile_async.protocol.signature import Secret, Signer
from smile_async.urls import DEFAULT_UPLOAD_HOSTS, url_flaw

__all__ = ["ENVIRONMENTS", "Settings", "checked_flag", "environment_settings"]

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
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What a session was told, checked; its repr holds no secret."""

    signer: Signer
    base_url: str
    api_host: str
    callback_url: str
    upload_hosts: tuple[str, ...]

    @classmethod
    def checked(
        cls,
        *,
        partner_id: str,
        api_key: Secret,
        previous_api_keys: Sequence[Secret],
        environment: str,
        base_url: str | None,
        callback_url: str | None,
        upload_hosts: str | Sequence[str] | None,
    ) -> "Settings":
        """The settings, or BadConfiguration saying which one is wrong and what to do."""
        if not base_url and environment not in ENVIRONMENTS:
            raise BadConfiguration(f"environment is {environment!r}: give 'sandbox' or 'production', or a base_url")
        url = (base_url or ENVIRONMENTS[environment]).rstrip("/")
        for name, value in (("base_url", url), ("callback_url", callback_url)):
            why = url_flaw(value) if value else ""
            if why:
                raise BadConfiguration(f"{name} {why}")
        if not urlsplit(url).path.endswith("/v1") or "?" in url or "#" in url:
            raise BadConfiguration("base_url does not end in /v1: this library speaks version 1 of the API")
        return cls(
            signer=Signer(partner_id, api_key, previous_api_keys),
            base_url=url,
            api_host=(urlsplit(url).hostname or "").rstrip("."),
            callback_url=callback_url or "",
            upload_hosts=_hosts(upload_hosts),
        )


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
        if not re.fullmatch(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*", name.lower()):
            raise BadConfiguration(f"upload_hosts names {name!r}: give host names such as bucket.s3.amazonaws.com")
    return tuple(name.lower() for name in names)


def environment_settings(environ: Mapping[str, str], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The session's arguments from `SMILE_*` variables; *overrides* win. Raises BadConfiguration for a missing one."""
    found: dict[str, Any] = {name: environ[key] for name, key in _FROM_ENV.items() if environ.get(key)}
    if "api_key" in found:
        found["api_key"] = Secret(found["api_key"])
    found.update(overrides)
    for name in ("partner_id", "api_key"):
        if name not in found:
            raise BadConfiguration(f"{_FROM_ENV[name]} is not set: export it, or pass {name}=")
    return found
