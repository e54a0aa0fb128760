"""What can be chosen about a sandbox: who the partner is, how long things take, how strict to be.

Where no public source says how the real service behaves, there is a setting instead of a guess; the defaults are the
reading of wire.md that a careful client must survive.
"""

import ipaddress
import re
import uuid
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from smile_async.timing.clock import Clock, SystemClock

from .v3.words import is_result

__all__ = ["Settings", "is_callable_url", "is_host"]

#: The partner id becomes part of object keys and reference ids (wire.md §4).
_PARTNER_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")


def is_host(text: str) -> bool:
    """Whether *text* is a host name or an IP address, and nothing besides."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return _HOST_NAME.fullmatch(text) is not None
    return True


def is_callable_url(url: str, *, insecure: bool = False) -> bool:
    """Whether callbacks can be sent to *url*: https anywhere, plain http on this machine only, or if *insecure*."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        return False
    near = insecure or parsed.host in ("localhost", "127.0.0.1", "::1")
    return bool(parsed.host) and (parsed.scheme == "https" or (parsed.scheme == "http" and near))


@dataclass(kw_only=True)
class Settings:
    """All knobs of a sandbox; times are seconds, sizes are bytes. They may be changed while it runs.

    partner_id, api_key: the one account; without a key a random one is made.
    latency: from the arrival of a zip to the first result. review: from a provisional result to the final one of a
    human reviewer; None = nobody reviews. window: how far a request's timestamp may lie from our clock, either way
    (unpublished; partners use 300). url_lifetime: of upload URLs and image links.
    complete_on_provisional: whether `job_complete` and `job_success` are already true for a provisional result
    (wire.md §6: unknown). not_found_status: HTTP status of code 2304, of which only "not 2xx" is known.
    without_status: names of products of one request that /job_status does not know; run_again: those that look up once
    more when a job_id is used again, instead of refusing it with 2215. recorded_after: from such a request until it is
    on record: so long /job_status says 2304, and a repetition is another lookup. Of all three nothing is published.
    demand_fields: whether what the catalogue says an id type needs besides the number must be there (2413).
    max_zip: largest body storage takes. max_image: largest image inside a zip. decode: whether pictures are decoded;
    one that can not be comes to 0001. image_memory: images are kept up to this many bytes, oldest dropped first, unless
    there is a state directory.
    state: directory that survives restarts, or None for memory only. clock: what time it is.
    callback_url: the portal's default callback, "" = none. callback_retries: further attempts after one that was not
    answered 2xx. callback_interval: wait before the first of these, doubled each time. callback_timeout: per attempt.
    callback_ca_file: PEM file of the authority that callback receivers are checked against, None = the usual ones.
    insecure_callbacks: whether callbacks go to plain http on other machines too, as between containers.
    console: whether the API's port shows the console at `/`. public_host: the name or address, without a port, by which
    other machines reach the sandbox: it stands in the API's and in upload URLs and in the certificate, and console and
    control API answer to it (with the access token); None = loopback names and the host that is served only.
    token: the access token, which others than this machine's user must show; "" = a random one.
    cert_file, key_file: PEM files of a certificate chain and its key to serve with; None = made for this run, by an
    authority of the sandbox's own.
    scripted_only: whether a job is refused (code 9999, not one of Smile ID's) unless a script for its user or a
    sandbox_result says what it comes to; for tests, where an approval nobody asked for would prove nothing.

    Of V3: lenient: whether it takes the authentication of somebody who was never enrolled, as the real sandbox does.
    strangers: what comes of people who are none of the test identities, where nothing else says what their jobs come
    to: "refuse" (400, as the real sandbox was seen to do) or a result, such as "clear" or "block". token_lifetime: of
    a token. max_request: largest request. empty_wallet: whether all submissions are 402. forbidden: names of products
    that the account may not use, 403. callback_hosts: the only hosts that callbacks may go to, None = any.
    demand_callback: whether a job needs a callback URL, of its own or the portal's. submissions_per_number: jobs about
    one id number before it is blocked (429), None = no bound. sync_patience: from which wait on the products that
    answer at once are 408. webhook_copies: how often each webhook is sent. webhook_reordered: whether `processing`
    arrives after the result. webhook_timeout: per attempt. webhook_zeros: whether webhooks are signed for the partner
    id with its zeros.
    """

    partner_id: str = "001"
    api_key: str = field(default="", repr=False)
    latency: float = 0.0
    review: float | None = None
    window: float = 300.0
    url_lifetime: float = 900.0
    complete_on_provisional: bool = False
    not_found_status: int = 404
    without_status: Collection[str] = ()
    run_again: Collection[str] = ()
    recorded_after: float = 0.0
    demand_fields: bool = False
    max_zip: int = 50_000_000
    max_image: int = 20_000_000
    decode: bool = True
    image_memory: int = 64_000_000
    state: Path | str | None = None
    clock: Clock = field(default_factory=SystemClock, repr=False)
    callback_url: str = ""
    callback_retries: int = 3
    callback_interval: float = 2.0
    callback_timeout: float = 30.0
    callback_ca_file: Path | str | None = None
    insecure_callbacks: bool = False
    console: bool = True
    public_host: str | None = None
    token: str = field(default="", repr=False)
    cert_file: Path | str | None = None
    key_file: Path | str | None = None
    scripted_only: bool = False
    lenient: bool = False
    strangers: str = "refuse"
    token_lifetime: float = 900.0
    max_request: int = 4_500_000
    empty_wallet: bool = False
    forbidden: Collection[str] = ()
    callback_hosts: Collection[str] | None = None
    demand_callback: bool = False
    submissions_per_number: int | None = None
    sync_patience: float = 25.0
    webhook_copies: int = 1
    webhook_reordered: bool = False
    webhook_timeout: float = 35.0
    webhook_zeros: bool = False

    def __post_init__(self) -> None:
        if not _PARTNER_ID.fullmatch(self.partner_id):
            raise ValueError(f"partner_id {self.partner_id!r} must be 1-32 letters, digits, '-' or '_'")
        for name in ("latency", "window", "url_lifetime", "callback_interval", "recorded_after"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is a number of seconds and cannot be negative")
        if self.review is not None and not self.review >= 0:
            raise ValueError("review is a number of seconds and cannot be negative; None means that nobody reviews")
        if not (self.strangers == "refuse" or is_result(self.strangers)):
            raise ValueError(f"strangers is 'refuse', or a result such as 'clear' and 'block', not {self.strangers!r}")
        if self.public_host and ("_" in self.public_host or not is_host(self.public_host)):
            # What has an underscore is a name to DNS, but none to a certificate (RFC 5280, 4.2.1.6).
            what = "a host name or address, without scheme, port or underscore"
            raise ValueError(f"public_host {self.public_host!r} must be {what}")
        if self.token and not (self.token.isascii() and self.token.isprintable() and " " not in self.token):
            raise ValueError("token must be printable ASCII without blanks: it travels in a header")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file go together: a certificate chain and its key, both PEM")

    def calls(self, url: str) -> bool:
        """Whether callbacks are sent to *url*."""
        return is_callable_url(url, insecure=self.insecure_callbacks)

    def ensure_key(self) -> None:
        """Make a random API key where none was given."""
        self.api_key = self.api_key or str(uuid.uuid4())
