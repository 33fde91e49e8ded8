"""How likely a drawing is right, from how likely the model found its tokens.

The probability of the very bin that was written says little as it stands: neighbouring bins are as good, and were
learnt as such. So a checkpoint may hold a logistic model a kind of "is this drawing right", fitted on drawings whose
truth is known: Platt scaling (Platt 1999, "Probabilistic outputs for support vector machines") over a few
log-probabilities instead of one margin. Without it a score is the plain geometric mean of the probabilities.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from generalist.types import GeneralistError, Kind, Phrase, Ref, Reply

FILE = "scores.json"
SCORED: tuple[Kind, ...] = ("box", "point", "mask")
"""What can be calibrated: drawings that are right or wrong."""

_VERSION = 1
_PLACES: Mapping[Kind, int] = {"box": 4, "point": 2, "mask": 4}
"""How many codes of a payload say where it is; those behind them say what it looks like."""
_LEAST = -20.0
"""Log-probabilities below count as this: a weighted sum needs a number, and e**-20 is as good as never."""
_MOST = 1e3
"""No fitted number comes near this: what does is of a damaged file."""
_LONGEST = 100_000
"""Bytes of a file that is read; one that is written has some hundreds."""
_SHOWN = 120
"""Characters of a file's content that a message repeats."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What speaks for a drawing: natural log-probabilities from -20 to 0, but for ``many``.

    ``phrase``, ``place`` and ``codes``: the mean over the tokens of the words, of the location bins, of the codes
    behind these; 0 where there are none. ``doubt``: the lowest of all that was said since the drawing before it, or
    since the reply began: a wrong "there is one", or one thing too many, shows there. ``many``: the logarithm of the
    number of drawings in the reply, as what is one of a long list is right less often.
    """

    phrase: float = 0.0
    place: float = 0.0
    codes: float = 0.0
    doubt: float = 0.0
    many: float = 0.0


FEATURES = tuple(one.name for one in fields(Evidence))
FREE = frozenset({"many"})
"""The features whose weight may have either sign; how likely tokens were may only speak for a drawing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logistic:
    """P(right) = 1 / (1 + exp(-(``bias`` + sum of ``weights`` * features))).

    ``weights`` has an entry for each of ``FEATURES``, 0 or more unless it is one of ``FREE``, so that a more probable
    token never lowers a score. Raises :class:`GeneralistError` for anything else.
    """

    bias: float
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        if self.weights.keys() != set(FEATURES):
            raise GeneralistError(f"weights are of {_shown(sorted(self.weights))}; use {_shown(FEATURES)}")
        for name, value in {"bias": self.bias, **self.weights}.items():
            least = -_MOST if name == "bias" or name in FREE else 0.0
            if not _is_number(value) or not least <= value <= _MOST:
                raise GeneralistError(f"{name} is {_shown(value)}; use a number from {least:g} to {_MOST:g}")

    def probability(self, found: Evidence) -> float:
        """0-1; the values of ``found`` are finite."""
        total = self.bias + math.fsum(self.weights[name] * getattr(found, name) for name in FEATURES)
        # Either way round, so that exp never overflows.
        return 1 / (1 + math.exp(-total)) if total >= 0 else math.exp(total) / (1 + math.exp(total))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """How a checkpoint's drawings are scored: ``kinds`` holds the fitted models, the rest is scored plainly."""

    kinds: Mapping[Kind, Logistic] = field(default_factory=dict)

    def of(self, reply: Reply, logprobs: Sequence[float]) -> list[tuple[float, ...]]:
        """The scores, 0-1, of the drawings of every phrase of ``reply``, in order.

        ``logprobs``: natural logarithms, one for every token of the reply. None at all, none to score by: then every
        tuple is empty.
        """
        if not logprobs:
            return [() for _ in reply.phrases]
        found = zip(reply.phrases, evidence(reply, logprobs), strict=True)
        return [self._of_phrase(phrase, of_phrase, logprobs) for phrase, of_phrase in found]

    def _of_phrase(self, phrase: Phrase, found: Sequence[Evidence], logprobs: Sequence[float]) -> tuple[float, ...]:
        fitted = self.kinds.get(phrase.unit.kind) if phrase.unit else None
        if fitted is not None:
            return tuple(fitted.probability(one) for one in found)
        certain = _geometric_mean(logprobs, phrase.tokens)
        return tuple(certain * _geometric_mean(logprobs, ref.tokens) for ref in refs_of(phrase))

    def save(self, folder: Path) -> None:
        """Write ``scores.json`` into a checkpoint folder; an interruption leaves the former file whole.

        Raises :class:`GeneralistError` when it cannot be written.
        """
        path = folder / FILE
        content = {"version": _VERSION, "kinds": {kind: asdict(fitted) for kind, fitted in self.kinds.items()}}
        beside = path.with_name(f".{FILE}.{os.getpid()}")
        try:
            beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            beside.replace(path)
        except OSError as error:
            raise GeneralistError(f"{path}: cannot be written ({error.strerror}); give a checkpoint folder") from error
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)

    @classmethod
    def load(cls, folder: Path) -> Scores:
        """Those of a checkpoint folder; plain ones where it has no ``scores.json``.

        Raises :class:`GeneralistError` when the file is not of the form that :meth:`save` writes.
        """
        path = folder / FILE
        if not os.path.lexists(path):
            return cls()
        try:
            return cls(kinds=_read(path))
        except (GeneralistError, OSError, ValueError, RecursionError) as error:
            reason = " ".join(str(error).split())[: 3 * _SHOWN]
            raise GeneralistError(f"{path}: not readable as scores ({reason}); restore or remove the file") from error


# --- what speaks for a drawing -----------------------------------------------------------------------------


def refs_of(phrase: Phrase) -> tuple[Ref, ...]:
    """What is drawn for a phrase; nothing for one without a unit."""
    return phrase.unit.refs if phrase.unit else ()


def evidence(reply: Reply, logprobs: Sequence[float]) -> list[list[Evidence]]:
    """What speaks for the drawings of every phrase of ``reply``, in order; see :meth:`Scores.of`."""
    limited = [_limited(value) for value in logprobs]
    many = math.log(max(sum(len(refs_of(phrase)) for phrase in reply.phrases), 1))
    found: list[list[Evidence]] = []
    drawn_until = 0
    for phrase in reply.phrases:
        places = _PLACES.get(phrase.unit.kind, 0) if phrase.unit else 0
        found.append([])
        for ref in refs_of(phrase):
            start, stop = ref.tokens
            one = Evidence(
                phrase=_mean(limited[slice(*phrase.tokens)]),
                place=_mean(limited[start : min(start + places, stop)]),
                codes=_mean(limited[start + places : stop]),
                doubt=min(limited[drawn_until:start], default=0.0),
                many=many,
            )
            found[-1].append(one)
            drawn_until = stop
    return found


def _limited(logprob: float) -> float:
    """Within -20 and 0; what is no number is -20."""
    return min(logprob, 0.0) if logprob > _LEAST else _LEAST


def _mean(logprobs: Sequence[float]) -> float:
    return math.fsum(logprobs) / len(logprobs) if logprobs else 0.0


def _geometric_mean(logprobs: Sequence[float], tokens: tuple[int, int]) -> float:
    """Geometric mean of the probabilities of tokens [start, stop); 1 when there are none, 0 if one is no number."""
    chosen = logprobs[tokens[0] : tokens[1]]
    mean = math.fsum(chosen) / len(chosen) if chosen else 0.0
    return math.exp(min(mean, 0.0)) if not math.isnan(mean) else 0.0


# --- reading -----------------------------------------------------------------------------------------------


def _read(path: Path) -> dict[Kind, Logistic]:
    with path.open("rb") as file:
        data = file.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise GeneralistError(f"longer than {_LONGEST} bytes")
    content = json.loads(data.decode("utf-8"))
    _check_keys("it", content, {"version", "kinds"})
    if content["version"] != _VERSION or isinstance(content["version"], bool):
        raise GeneralistError(f"version is {_shown(content['version'])}, not {_VERSION}")
    _check_keys("kinds", content["kinds"], set(SCORED), all_of_them=False)
    return {kind: _logistic(kind, content["kinds"][kind]) for kind in SCORED if kind in content["kinds"]}


def _logistic(kind: Kind, content: object) -> Logistic:
    fitted = _check_keys(kind, content, {"bias", "weights"})
    _check_keys(f"weights of {kind}", fitted["weights"], set(FEATURES))
    try:
        return Logistic(bias=fitted["bias"], weights=fitted["weights"])
    except GeneralistError as error:
        raise GeneralistError(f"{kind}: {error}") from error


def _check_keys(what: str, content: object, keys: set[str], *, all_of_them: bool = True) -> dict[str, Any]:
    """``content``, an object with these ``keys``: all, or some."""
    if not isinstance(content, dict):
        raise GeneralistError(f"{what} is {_shown(content)}, not an object")
    if not content.keys() <= keys or (all_of_them and content.keys() != keys):
        raise GeneralistError(f"{what} has {_shown(sorted(content))}, not {_shown(sorted(keys))}")
    return content


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: object) -> str:
    """``value`` as JSON, cut when it is long."""
    written = json.dumps(value)
    return written if len(written) <= _SHOWN else f"{written[:_SHOWN]}..."
