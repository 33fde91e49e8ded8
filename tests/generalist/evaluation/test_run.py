"""Running a suite: whatever a model says is judged, nothing is lost, and an interrupted run goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from generalist.engine.scripted import ScriptedEngine
from generalist.evaluation.cases import Case, Measure, Outcome, Result, Suite
from generalist.evaluation.outcome_file import OutcomeFile, fingerprint
from generalist.evaluation.run import LATENCY, request_of, run_suite, without_pictures
from generalist.pipeline import Generalist
from generalist.tasks import TASKS
from generalist.tokens import Vocabulary
from generalist.types import (
    Box,
    DepthMap,
    DocHit,
    GeneralistError,
    Generation,
    Grounded,
    Mask,
    Message,
    ParseIssue,
    Point,
    Prompt,
    Sample,
    Sampling,
    VisualPrompt,
)
from generalist_datasets.world.masks import to_mask

from ..scripted_model import DOG, Ids, scripted

DEPTH = "<Phrase>scene</Phrase>(<Unit>depth</Unit>[0]<loc_0001><loc_0060>" + "<depth_001>" * 64 + ")"
MALFORMED = "The <Phrase>dog</Phrase>(<Unit>box</Unit>[0]<loc_0016>"


def make_case(number: int, group: str = "box", task: str = "box", **fields: Any) -> Case:
    image = Image.new("RGB", (20, 10), (number, 0, 0))
    target = Grounded(label="dog", span=(0, 3), image=0, ref=0, output=Box(xyxy=(0.25, 0.25, 0.5, 0.75)))
    content: dict[str, Any] = {"prompt": "Where is the dog?", "text": "dog", "targets": (target,)}
    id = f"{group}-{number}"
    return Case(id=id, group=group, sample=Sample(id=id, image=image, task=task, **(content | fields)))


def make_suite(*cases: Case) -> Suite:
    def yielded(limit: int | None) -> Iterator[Case]:
        yield from cases[:limit]

    return Suite(name="toy", summary="by hand", cases=yielded)


def judge(case: Case, outcome: Outcome) -> float:
    assert case.sample.image.size == (20, 10)  # a measure sees the picture
    drawn = [item.output for item in outcome.outputs if isinstance(item.output, Box)]
    return float(bool(drawn) and not outcome.issues)


MEASURES = {
    group: Measure(
        group=group,
        judge=judge,
        combine=lambda kept: {"accuracy": float(np.mean(kept)), "error": 1 - float(np.mean(kept))},
        quality=lambda kept: kept,
        floors=lambda cases: {"accuracy": ("never", float(len(cases) < 0))},
        own_floors=lambda kept: {"error": ("always", 1.0)},
        lower_is_better=frozenset({"error"}),
    )
    for group in ("box", "count", "depth")
}


def run(model: Generalist, *cases: Case, **options: Any) -> Result:
    return run_suite(model, make_suite(*cases), measures=MEASURES, **options)


def content(result: Result) -> list[object]:
    """Everything but the seconds."""
    figures = {group: found for group, found in result.figures.items() if group != LATENCY}
    outcomes = [
        (o.case, o.text, o.issues, o.finished, o.error, [(g.label, g.span, g.ref, repr(g.output)) for g in o.outputs])
        for o in result.outcomes.values()
    ]
    return [figures, dict(result.kept), dict(result.groups), outcomes]


class Answering(ScriptedEngine):
    """Says of a picture what its red value tells, whenever it is asked; refuses where the value is ``refused``."""

    def __init__(self, replies: Sequence[Sequence[int]], refused: int = -1) -> None:
        super().__init__(replies)
        self.refused = refused
        self.batches: list[int] = []

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[Generation]:
        self.batches.append(len(prompts))
        numbers = [prompt.images[-1].getpixel((0, 0))[0] for prompt in prompts]  # type: ignore[index]
        if self.refused in numbers:
            raise GeneralistError("the prompt is\ntoo long")
        self.prompts += prompts
        engines = [ScriptedEngine([self._replies[number % len(self._replies)]]) for number in numbers]
        return [engine.generate([p], sampling)[0] for engine, p in zip(engines, prompts, strict=True)]


@pytest.fixture
def answering(vocab: Vocabulary, ids: Ids) -> Callable[..., tuple[Generalist, Answering]]:
    def make(*replies: str, refused: int = -1) -> tuple[Generalist, Answering]:
        engine = Answering([ids(reply) for reply in replies], refused)
        model, _ = scripted(vocab, [[]])
        model.engine = engine
        return model, engine

    return make


# --- asking ---


def test_figures_stand_beside_their_floors_and_in_intervals(answering: Callable[..., Any]) -> None:
    model, _ = answering(DOG, "There is no dog.")
    result = run(model, *[make_case(k) for k in range(8)], make_case(1, "count", "count"), name="nano", engine="here")
    assert (result.suite, result.model, result.engine) == ("toy", "nano", "here")
    accuracy, error = result.figures["box"]
    assert (accuracy.value, accuracy.count, accuracy.floor, accuracy.floor_name) == (0.5, 8, 0.0, "never")
    assert accuracy.low is not None and accuracy.high is not None and accuracy.low < 0.5 < accuracy.high
    assert accuracy.higher_is_better and not error.higher_is_better and error.floor == 1.0
    assert result.figures["count"][0].low is None  # of a single case nobody knows the spread
    assert list(result.kept) == list(result.outcomes) == list(result.groups)
    latency = {figure.name: figure for figure in result.figures[LATENCY]}
    assert set(latency) == {"box, seconds", "count, seconds"} and latency["box, seconds"].count == 8
    assert result.seconds == pytest.approx(sum(o.seconds for o in result.outcomes.values()))


def test_a_batch_is_of_one_task_and_one_group(answering: Callable[..., Any]) -> None:
    model, engine = answering(DOG)
    order = [("box", "box"), ("count", "count"), ("box", "box"), ("depth", "depth"), ("box", "box"), ("count", "count")]
    cases = [make_case(k, *kind) for k, kind in enumerate(order)]
    result = run(model, *cases, batch_size=2)
    assert list(result.outcomes) == [case.id for case in cases]  # in the order of the suite, not of the batches
    assert sorted(engine.batches) == [1, 1, 2, 2]
    assert list(result.figures) == ["box", "count", "depth", LATENCY]


def test_batches_do_not_change_answers(answering: Callable[..., Any]) -> None:
    cases = [make_case(k, group, group) for k in range(7) for group in ("box", "count")]
    results = [run(answering(DOG, MALFORMED, "No.")[0], *cases, batch_size=size) for size in (1, 3, 100)]
    assert content(results[0]) == content(results[1]) == content(results[2])


def test_large_pictures_do_not_pile_up(answering: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("generalist.evaluation.run._WAITING_PIXELS", 450)  # two pictures of 200
    model, engine = answering(DOG)
    run(model, *[make_case(k) for k in range(7)], batch_size=100)
    assert engine.batches == [3, 3, 1]
    shared = make_case(0)
    model, engine = answering(DOG)
    same = [replace(shared, id=str(k), sample=replace(shared.sample, id=str(k))) for k in range(7)]
    run(model, *same, batch_size=100)
    assert engine.batches == [7]  # one picture, however many ask about it


def test_what_leaves_the_grammar_is_a_miss(answering: Callable[..., Any]) -> None:
    model, _ = answering(DOG, MALFORMED)
    result = run(model, *[make_case(k) for k in range(4)])
    assert list(result.kept.values()) == [1.0, 0.0, 1.0, 0.0]
    wrong = result.outcomes["box-1"]
    assert wrong.issues and not wrong.outputs and not wrong.error


def test_a_reply_that_was_cut_says_so(answering: Callable[..., Any]) -> None:
    model, _ = answering("so " * 300)
    result = run(model, make_case(0, "count", "count"))
    assert not result.outcomes["count-0"].finished
    assert len(result.outcomes["count-0"].text) < 300


@pytest.mark.parametrize("batch_size", [1, 3, 10])
def test_a_question_that_cannot_be_asked_costs_no_other(answering: Callable[..., Any], batch_size: int) -> None:
    model, _ = answering(DOG, refused=2)
    result = run(model, *[make_case(k) for k in range(5)], batch_size=batch_size)
    errors = {case: outcome.error for case, outcome in result.outcomes.items()}
    assert errors == {"box-0": "", "box-1": "", "box-2": "the prompt is too long", "box-3": "", "box-4": ""}
    assert list(result.kept.values()) == [1.0, 1.0, 0.0, 1.0, 1.0]
    (latency,) = result.figures[LATENCY]
    assert latency.count == 4


def test_a_prompt_that_nobody_can_draw_is_recorded(answering: Callable[..., Any]) -> None:
    model, _ = answering(DOG)
    outside = make_case(0, visual_prompts=(VisualPrompt(kind="point", xy=(2.0, 0.0)),))
    result = run(model, outside, make_case(1))
    assert "not inside the image" in result.outcomes["box-0"].error and not result.outcomes["box-1"].error


def test_a_question_is_asked_as_its_sample_says() -> None:
    images = [Image.new("RGB", (20, 10), (k, 0, 0)) for k in range(2)]
    prompt = VisualPrompt(kind="point", xy=(0.5, 0.5))
    history = (
        Message(role="system", text="Be short."),
        Message(role="user", text="What is this?", visual_prompts=(prompt,)),
        Message(role="assistant", text="A dog."),
    )
    sample = make_case(0, prompt="Segment it.", task="segment", history=history).sample
    request = request_of(replace(sample, image=images[1], earlier_images=(images[0],)))
    assert [(m.role, m.text, len(m.images), len(m.visual_prompts)) for m in request.messages] == [
        ("system", "Be short.", 0, 0), ("user", "What is this?", 2, 1), ("assistant", "A dog.", 0, 0),
        ("user", "Segment it.", 0, 0),
    ]  # fmt: skip
    assert request.messages[1].images == tuple(images)
    assert request.sampling == Sampling(max_new_tokens=TASKS["segment"].max_new_tokens)
    plain = request_of(make_case(3, visual_prompts=(prompt,)).sample)
    assert len(plain.messages) == 1 and plain.messages[0].visual_prompts == (prompt,) and plain.task == "box"


def test_progress_counts_cases_and_learns_their_number(answering: Callable[..., Any]) -> None:
    calls: list[tuple[int, int | None]] = []
    model, _ = answering(DOG, refused=3)
    cases = [make_case(k) for k in range(5)]
    run(model, *cases, batch_size=2, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, None), (2, None), (3, None), (4, None), (5, 5), (5, 5)]


def test_neither_pictures_nor_depth_are_kept(answering: Callable[..., Any]) -> None:
    seen: list[Sequence[Case]] = []
    measure = replace(MEASURES["depth"], floors=lambda cases: seen.append(cases) or {}, judge=lambda c, o: 0.0)  # type: ignore[func-returns-value]
    truth = DepthMap(values=np.arange(300 * 200, dtype=np.float32).reshape(200, 300))
    mask = VisualPrompt(kind="mask", bitmap=np.ones((200, 300), np.bool_))
    case = make_case(0, "depth", "depth", visual_prompts=(mask,))
    target = replace(case.sample.targets[0], output=truth)
    sample = replace(case.sample, image=Image.new("RGB", (300, 200)), targets=(target, case.sample.targets[0]))
    model, _ = answering(DEPTH)
    result = run_suite(model, make_suite(replace(case, sample=sample)), measures={"depth": measure})
    ((light,),) = seen
    assert light.sample.image.size == (1, 1) and light.sample.visual_prompts[0].bitmap is None
    coarse = light.sample.targets[0].output
    assert isinstance(coarse, DepthMap) and max(coarse.values.shape) <= 96 and coarse.values.base is None
    assert set(coarse.values.ravel()) < set(truth.values.ravel())  # labels are picked, not mixed
    assert light.sample.targets[1] is case.sample.targets[0]
    (drawn,) = result.outcomes["depth-0"].outputs
    assert isinstance(drawn.output, DepthMap) and max(drawn.output.values.shape) <= 96
    assert without_pictures(light).sample.prompt == sample.prompt


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"limit": 0}, "limit is 0"),
        ({"batch_size": 0}, "batch size is 0"),
        ({"cache": Path("answers.jsonl")}, "in which folder"),
    ],
)
def test_arguments_out_of_range(answering: Callable[..., Any], options: dict[str, Any], says: str) -> None:
    with pytest.raises(GeneralistError, match=says):
        run(answering(DOG)[0], make_case(0), **options)


def test_a_suite_that_cannot_be_measured(answering: Callable[..., Any]) -> None:
    model, _ = answering(DOG)
    with pytest.raises(GeneralistError, match="nothing to ask"):
        run(model)
    with pytest.raises(GeneralistError, match="two cases are called 'box-1'"):
        run(model, make_case(1), make_case(1))
    with pytest.raises(GeneralistError, match="nothing measures group 'bx'"):
        run(model, make_case(1, "bx"))


# --- going on ---


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "vocabulary.json").write_text("{}")
    return folder


class Interrupted(Exception):
    """Stands for Ctrl-C, which pytest would take for its own."""


def test_an_interrupted_run_goes_on_to_the_same_result(
    answering: Callable[..., Any], checkpoint: Path, tmp_path: Path
) -> None:
    replies = (DOG, MALFORMED, DEPTH)
    cases = [make_case(k, group, group) for k in range(9) for group in ("box", "depth")]
    options: dict[str, Any] = {"batch_size": 2, "cache": tmp_path / "kept" / "answers.jsonl", "folder": checkpoint}
    whole = run(answering(*replies)[0], *cases, batch_size=2)

    def stop(done: int, total: int | None) -> None:
        if done == 9:
            raise Interrupted

    first, asked_first = answering(*replies)
    with pytest.raises(Interrupted):
        run(first, *cases, progress=stop, **options)
    with options["cache"].open("ab") as file:
        file.write(b'{"run": "torn, as by a full di')
    second, asked_second = answering(*replies)
    resumed = run(second, *cases, **options)
    assert content(resumed) == content(whole)
    assert 0 < len(asked_second.prompts) < 18
    assert len(asked_first.prompts) + len(asked_second.prompts) == 18
    third, asked_third = answering(*replies)
    again = run(third, *cases, **options)
    assert not asked_third.prompts and content(again) == content(whole)
    # Measured once, and not again when read.
    assert [o.seconds for o in again.outcomes.values()] == [o.seconds for o in resumed.outcomes.values()]


def test_answers_are_of_one_model_and_one_question(
    answering: Callable[..., Any], checkpoint: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"cache": tmp_path / "answers.jsonl", "folder": checkpoint}

    def asked(*cases: Case, **more: Any) -> int:
        model, engine = answering(DOG)
        run(model, *cases, **(options | more))
        return len(engine.prompts)

    assert asked(make_case(0)) == 1 and asked(make_case(0)) == 0
    other = [
        make_case(0, prompt="Find the dog."),
        make_case(0, visual_prompts=(VisualPrompt(kind="point", xy=(0.5, 0.5)),)),
        make_case(0, history=(Message(role="user", text="Hello?"), Message(role="assistant", text="Hello."))),
        make_case(0, earlier_images=(Image.new("RGB", (20, 10)),)),
    ]
    changed = make_case(0)
    changed.sample.image.putpixel((3, 3), (9, 9, 9))
    assert [asked(case) for case in (*other, changed)] == [1] * 5
    assert asked(make_case(0), engine="another") == 1
    (checkpoint / "events.log").write_text("step 2")
    assert asked(changed) == 0  # what is said last of a case counts
    (checkpoint / "model.safetensors").write_bytes(b"other weights")
    assert asked(changed) == 1


def test_what_could_not_be_asked_is_asked_again(
    answering: Callable[..., Any], checkpoint: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"cache": tmp_path / "answers.jsonl", "folder": checkpoint}
    refusing, _ = answering(DOG, refused=1)
    cases = [make_case(k) for k in range(3)]
    assert run(refusing, *cases, **options).outcomes["box-1"].error
    model, engine = answering(DOG)
    assert not run(model, *cases, **options).outcomes["box-1"].error and len(engine.prompts) == 1


def test_outcomes_survive_the_file_exactly(checkpoint: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    depth = rng.normal(size=(7, 5)).astype(np.float32)
    depth[0, :3] = np.nan, np.inf, -np.inf
    mask = to_mask(rng.random((9, 11)) > 0.5)
    drawn = [
        Box(xyxy=(0.1, 1 / 3, 0.7, 0.9), score=0.1 + 0.2), Point(xy=(2 / 7, 0.5)), replace(mask, score=1e-300),
        DepthMap(values=depth, score=0.25), DepthMap(values=depth[:0], unit="relative"),
        DocHit(doc_id="d", title="\u2028 title", text="\ud800 lone", score=0.5),
    ]  # fmt: skip
    outputs = tuple(Grounded(label="a\tb", span=(0, 3), image=1, ref=k, output=o) for k, o in enumerate(drawn))
    issue = ParseIssue(at=3, expected="a location", got="the end\n")
    outcome = Outcome(case="box-0", text="é\n\0 \ud800", outputs=outputs, issues=(issue,), finished=False, seconds=0.1)
    case = make_case(0)
    path = tmp_path / "answers.jsonl"
    OutcomeFile(path, ("run",)).add([(case, outcome)])
    assert path.read_bytes().count(b"\n") == 1
    found = OutcomeFile(path, ("run",)).find(case)
    assert found is not None and OutcomeFile(path, ("other run",)).find(case) is None
    assert (found.text, found.issues, found.finished, found.seconds) == (outcome.text, (issue,), False, 0.1)
    for before, after in zip(outputs, found.outputs, strict=True):
        assert (after.label, after.span, after.image, after.ref) == ("a\tb", (0, 3), 1, before.ref)
        if isinstance(before.output, DepthMap):
            assert isinstance(after.output, DepthMap) and after.output.unit == before.output.unit
            assert np.array_equal(after.output.values, before.output.values, equal_nan=True)
            assert after.output.values.dtype == np.float32 and after.output.score == before.output.score
        else:
            assert after.output == before.output
    assert isinstance(found.outputs[2].output, Mask)


@pytest.mark.parametrize(
    "line",
    ["", "null", "[]", "{}", "\x00\xff", '{"run": 3}', "9" * 5000, "[" * 100_000,
     '{"run": "RUN", "case": "box-0", "asked": "ASKED"}',
     '{"run": "RUN", "case": "box-0", "asked": "ASKED", "text": "", "outputs": [{"kind": "depth", "shape": [1],'
     ' "float32": "eA=="}], "issues": []}',
     '{"run": "RUN", "case": "box-0", "asked": "ASKED", "text": "", "outputs": 3}',
     '{"run": "RUN", "case": "box-0", "asked": "ASKED", "text": "", "outputs": [3]}'],
)  # fmt: skip
def test_lines_of_another_form_are_passed_over(line: str, tmp_path: Path) -> None:
    path, case = tmp_path / "answers.jsonl", make_case(0)
    OutcomeFile(path, ("run",)).add([(case, Outcome(case="box-0", text="A dog."))])
    row = json.loads(path.read_text())
    path.write_text(line.replace("RUN", row["run"]).replace("ASKED", row["asked"]), encoding="latin-1")
    file = OutcomeFile(path, ("run",))
    assert file.find(case) is None
    file.add([(case, Outcome(case="box-0", text="A cat."))])
    found = OutcomeFile(path, ("run",)).find(case)
    assert found is not None and found.text == "A cat."


def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(GeneralistError, match="cannot keep answers"):
        OutcomeFile(tmp_path, ("run",))
    (tmp_path / "file").write_text("")
    with pytest.raises(GeneralistError, match="cannot keep answers"):
        OutcomeFile(tmp_path / "file" / "answers.jsonl", ("run",))
    assert fingerprint(checkpoint) == fingerprint(checkpoint)
