"""A whole run: material, questions, learning, how far what was learnt is to be trusted, and then the index has it.

Until the end the index stays what it was. What an interrupted run goes on from is in the folder ``.learning`` of the
index, and is removed when the run is done.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from generalist.documents.bases import check_base, load_base
from generalist.documents.collection import Collection
from generalist.documents.dense import Encoder
from generalist.documents.evaluation import rankings_of
from generalist.documents.fusion import clearly_better, fit_weight, harmless
from generalist.documents.learning.contrast import Contrast
from generalist.documents.learning.fit import Fit, Objective, Schedule, seconds_a_step
from generalist.documents.learning.identifiers import Identifiers
from generalist.documents.learning.material import Material
from generalist.documents.learning.pairs import Pair, Pairs
from generalist.documents.learning.written import Writing, written_pairs
from generalist.documents.network import Network, learning_dtype, load_network, save_update, with_update
from generalist.documents.opening import Models
from generalist.documents.search import Searcher, SearchOptions
from generalist.documents.vectors import Vectors
from generalist.documents.words import Words
from generalist.evaluation.report import write_whole
from generalist.index.store import Index, Manifest, open_index
from generalist.index.writer import Writer, writing
from generalist.interruptions import Interrupted
from generalist.types import GeneralistError

Mode = Literal["generative", "dense"]
MODES: tuple[Mode, ...] = ("generative", "dense")
"""What can be learnt: the mode of search that it is for."""
WORK = ".learning"
_PLAN, _STATE, _WRITTEN = "plan.json", "state.pt", "written.jsonl"
_TRUSTED_BY = 32
"""Held-out questions of each kind by which it is seen how much a mode is to be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningOptions:
    """``minutes``: about how long each mode learns, by the speed of its first steps; ``steps`` instead, if given.

    ``learning_rate``: the highest. ``rank``: of the updates. ``writing``: who writes
    questions beside those made by rules.
    """

    modes: tuple[Mode, ...] = ("generative",)
    minutes: float = 30.0
    steps: int | None = None
    learning_rate: float = 5e-4
    rank: int = 16
    seed: int = 0
    device: str = "auto"
    writing: Writing | None = None

    def __post_init__(self) -> None:
        for mode in self.modes:
            if mode not in MODES:
                raise GeneralistError(f"nothing is learnt for mode {mode!r}; use one of {', '.join(MODES)}")
        numbers = {"--steps": self.steps, "--rank": self.rank, "--minutes": self.minutes,
                   "--learning-rate": self.learning_rate}  # fmt: skip
        for option, value in numbers.items():
            if value is not None and not 0 < value < float("inf"):
                raise GeneralistError(f"{option} is {value}; use a positive number")
        if self.seed < 0:
            raise GeneralistError(f"--seed is {self.seed}; use 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Who is told how a run goes: lines of text, and how far a stage is, with what is said of it."""

    tell: Callable[[str], object] = lambda line: None
    stage: Callable[[str, int, int, str], object] = lambda name, done, total, said: None


def train_index(
    folder: str | Path,
    options: LearningOptions,
    watcher: Watcher | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> Index:
    """Teach the base of an index its documents. Called again after an interruption, it goes on from there.

    Raises :class:`GeneralistError` for a mistake of the user's, and
    :class:`~generalist.interruptions.Interrupted`, with the state saved, once ``interrupted`` says so.
    """
    folder = Path(folder)
    open_index(folder)
    with writing(folder) as writer:
        work = folder / WORK
        _claim(work, _recipe(open_index(folder), options))
        for mode in dict.fromkeys(options.modes):
            done = work / f"{mode}.done"
            if not done.exists():
                _Run(open_index(folder), options, mode, work, watcher or Watcher(), interrupted).go(writer)
                done.touch()
        shutil.rmtree(work)
    return open_index(folder)


# --- where an interrupted run stands -------------------------------------------------------------------


def _recipe(index: Index, options: LearningOptions) -> dict[str, Any]:
    """What a run depends on."""
    writing = options.writing
    return {
        "modes": list(options.modes),
        "minutes": options.minutes,
        "steps": options.steps,
        "learning rate": options.learning_rate,
        "rank": options.rank,
        "seed": options.seed,
        "queries from": None if writing is None else [writing.url, writing.model, list(map(list, writing.examples))],
        "documents": [part.files["tokens.npy"][1] for part in index.manifest.segments],
    }


def _claim(work: Path, recipe: dict[str, Any]) -> None:
    """Begin, or go on; :class:`GeneralistError` where what was begun is another run."""
    path = work / _PLAN
    if not path.exists():
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir()
        write_whole(path, json.dumps(recipe))
        return
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [name for name in recipe if before.get(name) != recipe[name]]
    except (ValueError, AttributeError) as error:
        raise GeneralistError(f"{path} cannot be read; remove {work} to begin anew") from error
    if changed:
        raise GeneralistError(
            f"{work} holds an unfinished run with other {', '.join(changed)}; give the same options to go on, or "
            "remove that folder to begin anew"
        )


# --- one mode ------------------------------------------------------------------------------------------


class _Run:
    def __init__(
        self,
        index: Index,
        options: LearningOptions,
        mode: Mode,
        work: Path,
        watcher: Watcher,
        interrupted: Callable[[], bool],
    ) -> None:
        self.index, self.options, self.mode = index, options, mode
        self.work, self.watcher, self.interrupted = work, watcher, interrupted
        manifest = index.manifest
        if manifest.words is None:
            raise GeneralistError(f"{index.folder}: there is no index of words; build it anew")
        self.words = Words.open(index.folder / manifest.words.folder)

    def go(self, writer: Writer) -> None:
        """Learn, and commit what was learnt."""
        index, options = self.index, self.options
        base = load_base(index.base.name)
        check_base(base, index.base, index.folder)
        material = Material.of(Collection(index=index))
        pairs = Pairs(material, options.seed, self._written(material))
        dtype = learning_dtype(_device(options.device))
        network = with_update(load_network(base, options.device, dtype=dtype), options.rank, options.seed)
        objective: Objective = (
            Identifiers(network, pairs) if self.mode == "generative" else Contrast(network, pairs, self.words)
        )
        fit = Fit(network, objective, self._schedule(network, objective))
        self.watcher.tell(f"{self.mode}: {len(pairs):,} sentences and questions to learn from, {len(pairs.held)} to "
                          f"stop by, {fit.schedule.steps} steps")  # fmt: skip
        fit.run(self.work / f"{self.mode}-{_STATE}", interrupted=self.interrupted, notice=self._notice(fit))
        manifest = self._with_update(writer, network)
        del fit, network, objective
        manifest = self._trusted(replace(index, manifest=manifest), pairs)
        trust = manifest.trust if self.mode == "generative" else manifest.dense_trust
        self.watcher.tell(f"{self.mode}: counts {trust:g} beside words in hybrid searches")
        writer.commit(manifest)

    def _written(self, material: Material) -> list[Pair]:
        writing = self.options.writing
        if writing is None:
            return []

        def notice(done: int, total: int) -> None:
            self.watcher.stage("questions", done, total, "")
            self._check_interrupted("questions are written")

        kept = self.work / _WRITTEN
        return written_pairs(writing, material, self.words, kept, seed=self.options.seed, notice=notice)

    def _schedule(self, network: Network, objective: Objective) -> Schedule:
        """The number of steps that ``minutes`` stands for is measured once a run."""
        steps, path = self.options.steps, self.work / f"{self.mode}-steps.json"
        if steps is None:
            if not path.exists():
                planned = max(1, int(60 * self.options.minutes / seconds_a_step(network, objective)))
                write_whole(path, json.dumps(planned))
            steps = int(json.loads(path.read_text(encoding="utf-8")))
        return Schedule(steps=steps, learning_rate=self.options.learning_rate)

    def _notice(self, fit: Fit) -> Callable[[int, float], None]:
        def notice(step: int, loss: float) -> None:
            held = f", held out {-fit.history[-1][1]:.3f}" if fit.history else ""
            self.watcher.stage(self.mode, step, fit.schedule.steps, f"loss {loss:.3f}{held}")

        return notice

    def _with_update(self, writer: Writer, network: Network) -> Manifest:
        """What the index is to hold from now on."""
        manifest = self.index.manifest
        if self.mode == "generative":
            return replace(manifest, generator=writer.add("generator", lambda folder: save_update(network, folder)))
        part = writer.add("encoder", lambda folder: save_update(network, folder))
        # As whoever adds documents later reads them: in the precision of a search.
        encoder = Encoder.load(network.base, self.index.folder / part.folder, self.options.device)
        rows = []
        for number, one in enumerate(encoder.embed_documents(Collection(index=self.index).texts()), 1):
            rows.append(one)
            self.watcher.stage("vectors", number, self.index.documents, "")
            self._check_interrupted("vectors are made")
        return replace(manifest, encoder=part, vectors=writer.add("vectors", Vectors.of(rows).save))

    def _trusted(self, index: Index, pairs: Pairs) -> Manifest:
        """How much the mode is to count beside words in hybrid searches.

        As much as helps most where words are few, if that is clear, among what harms no question that has most of its
        words: made from the text, those are easier for words than anybody's.
        """
        models = Models(index, device=self.options.device)
        searcher = Searcher(Collection(index=index), models.write, models.encoder)
        manifest = index.manifest
        known = {"lexical": 1.0}
        known |= {} if manifest.vectors is None else {"dense": manifest.dense_trust}
        known |= {} if manifest.generator is None else {"generative": manifest.trust}
        which, weights = list(known).index(self.mode), list(known.values())

        def ways(asked: Sequence[Pair]) -> tuple[list[list[list[str]]], list[set[str]]]:
            texts = [pair.question for pair in asked[:_TRUSTED_BY]]
            found = []
            for mode in known:
                self._check_interrupted("it is seen how much to trust it")
                found.append(rankings_of(searcher, texts, SearchOptions(mode=mode)))
            material = pairs.material
            return found, [{material.ids[material.sentences[pair.sentence].document]} for pair in asked[:_TRUSTED_BY]]

        if not pairs.held:
            return index.manifest
        whole, right = ways(pairs.held)
        among = harmless(whole, weights, which, right)
        few, right = ways(pairs.short)
        weights[which] = fit_weight(few, weights, which, right, among)
        weight = weights[which] if clearly_better(few, weights, which, right) else 0.0
        if self.mode == "generative":
            return replace(index.manifest, trust=weight)
        return replace(index.manifest, dense_trust=weight)

    def _check_interrupted(self, where: str) -> None:
        if self.interrupted():
            raise Interrupted(f"interrupted while {where}; what is done is saved")


def _device(device: str) -> str:
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
