from __future__ import annotations

import asyncio
import ipaddress
import itertools
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from generalist_serving.api import remote
from generalist_serving.api.errors import ApiError
from generalist_serving.api.media import load_image
from generalist_serving.api.settings import Settings

from .hostile_images import saved
from .live_server import live
from .test_media import load, refusal

# --- addresses ---


PUBLIC = "1.1.1.1 8.8.8.8 93.184.216.34 2606:4700::1111 64:ff9b::808:808 2002:808:808::1 ::ffff:8.8.8.8"
NOT_PUBLIC = """
    0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 169.254.169.254
    172.16.0.1 172.31.255.255 192.0.0.1 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1
    203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 168.63.129.16
    :: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::127.0.0.1 ::ffff:0:127.0.0.1
    64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::7f00:1 2002:7f00:1::1 2002:a00:1:: 2001::1 100::1
    fc00::1 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1 ff0e::1 2001:db8::1 3fff::1 5f00::1
    2606:4700::5efe:7f00:1 2606:4700::200:5efe:a00:1 2001:0:7f00:1::1 2606:4700::1111%eth0
"""
NO_PICTURES = "/to-inside /to-file /to-user /to-port /to-nowhere /page /missing /packed"
NEW_KEY = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=pictures.test"


@pytest.mark.parametrize("address", PUBLIC.split())
def test_public_addresses(address: str):
    assert remote.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_addresses_that_are_not_public(address: str):
    assert not remote.is_public(ipaddress.ip_address(address))


# --- other servers ---


class Site:
    """A server of images with pages that misbehave; remembers the headers it was asked with."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.port = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        self.asked.append(dict(request.headers))
        await (await self._answer(request.url.path))(scope, receive, send)

    async def _answer(self, path: str) -> Response:
        here = f"http://pictures.test:{self.port}"
        if path.startswith("/hops/"):
            left = int(path.removeprefix("/hops/"))
            response: Response = RedirectResponse(f"/hops/{left - 1}" if left else "/cat.png")
            response.set_cookie("session", "secret")
            return response
        if path == "/slow.png":
            await asyncio.sleep(5)
        return {
            "/to-inside": RedirectResponse(f"http://inside.test:{self.port}/cat.png"),
            "/to-number": RedirectResponse(f"http://2130706433:{self.port}/cat.png"),
            "/to-file": RedirectResponse("file:///etc/passwd"),
            "/to-user": RedirectResponse(f"http://user:word@pictures.test:{self.port}/cat.png"),
            "/to-port": RedirectResponse("http://pictures.test:22/"),
            "/to-itself": RedirectResponse(f"{here}/to-itself"),
            "/to-nowhere": RedirectResponse("http://[::1/"),
            "/large": Response(saved("PNG") + bytes(200_000)),
            "/page": Response("<html>", media_type="image/png"),
            "/missing": Response("no", 404),
            "/packed": Response(saved("PNG"), headers={"content-encoding": "gzip"}),
            "/mislabelled": Response(saved("PNG"), media_type="text/plain"),
        }.get(path, Response(saved("PNG", (5, 4)), media_type="image/png"))


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    site = Site()
    with live(site) as port:
        site.port = port
        yield site


@pytest.fixture
def site(running: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    names = {"pictures.test": ["127.0.0.1"], "inside.test": ["10.0.0.1"], "both.test": ["127.0.0.1", "10.0.0.1"]}
    system = remote.resolve
    monkeypatch.setattr(remote, "resolve", lambda host, port: names[host] if host in names else system(host, port))
    running.asked.clear()
    return running


def allowing(site: Site, **more: Any) -> Settings:
    """Settings to which 127.0.0.1 is a part of the internet, and nothing else of this machine."""
    fields = {"remote_networks": ("127.0.0.1/32",), "remote_ports": (site.port,), "remote_timeout_s": 2.0} | more
    return Settings(allow_remote_images=True, **fields)


def page(site: Site, path: str, name: str = "pictures.test") -> str:
    return f"http://{name}:{site.port}{path}"


def test_a_picture_of_another_server_is_read(site: Site):
    assert load(page(site, "/cat.png"), allowing(site)).size == (5, 4)
    assert load(page(site, "/mislabelled"), allowing(site)).size == (8, 8)


def test_a_server_is_asked_by_its_name_and_told_nothing(site: Site):
    load(page(site, "/hops/2"), allowing(site))
    assert len(site.asked) == 4
    for headers in site.asked:
        assert headers["host"] == f"pictures.test:{site.port}"
        assert not {"cookie", "authorization", "referer", "proxy-authorization"} & set(headers)


def test_three_redirects_are_followed_and_no_more(site: Site):
    assert load(page(site, "/hops/2"), allowing(site)).size == (5, 4)
    assert "redirected" in refusal(page(site, "/hops/3"), allowing(site))
    assert "redirected" in refusal(page(site, "/to-itself"), allowing(site))


@pytest.mark.parametrize("path", NO_PICTURES.split())
def test_what_is_no_picture_of_an_allowed_server_is_refused(site: Site, path: str):
    refusal(page(site, path), allowing(site))
    assert len(site.asked) == 1


def test_a_redirect_to_an_address_in_another_guise_is_refused(site: Site):
    assert "no public address" in refusal(page(site, "/to-number"), allowing(site, remote_networks=()))
    assert site.asked == []


def test_a_download_is_bounded_in_size_and_time(site: Site):
    assert "100000 bytes" in refusal(page(site, "/large"), allowing(site, remote_max_bytes=100_000))
    begun = time.monotonic()
    assert "too long" in refusal(page(site, "/slow.png"), allowing(site, remote_timeout_s=0.3))
    assert time.monotonic() - begun < 2


def test_a_name_with_any_private_address_is_refused(site: Site):
    assert "no public address" in refusal(page(site, "/cat.png", "both.test"), allowing(site))
    assert site.asked == []


def test_a_name_is_looked_up_once(site: Site, monkeypatch: pytest.MonkeyPatch):
    answers = itertools.chain([["127.0.0.1"]], itertools.repeat(["10.0.0.1"]))
    monkeypatch.setattr(remote, "resolve", lambda *_: next(answers))
    assert load(page(site, "/cat.png", "rebinding.test"), allowing(site)).size == (5, 4)
    assert "no public address" in refusal(page(site, "/cat.png", "rebinding.test"), allowing(site))


def test_a_name_that_changes_between_redirects_is_looked_at_again(site: Site, monkeypatch: pytest.MonkeyPatch):
    answers = itertools.chain([["127.0.0.1"]], itertools.repeat(["10.0.0.1"]))
    monkeypatch.setattr(remote, "resolve", lambda *_: next(answers))
    assert "no public address" in refusal(page(site, "/hops/1", "rebinding.test"), allowing(site))
    assert len(site.asked) == 1


def test_a_resolver_that_hangs_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(remote, "resolve", lambda *_: time.sleep(1) or ["127.0.0.1"])
    begun = time.monotonic()

    async def ask() -> None:
        with pytest.raises(ApiError, match="too long"):
            await load_image(page(site, "/cat.png", "slow.test"), allowing(site, remote_timeout_s=0.2))
        assert time.monotonic() - begun < 0.8

    asyncio.run(ask())


PRIVATE = [
    "http://127.0.0.1/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://0x7f.1/",
    "http://127.1/",
    "http://0/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[fe80::1]/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/",
    "http://10.0.0.1/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://name.invalid/",
    "https://127.0.0.1/",
    "http://①②⑦.0.0.1/",
    "http://127。0。0。1/",
]
MALFORMED = [
    "http://user@example.com/",
    "http://user:word@example.com/",
    "http://example.com@127.0.0.1/",
    "http://example.com:22/",
    "http://example.com:6379/",
    "http://example.com:0/",
    "http://example.com:99999/",
    "http://example.com:x/",
    "http:///a.png",
    "http://",
    "http:/127.0.0.1/",
    "http:127.0.0.1",
    "http://[::1",
    "http://[fe80::1%25eth0]/",
    "http://exa mple.com/",
    "http://example.com\r\nhost: inside/",
    "http://example.com\x00.inside/",
    "http://%31%32%37.0.0.1/",
    "http://" + "a" * 300 + ".com/",
    "http://example.com/" + "a" * 5000,
    "http://..../",
    "http://-/",
    "http://xn--/",
]


@pytest.mark.parametrize("url", PRIVATE + MALFORMED)
def test_urls_of_what_only_this_server_can_reach_are_refused(url: str, monkeypatch: pytest.MonkeyPatch):
    system = remote.resolve
    monkeypatch.setattr(remote, "resolve", lambda host, port: [] if host.endswith(".com") else system(host, port))
    monkeypatch.setattr(remote, "_get_from", lambda *_: pytest.fail("a connection was made"))
    begun = time.monotonic()
    refusal(url, Settings(allow_remote_images=True))
    assert time.monotonic() - begun < 1


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """(certificate, key) of ``pictures.test``, signed by itself."""
    key, made = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = ["-addext", "subjectAltName=DNS:pictures.test", "-keyout", str(key), "-out", str(made)]
    try:
        subprocess.run(NEW_KEY.split() + names, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("there is no openssl to make a certificate with")
    return made, key


def test_certificates_are_those_of_the_name(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
    made, key = certificate
    monkeypatch.setattr(remote, "resolve", lambda *_: ["127.0.0.1"])
    secure = Site()
    with live(secure, ssl_certfile=str(made), ssl_keyfile=str(key)) as secure.port:
        settings = allowing(secure)
        url = f"https://pictures.test:{secure.port}/cat.png"
        assert "cannot be reached" in refusal(url, settings)  # nobody we trust has signed it
        context = ssl.create_default_context(cafile=str(made))
        monkeypatch.setattr(remote, "_tls", lambda: context)
        assert load(url, settings).size == (5, 4)
        assert "cannot be reached" in refusal(url.replace("pictures", "others"), settings)
