"""Pictures to begin with: those of the repository's examples, where the demo runs from a copy of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[3] / "datasets" / "samples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A picture and something to ask about it."""

    path: Path
    words: str
    task: str = "chat"


_ALL = (
    Sample(path=_FOLDER / "orchard.png", words="Segment the red apple."),
    Sample(path=_FOLDER / "desk.png", words="Where is the alarm clock?"),
    Sample(path=_FOLDER / "street.png", words="Estimate the depth.", task="depth"),
    Sample(path=_FOLDER / "picnic.png", words="Point to the basket."),
)


def samples() -> dict[str, Sample]:
    """The samples that are there, by name; none where the package was installed without its repository."""
    return {one.path.stem: one for one in _ALL if one.path.is_file()}
