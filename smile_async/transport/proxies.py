"""Which proxy the environment names for which host, for those who ask for it with `trust_env`.

Each host is judged for itself: NO_PROXY may name the storage and not the API, or the other way round. What is broken
in the variables is told when the session is made, by their names: their values may hold a password.
"""

import os
from collections.abc import Callable
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from smile_async.errors import BadConfiguration
from smile_async.urls import host_of

__all__ = ["ProxyFor", "environment_proxies"]

#: Tells the proxy's URL for a scheme and a host, None for straight away.
ProxyFor = Callable[[str, str], str | None]


def environment_proxies() -> ProxyFor:
    """The proxies that HTTPS_PROXY, ALL_PROXY and NO_PROXY (or the system) name now. Raises BadConfiguration."""
    known = {scheme: url for scheme, url in getproxies().items() if scheme in ("https", "http", "all")}
    for scheme, url in known.items():
        if not host_of(url) or urlsplit(url).scheme not in ("http", "https"):
            raise BadConfiguration(
                f"{_variable(scheme, url)} names no proxy that can be used: give http://host:port (SOCKS is not spoken)"
            )
    return lambda scheme, host: None if proxy_bypass(host) else known.get(scheme, known.get("all"))


def _variable(scheme: str, url: str) -> str:
    names = (name for name, value in os.environ.items() if name.lower() == f"{scheme}_proxy" and value == url)
    return next(names, f"the system's proxy for {scheme}")
