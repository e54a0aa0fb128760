"""Which HTTP engine a session uses."""

from types import ModuleType
from typing import Any

from smile_async.errors import BadConfiguration
from smile_async.transport.engine import Engine, EngineFactory
from smile_async.transport.httpcore_engine import HttpcoreEngine
from smile_async.transport.proxies import environment_proxies
from smile_async.transport.pyreqwest_engine import PyreqwestEngine, pins
from smile_async.transport.tls import check_variables, tls_context
from smile_async.urls import host_of

__all__ = ["engine_factory"]

_NO_PIN = (
    "http='pyreqwest' would trust the system's CAs beside ca_file: use 'httpx', or on Linux let SSL_CERT_FILE name that"
    " file and unset SSL_CERT_DIR"
)
_UNKNOWN = "http is {!r}: give 'httpx', 'httpx2', 'pyreqwest' or an httpx.AsyncBaseTransport"


def engine_factory(
    http: Any, *, ca_file: str | None = None, trust_env: bool = False, base_url: str = "https://"
) -> tuple[EngineFactory, bool]:
    """How to make engines of the kind *http*, and whether the API leg may have several (shards).

    "httpx", "httpx2" or "pyreqwest"; an `httpx.AsyncBaseTransport`, which serves both legs as it is and stays open; or
    a callable that makes one for each shard. Raises BadConfiguration.
    """
    if not isinstance(http, str):
        return _users_own(http, told=bool(ca_file or trust_env))
    proxies = environment_proxies() if trust_env else None

    if not ca_file:
        check_variables()

    def on_httpcore(library: ModuleType, http2: bool) -> Engine:
        return HttpcoreEngine(library, tls_context(ca_file, http2=http2), http2=http2, proxies=proxies)

    if http == "httpx":
        return (lambda http2: on_httpcore(_imported("httpcore", "httpx"), http2)), True
    if http == "httpx2":
        _imported("httpx2", "httpx2")
        return (lambda http2: on_httpcore(_imported("httpcore2", "httpx2"), http2)), True
    if http == "pyreqwest":
        _imported("pyreqwest", "rust")
        if ca_file and not pins(ca_file, host_of(base_url)):
            raise BadConfiguration(_NO_PIN)
        return (lambda http2: PyreqwestEngine(ca_file, http2=http2, proxies=proxies)), True
    raise BadConfiguration(_UNKNOWN.format(http))


def _users_own(http: Any, *, told: bool) -> tuple[EngineFactory, bool]:
    import httpx  # noqa: PLC0415 - a tenth of an import, for nothing where an engine is named

    from smile_async.transport.httpx_engine import HttpxEngine  # noqa: PLC0415

    if not callable(http) and not isinstance(http, httpx.AsyncBaseTransport):
        raise BadConfiguration(_UNKNOWN.format(http))
    if told:
        raise BadConfiguration("ca_file (SMILE_CA_FILE) or trust_env is for our own engines: give it to your transport")
    if isinstance(http, httpx.AsyncBaseTransport):
        own = HttpxEngine(http, owned=False)
        return (lambda _http2: own), False
    return (lambda _http2: HttpxEngine(http())), True


def _imported(name: str, extra: str) -> ModuleType:
    try:
        return __import__(name)
    except ImportError:
        raise BadConfiguration(f"http={name!r} needs an extra: pip install 'smile-async[{extra}]'") from None
