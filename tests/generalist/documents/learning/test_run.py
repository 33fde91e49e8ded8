"""Learning an index: what it has afterwards, and what is left of one that was interrupted or killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from generalist.documents import SearchOptions, add_documents, build_index, delete_documents, open_searcher
from generalist.documents.asking import Question
from generalist.documents.learning import LearningOptions, Watcher, train_index
from generalist.documents.learning import run as module
from generalist.documents.vectors import Vectors
from generalist.index import open_index
from generalist.index.store import check_index
from generalist.index.writer import writing
from generalist.interruptions import Interrupted
from generalist.types import GeneralistError
from generalist_datasets.records import Document

from .conftest import NOTES

ROOT = Path(__file__).resolve().parents[4]
QUICK = LearningOptions(modes=("dense", "generative"), steps=6, learning_rate=1e-2, rank=2, device="cpu")


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small batches, and few questions to trust by."""
    monkeypatch.setattr(module, "_TRUSTED_BY", 2)
    for objective in (module.Identifiers, module.Contrast):
        monkeypatch.setattr(objective.__init__, "__defaults__", (2,))


def learnt(folder: Path) -> dict[str, np.ndarray]:
    """Every array of what an index has learnt."""
    manifest = open_index(folder).manifest
    found: dict[str, np.ndarray] = {}
    for kind, part in (("generator", manifest.generator), ("encoder", manifest.encoder)):
        if part is not None:
            arrays = load_file(folder / part.folder / "adapter_model.safetensors")
            found |= {f"{kind}.{name}": array for name, array in arrays.items()}
    if manifest.vectors is not None:
        found["vectors"] = np.asarray(Vectors.open(folder / manifest.vectors.folder).vectors)
    return found


def best(folder: Path, text: str, mode: str = "dense") -> str:
    (hits,) = open_searcher(folder, device="cpu").search([Question(text=text)], SearchOptions(mode=mode))
    return hits[0].document_id


def test_an_index_that_has_learnt_searches_in_every_mode(own_notes: Path) -> None:
    said: list[str] = []
    stages: list[tuple[str, int, int]] = []
    watcher = Watcher(tell=said.append, stage=lambda name, done, total, what: stages.append((name, done, total)))
    index = train_index(own_notes, QUICK, watcher)
    check_index(own_notes)
    assert not (own_notes / ".learning").exists()
    assert index.manifest.generator and index.manifest.encoder and index.manifest.vectors
    assert index.manifest.trust >= 0 and index.manifest.dense_trust >= 0
    assert ("dense", 1, 6) in stages and ("vectors", 6, 6) in stages and ("generative", 1, 6) in stages
    assert any("stop by, 6 steps" in line for line in said)
    searcher = open_searcher(own_notes, device="cpu")
    for mode in ("dense", "generative", "hybrid"):
        (hits,) = searcher.search([Question(text="Who came to Lima?")], SearchOptions(mode=mode, most=3))
        assert len(hits) == 3
    # What a document says is nearest to itself.
    assert best(own_notes, f"{NOTES[4].title} {' '.join(NOTES[4].text.split())}") == NOTES[4].id


def test_a_learnt_generator_writes_and_another_model_does_not_use_it(own_notes: Path, llama: Path) -> None:
    from generalist.documents.opening import Models

    def first(model: str | None) -> np.ndarray:
        generator = Models(open_index(own_notes), model, "cpu").generator()
        return generator.read([Question(text="Who came to Lima?")])[1]

    plain = first(None)
    train_index(own_notes, replace(QUICK, modes=("generative",)))
    assert np.abs(first(None) - plain).max() > 1e-3
    other = Path(str(llama) + "/../" + llama.name)
    assert first(str(other)) == pytest.approx(first(None))  # the same folder by another name
    copied = own_notes.parent / "copied"
    copied.mkdir()
    for file in llama.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    assert first(str(copied)) == pytest.approx(plain)


def test_vectors_follow_documents_that_come_and_go(own_notes: Path) -> None:
    train_index(own_notes, replace(QUICK, modes=("dense",)))
    before = learnt(own_notes)["vectors"]
    new = Document(id="ape.md", title="The ape", text="The ape came to Rome in 1990.")
    add_documents(own_notes, [new, replace(NOTES[1], text="The hen flew away.")])
    delete_documents(own_notes, [NOTES[0].id])
    index = check_index(own_notes)
    assert index.manifest.vectors is not None
    vectors = Vectors.open(own_notes / index.manifest.vectors.folder)
    assert [id for segment in index.segments for id in segment.ids] == [
        *(note.id for note in NOTES[2:]), "ape.md", "hen.md",
    ]  # fmt: skip
    assert vectors.documents == 6
    assert vectors.rows_of(0) == pytest.approx(before[2:3].astype(np.float32))
    assert best(own_notes, f"{new.title} {new.text}") == "ape.md"
    assert best(own_notes, "The hen The hen flew away.") == "hen.md"


def test_an_interrupted_run_goes_on_to_the_same_result(own_notes: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in own_notes.rglob("*"):
        if file.is_file():
            (other / file.relative_to(own_notes)).parent.mkdir(exist_ok=True)
            (other / file.relative_to(own_notes)).write_bytes(file.read_bytes())
    train_index(other, QUICK)
    before = (own_notes / "index.json").read_bytes()
    ends = [after(calls) for calls in (4, 3, 8, 4)]  # within learning, and within what comes behind it
    for number, interrupted in enumerate(ends):
        with pytest.raises(Interrupted, match="what is done is saved"):
            train_index(own_notes, QUICK, interrupted=interrupted)
        if number == 0:
            assert (own_notes / "index.json").read_bytes() == before
        check_index(own_notes)
    train_index(own_notes, QUICK)
    assert not (own_notes / ".learning").exists()
    wanted, found = learnt(other), learnt(own_notes)
    assert wanted.keys() == found.keys()
    assert all(np.array_equal(wanted[name], found[name]) for name in wanted)


def after(calls: int) -> Callable[[], bool]:
    """Asks for the end when it is called so often."""
    counted = iter(range(calls))
    return lambda: next(counted, None) is None


def test_minutes_become_steps_once(own_notes: Path) -> None:
    options = replace(QUICK, steps=None, minutes=0.002, modes=("generative",))
    with pytest.raises(Interrupted):
        train_index(own_notes, options, interrupted=lambda: True)
    planned = json.loads((own_notes / ".learning" / "generative-steps.json").read_text())
    said: list[str] = []
    train_index(own_notes, options, Watcher(tell=said.append))
    assert planned >= 1 and any(f"stop by, {planned} steps" in line for line in said)


def test_an_unfinished_run_is_not_mixed_with_another(own_notes: Path) -> None:
    with pytest.raises(Interrupted):
        train_index(own_notes, QUICK, interrupted=lambda: True)
    with pytest.raises(GeneralistError, match="unfinished run with other rank, seed; give the same options"):
        train_index(own_notes, replace(QUICK, rank=3, seed=1))
    add_documents(own_notes, [Document(id="new", text="Something else came.")])
    with pytest.raises(GeneralistError, match="unfinished run with other documents"):
        train_index(own_notes, QUICK)
    (own_notes / ".learning" / "plan.json").write_text("[")
    with pytest.raises(GeneralistError, match="begin anew"):
        train_index(own_notes, QUICK)


def test_one_changes_an_index_at_a_time(own_notes: Path) -> None:
    with writing(own_notes), pytest.raises(GeneralistError, match="another process is changing this index"):
        train_index(own_notes, QUICK)


def test_what_cannot_be_learnt_is_said(llama: Path, tmp_path: Path) -> None:
    with pytest.raises(GeneralistError, match="no index there"):
        train_index(tmp_path / "nowhere", QUICK)
    build_index([Document(id="a", text="Short."), Document(id="b", text="")], tmp_path / "i", base=llama)
    with pytest.raises(GeneralistError, match="fewer than two documents"):
        train_index(tmp_path / "i", QUICK)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"modes": ("lexical",)}, "nothing is learnt for mode 'lexical'; use one of generative, dense"),
        ({"minutes": 0.0}, "--minutes is 0.0; use a positive number"),
        ({"steps": -1}, "--steps is -1"),
        ({"learning_rate": float("nan")}, "--learning-rate is nan"),
        ({"rank": 0}, "--rank is 0"),
        ({"seed": -1}, "--seed is -1; use 0 or more"),
    ],
)
def test_options_out_of_range(changed: dict[str, object], message: str) -> None:
    with pytest.raises(GeneralistError, match=message):
        replace(QUICK, **changed)  # type: ignore[arg-type]


def test_a_killed_run_leaves_the_index_whole_and_goes_on(own_notes: Path) -> None:
    code = (
        "import sys; from generalist.documents.learning import *; "
        "train_index(sys.argv[1], LearningOptions(steps=100, rank=2, device='cpu'))"
    )
    path = os.pathsep.join(str(ROOT / part) for part in (".", "datasets"))
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(own_notes)], env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    )
    state = own_notes / ".learning" / "generative-state.pt"
    limit = time.monotonic() + 240
    while not state.exists():
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert check_index(own_notes).manifest.generator is None
    assert best(own_notes, "Lima", "lexical") == "hen.md"
    stages: list[int] = []
    options = LearningOptions(steps=100, rank=2, device="cpu")
    with pytest.raises(Interrupted):
        train_index(own_notes, options, Watcher(stage=lambda name, done, total, said: stages.append(done)), after(1))
    assert stages[0] > 1
