"""Where a server answers."""

from __future__ import annotations

import errno
import ipaddress
import socket

from generalist.types import GeneralistError


def is_local(host: str) -> bool:
    """Whether only this machine can reach a server on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bind(host: str, port: int) -> socket.socket:
    """A socket on which nothing is answered yet, so that a taken port is known before the model is loaded."""
    if not 0 <= port <= 65535:
        raise GeneralistError(f"--port is {port}; use a number from 0 (any free one) to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise GeneralistError(f"--host {host!r} is no address of this machine; use 127.0.0.1 or 0.0.0.0") from error
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except (OSError, OverflowError) as error:
        listener.close()
        number = getattr(error, "errno", None)
        if number == errno.EADDRINUSE:
            raise GeneralistError(f"port {port} of {host} is in use; choose another one with --port") from error
        if number == errno.EACCES:
            raise GeneralistError(f"port {port} is not for ordinary users; choose one from 1024 with --port") from error
        raise GeneralistError(f"--host {host!r} is no address of this machine; use 127.0.0.1 or 0.0.0.0") from error
    return listener


def in_url(host: str) -> str:
    """``host`` as it stands in a URL."""
    return f"[{host}]" if ":" in host else host
