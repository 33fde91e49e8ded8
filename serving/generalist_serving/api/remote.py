"""Images of other servers, fetched so that nobody can reach what only this server can reach.

The name in a URL is resolved once, every address must be a public one, and the connection goes to the address
that was looked at, so an answer that changes between the look and the use changes nothing. A redirect is a new
URL, with all of this again. Nothing of the caller's or of this server's is sent: no cookies, keys or proxies.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeAlias

import httpx

from generalist_serving.api.errors import ApiError
from generalist_serving.api.settings import Settings

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_REDIRECTS = frozenset([301, 302, 303, 307, 308])
_HEADERS = {"accept": "image/*", "accept-encoding": "identity", "user-agent": "generalist"}
_CONNECT_S = 3.0
_MAX_ADDRESSES = 3
_MAX_URL = 2048

# The system's resolver cannot be stopped. Slow names hold up one another, and nothing else.
_RESOLVERS = ThreadPoolExecutor(8, thread_name_prefix="resolve")

_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")
_CLOSED = [
    ipaddress.ip_network(text)
    for text in (
        "168.63.129.16/32",  # Azure's own services, at an address that is public by its number
        "192.88.99.0/24",
        "2001::/23",
        "2001:db8::/32",
        "3fff::/20",
    )
]


async def fetch(url: str, settings: Settings) -> bytes:
    """The bytes of a public http(s) URL; :class:`ApiError` 400 for anything else. Says nothing of what they hold."""
    try:
        async with asyncio.timeout(settings.remote_timeout_s):
            return await _fetch(_parse(url, settings), settings)
    except TimeoutError as error:
        raise _refused("it took too long") from error
    except (httpx.InvalidURL, ValueError) as error:  # names that are no names fail in many ways
        raise _refused("the URL cannot be read") from error
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise _refused("its server cannot be reached or does not speak HTTP") from error


def is_public(address: Address) -> bool:
    """Whether an address is one of the open internet, and so are the addresses of version 4 inside it."""
    if any(address.version == closed.version and address in closed for closed in _CLOSED):
        return False
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    if address in _NAT64:
        return is_public(ipaddress.IPv4Address(address.packed[-4:]))
    if address.ipv4_mapped is not None:
        return is_public(address.ipv4_mapped)
    inside = [ipaddress.IPv4Address(address.packed[-4:])] if address.packed[8:12] in _ISATAP else []
    inside += [address.sixtofour] if address.sixtofour is not None else []
    # 6to4 addresses are not global by themselves.
    usable = address in _UNICAST and (address.is_global or address.sixtofour is not None)
    return usable and address.scope_id is None and all(is_public(one) for one in inside)


async def _fetch(url: httpx.URL, settings: Settings) -> bytes:
    for _ in range(settings.remote_max_redirects + 1):
        body = await _get(url, settings)
        if isinstance(body, bytes):
            return body
        url = body
    raise _refused(f"it is redirected more than {settings.remote_max_redirects} times")


async def _get(url: httpx.URL, settings: Settings) -> bytes | httpx.URL:
    """What lies there, or where it is said to lie."""
    addresses = await _addresses(url, settings)
    for address in addresses[:_MAX_ADDRESSES]:
        try:
            return await _get_from(address, url, settings)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            continue
    raise _refused("its server cannot be reached")


async def _get_from(address: Address, url: httpx.URL, settings: Settings) -> bytes | httpx.URL:
    pinned = url.copy_with(host=f"[{address}]" if address.version == 6 else str(address))
    timeout = httpx.Timeout(settings.remote_timeout_s, connect=min(_CONNECT_S, settings.remote_timeout_s))
    client = httpx.AsyncClient(verify=_tls(), trust_env=False, follow_redirects=False, timeout=timeout)
    # The certificate is that of the name, not of the address.
    request = client.build_request(
        "GET", pinned, headers=_HEADERS | {"host": url.netloc.decode("ascii")}, extensions={"sni_hostname": _name(url)}
    )
    async with client:
        response = await client.send(request, stream=True)
        try:
            if response.status_code in _REDIRECTS and "location" in response.headers:
                return _parse(str(url.join(response.headers["location"])), settings)
            return await _read(response, settings)
        finally:
            await response.aclose()


async def _read(response: httpx.Response, settings: Settings) -> bytes:
    if response.status_code != 200:
        raise _refused(f"its server answered {response.status_code}")
    if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise _refused("its server sends it compressed")
    parts, size = [], 0
    async for part in response.aiter_raw(65536):
        size += len(part)
        if size > settings.remote_max_bytes:
            raise _refused(f"it has more than {settings.remote_max_bytes} bytes")
        parts.append(part)
    return b"".join(parts)


def _parse(text: str, settings: Settings) -> httpx.URL:
    """One parser for what is looked at and what is connected to."""
    if len(text) > _MAX_URL:
        raise _refused(f"the URL is longer than {_MAX_URL} characters")
    url = httpx.URL(text)
    if url.scheme not in ("http", "https") or not url.raw_host:
        raise _refused("the URL does not begin with http:// or https:// and a name")
    if url.userinfo:
        raise _refused("the URL holds a user name or a password")
    if _port(url) not in settings.remote_ports:
        raise _refused(f"port {_port(url)} is not one of {', '.join(map(str, settings.remote_ports))}")
    return url


def _name(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii")  # as it is looked up; ``url.host`` has it in letters


def _port(url: httpx.URL) -> int:
    return {"https": 443, "http": 80}[url.scheme] if url.port is None else url.port


async def _addresses(url: httpx.URL, settings: Settings) -> Sequence[Address]:
    loop = asyncio.get_running_loop()
    try:
        found = await loop.run_in_executor(_RESOLVERS, resolve, _name(url), _port(url))
    except (OSError, UnicodeError):
        found = []
    addresses = list(dict.fromkeys(ipaddress.ip_address(text) for text in found))
    open_to = [ipaddress.ip_network(text) for text in settings.remote_networks]
    if not addresses or not all(is_public(a) or any(_is_in(a, n) for n in open_to) for a in addresses):
        # Which names exist in this network is nobody's business either, so both cases read the same.
        raise _refused("its name has no public address")
    return addresses


def _is_in(address: Address, network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    return address.version == network.version and address in network


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a name, by the system's resolver, which also reads numbers written in any way."""
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return httpx.create_ssl_context(trust_env=False)


def _refused(why: str) -> ApiError:
    return ApiError(400, f"the image's URL was not fetched: {why}; send the image as a data URL", code="image_url")
