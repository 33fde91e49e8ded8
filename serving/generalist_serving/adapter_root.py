"""The one folder that a server loads adapters from: nothing outside of it is read, whatever a name or a link says."""

from __future__ import annotations

import os
from pathlib import Path

from generalist.adapter_folder import CONFIG, HEAD, WEIGHTS, has_head, read_config
from generalist.adapter_spec import SPEC, adapter_name
from generalist.types import GeneralistError

_WHOLE = ((CONFIG, WEIGHTS), (SPEC, HEAD))
"""The files of a LoRA, and of a visual head."""
_UNSAFE = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth", ".py", ".so"})
"""What can run code when it is read: its mere presence is reason enough to leave a folder alone."""


def adapter_folder(root: Path, given: str) -> Path:
    """The folder of an adapter by its path below ``root``; :class:`GeneralistError` for anything outside of it.

    Links are followed before it is looked at, those of its files as well.
    """
    real_root = Path(os.path.realpath(root))
    try:
        folder = Path(os.path.realpath(real_root / given))
        inside = folder.is_relative_to(real_root) and folder != real_root and folder.is_dir()
        files = {file.name: Path(os.path.realpath(file)) for file in folder.iterdir()} if inside else {}
    except (OSError, ValueError):  # a name that no file can have
        folder, files = real_root, {}
    # One answer to all of these: what lies elsewhere on this machine is nobody's business.
    whole = any(all(name in files and files[name].is_file() for name in names) for names in _WHOLE)
    if not whole or not all(file.is_relative_to(folder) for file in files.values()):
        raise GeneralistError(
            f"there is no adapter {given[:80]!r} in the server's folder of adapters; name a folder there that holds "
            f"{CONFIG} and {WEIGHTS}, or {HEAD}"
        )
    if unsafe := sorted(name for name in files if Path(name).suffix.lower() in _UNSAFE):
        raise GeneralistError(f"the adapter {given[:80]!r} holds {unsafe[0][:80]!r}; only safetensors are read")
    return folder


def find_adapters(root: Path | None, model: str) -> dict[str, Path]:
    """The folders of all adapters directly in ``root``, by the names that requests call them; none without a root.

    A folder with any of an adapter's files is one. Raises :class:`GeneralistError` for a root that is no folder, for
    an adapter that cannot be one, and for two of one name, ``model``'s own included.
    """
    if root is None:
        return {}
    try:
        entries = sorted(entry for entry in root.iterdir() if entry.is_dir())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise GeneralistError(f"--adapters {root}: cannot read this folder ({reason}); name one of adapters") from error
    found: dict[str, Path] = {}
    for entry in entries:
        if not any(os.path.lexists(entry / name) for name in (CONFIG, WEIGHTS, SPEC)):
            continue
        try:
            folder = adapter_folder(root, entry.name)
        except GeneralistError as error:
            raise GeneralistError(f"{entry}: {error}") from error
        name = adapter_name(folder)
        if not has_head(folder):  # which an engine without them refuses
            read_config(folder, "this server")
        if name == model or name in found:
            raise GeneralistError(f"{entry}: the name {name!r} is taken by {found.get(name, 'the model')}; change one")
        found[name] = folder
    return found
