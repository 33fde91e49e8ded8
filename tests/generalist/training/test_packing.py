"""Packing: what a model learns from is what it is asked at inference, token for token."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from generalist.model import Checkpoint
from generalist.prompt import build
from generalist.reply import parse
from generalist.tokens import Vocabulary
from generalist.training.attention import attention_queries
from generalist.training.examples import NOTHING, Example, block_causal_mask, collate
from generalist.training.image_arrays import depth_range, normalised_depth, patch_shapes, patch_things
from generalist.training.packing import Packer, Weights
from generalist.types import ChatRequest, Message
from generalist_datasets.world.ask import Questioner, ask_about
from generalist_datasets.world.ask_lexicon import ATTRIBUTES
from generalist_datasets.world.compose import Assets, compose
from generalist_datasets.world.layout import Menu
from generalist_datasets.world.question import Question, Target, answer_text
from generalist_datasets.world.scene import Scene

GRID = 12


@pytest.fixture(scope="session")
def scene(toy_assets: Assets, toy_menu: Menu) -> Scene:
    return compose(np.random.default_rng(4), toy_assets, toy_menu, width=192, height=192, concepts=[0, 1, 2])


@pytest.fixture(scope="session")
def questions(toy_assets: Assets, scene: Scene) -> list[Question]:
    rng = np.random.default_rng(5)
    asked = [q for _ in range(30) for q in ask_about(rng, Questioner(concepts=toy_assets.concepts), scene)]
    assert {"segment", "box", "count", "depth", "semantic", "card", "dialogue", "describe_region"} <= {
        q.ability for q in asked
    }
    return asked


@pytest.fixture(scope="session")
def example(vocab: Vocabulary, scene: Scene, questions: list[Question]) -> Example:
    return Packer(vocab, GRID).pack(np.random.default_rng(6), scene, questions)


def segment(example: Example, number: int) -> slice:
    places = np.flatnonzero(example.segments == number)
    return slice(int(places[0]), int(places[-1]) + 1)


def test_a_segment_behind_the_image_is_the_prompt_of_inference(
    vocab: Vocabulary, scene: Scene, questions: list[Question], example: Example
) -> None:
    from PIL import Image

    image = Image.fromarray(scene.image)
    for number, question in enumerate(questions, start=1):
        if question.drawn or any(turn.drawn for turn in question.history):
            continue
        said = [text for turn in question.history for text in (turn.text, answer_text(turn.answer))]
        messages = [
            Message(role="assistant" if k % 2 else "user", text=text, images=() if k else (image,))
            for k, text in enumerate([*said, question.text])
        ]
        request = ChatRequest(messages=tuple(messages))
        prompt = list(build(request, vocab).token_ids)
        at = prompt.index(vocab.image)
        expanded = prompt[:at] + [vocab.image] * GRID**2 + prompt[at + 1 :]
        here = example.ids[segment(example, number)].tolist()
        packed = example.ids[segment(example, 0)].tolist() + here[: len(expanded) - GRID**2 - at]
        assert packed == expanded
        assert example.positions[segment(example, number)].tolist() == list(
            range(GRID**2 + at, GRID**2 + at + len(here))
        )


def test_answers_are_well_formed_and_weighted(vocab: Vocabulary, questions: list[Question], example: Example) -> None:
    for number, question in enumerate(questions, start=1):
        part = segment(example, number)
        answer = example.weights[part] > 0
        ids = example.ids[part][answer]
        assert ids[-1] == vocab.eos
        reply = parse(ids[:-1].tolist(), vocab)
        assert reply.issues == ()
        targets = [piece for piece in question.answer if isinstance(piece, Target)]
        assert [p.text for p in reply.phrases] == [t.label for t in targets]
        for phrase, target in zip(reply.phrases, targets, strict=True):
            assert phrase.unit is not None and phrase.unit.kind == target.kind
            assert len(phrase.unit.refs) == max(1, len(target.things))


def test_locations_are_the_bins_of_exact_coordinates(vocab: Vocabulary, example: Example) -> None:
    is_loc = ~np.isnan(example.locs)
    assert is_loc.sum() > 20
    bins = example.ids[is_loc] - vocab.loc.start
    assert np.array_equal(bins, [vocab.loc_bin(float(v)) for v in example.locs[is_loc]])
    assert (example.weights[is_loc] > 0).all()


def test_codes_are_numbered_within_their_payload(vocab: Vocabulary, example: Example) -> None:
    mask = example.mask_code[example.mask_code != NOTHING]
    assert np.array_equal(mask, np.tile(np.arange(16), len(mask) // 16))
    depth = example.depth_code[example.depth_code != NOTHING]
    assert np.array_equal(depth, np.tile(np.arange(64), len(depth) // 64))
    assert (example.things[example.mask_code != NOTHING] >= 0).all()


def test_every_word_of_an_answer_looks_at_what_it_speaks_of(vocab: Vocabulary, scene: Scene) -> None:
    one, two = (Target(label=name, kind="box", things=things) for name, things in (("dog", (0,)), ("cat", (2, 1))))
    drawn = Question(task="detect", ability="detect_all", text="Find all.", answer=(one, ", ", two))
    said = Question(task="count", ability="count", text="How many?", answer=("two",), about=(0, 2))
    example = Packer(vocab, GRID).pack(np.random.default_rng(0), scene, [drawn, said])
    about = {number: [int(bits) for bits in example.about[segment(example, number)] if bits] for number in range(1, 3)}
    drawing = 1 + 4  # [k] and its corners, behind "<Phrase>dog</Phrase>(<Unit>box</Unit>"
    words = {name: 7 + len(vocab.encode_text(name)) for name in ("dog", "cat")}
    first, rest = about[1][: words["dog"] + drawing], about[1][words["dog"] + drawing :]
    assert set(first) == {0b001}
    between = len(rest) - words["cat"] - 2 * drawing  # "), "
    assert set(rest[:-drawing]) == {0b100} and set(rest[-drawing:]) == {0b010} and between >= 1
    assert set(about[2]) == {0b101}
    row, position, wanted = attention_queries(collate([example], vocab.pad), vocab.sizes.depth_grid)
    patches = torch.from_numpy(example.patches)
    last = wanted[(position >= segment(example, 2).start).nonzero()[:, 0]]
    assert len(row) and len(last) == len(about[2])
    assert torch.equal(last, ((patches == 0) | (patches == 2)).expand(len(last), -1))


def test_the_ends_of_a_depth_range_look_at_the_nearest_and_the_farthest_patches(
    vocab: Vocabulary, scene: Scene
) -> None:
    ramp = np.exp(np.linspace(0, 2, 192, dtype=np.float32))[None].repeat(192, 0)  # nearest on the left
    deep = Question(task="depth", ability="depth", text="How far?", answer=(Target(label="scene", kind="depth"),))
    boxed = Question(task="box", ability="box", text="Where?", answer=(Target(label="dog", kind="box", things=(0,)),))
    example = Packer(vocab, GRID).pack(np.random.default_rng(0), dataclasses.replace(scene, depth=ramp), [boxed, deep])
    _, position, wanted = attention_queries(collate([example], vocab.pad), vocab.sizes.depth_grid)
    (first,) = np.flatnonzero(example.depth_code == 0)
    columns = {}
    for name, token in (("nearest", first - 2), ("farthest", first - 1), ("first cell", first)):
        (looked,) = wanted[position == token - 1]  # a token is predicted from the one before
        columns[name] = np.flatnonzero(looked.reshape(GRID, GRID).any(0)).tolist()
        assert looked.reshape(GRID, GRID).any(1).sum() == (2 if name == "first cell" else GRID)
    assert columns == {"nearest": [0], "farthest": [GRID - 1], "first cell": [0, 1]}
    assert example.range.tolist() == pytest.approx(example.locs[[first - 2, first - 1]].tolist())
    assert example.range.tolist() == pytest.approx(depth_range(ramp)) and example.range[0] < example.range[1]
    ends, codes = example.weights[[first - 2, first - 1]], example.weights[example.depth_code >= 0]
    assert (ends == Weights().range).all() and (codes == Weights().depth).all()
    assert (example.weights[~np.isnan(example.locs)] == Weights().loc).sum() == 4  # the box keeps its own


def test_things_keep_the_numbers_of_their_attributes(vocab: Vocabulary, scene: Scene) -> None:
    solid = dataclasses.replace(scene.things[0], size="large", colour="blue", texture="striped", material="metal")
    plain = dataclasses.replace(scene.things[1], size="", colour="", texture="", material="")
    shown = dataclasses.replace(scene, things=(solid, plain, *scene.things[2:]), depth=None)
    example = Packer(vocab, GRID).pack(np.random.default_rng(0), shown, [])
    told = dict(zip(ATTRIBUTES, example.attributes[0].tolist(), strict=True))
    assert {name: ATTRIBUTES[name][number] for name, number in told.items()} == {
        "size": "large", "colour": "blue", "texture": "striped", "material": "metal",
    }  # fmt: skip
    assert (example.attributes[1] == NOTHING).all() and (example.attributes[len(shown.things) :] == NOTHING).all()
    assert np.isnan(example.range).all() and np.isnan(example.depth).all()  # nobody knows how deep it is


def test_what_would_make_a_sequence_too_long_is_left_out(
    vocab: Vocabulary, scene: Scene, questions: list[Question]
) -> None:
    alone = [len(Packer(vocab, GRID).pack(np.random.default_rng(6), scene, [q]).ids) for q in questions]
    longest = sorted(alone)[len(alone) // 2]
    packed = Packer(vocab, GRID, longest=longest).pack(np.random.default_rng(6), scene, questions)
    assert len(packed.ids) <= longest
    assert packed.segments.max() >= 1 and set(packed.segments) == set(range(packed.segments.max() + 1))


def test_packing_changes_no_prediction(tiny_checkpoint: Checkpoint, vocab: Vocabulary) -> None:
    """Logits of packed segments equal those of each segment alone behind the image."""
    model = tiny_checkpoint.model
    tokens = model.config.num_image_tokens
    rng = torch.Generator().manual_seed(0)
    prefix = [1, *[vocab.image] * tokens]
    parts = [torch.randint(20, 200, (n,), generator=rng).tolist() for n in (5, 9, 7)]
    features = torch.randn(1, tokens, model.config.text_config.hidden_size, generator=rng)
    segments = [0] * len(prefix) + [k for k, part in enumerate(parts, start=1) for _ in part] + [-1] * 3
    positions = list(range(len(prefix))) + [len(prefix) + i for part in parts for i in range(len(part))] + [0] * 3
    ids = torch.tensor([prefix + [t for part in parts for t in part] + [0] * 3])
    with torch.inference_mode():
        packed = model(
            input_ids=ids,
            image_features=features,
            attention_mask=block_causal_mask(torch.tensor([segments])),
            position_ids=torch.tensor([positions]),
        ).logits[0]
        start = len(prefix)
        for part in parts:
            alone = model(input_ids=torch.tensor([prefix + part]), image_features=features).logits[0, len(prefix) :]
            torch.testing.assert_close(packed[start : start + len(part)], alone, atol=1e-4, rtol=1e-4)
            start += len(part)


def test_collating_pads_into_a_segment_of_its_own(vocab: Vocabulary, example: Example) -> None:
    columns = ("ids", "segments", "positions", "tasks", "weights", "locs", "about", "things", "mask_code", "depth_code")
    short = dataclasses.replace(example, **{name: getattr(example, name)[:150] for name in columns})
    batch = collate([example, short], vocab.pad)
    length = batch["ids"].shape[1]
    assert length % 8 == 0 and length >= len(example.ids)
    assert (batch["segments"][1, 150:] == -1).all() and (batch["ids"][1, 150:] == vocab.pad).all()
    assert (batch["weights"][1, 150:] == 0).all() and batch["locs"][1, 150:].isnan().all()


def test_patches_know_what_covers_them(scene: Scene) -> None:
    patches = patch_things(scene, GRID).reshape(GRID, GRID)
    for row in range(GRID):
        for column in range(GRID):
            cell = scene.instances[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
            best = max(range(len(scene.things)), key=lambda k: int((cell == k + 1).sum()))
            covered = (cell == best + 1).mean() >= 0.35
            assert patches[row, column] == (best if covered else NOTHING)


def test_patches_know_where_they_show_their_thing(scene: Scene) -> None:
    patches = patch_things(scene, GRID)
    shapes = patch_shapes(scene, patches)
    assert shapes.shape == (GRID**2, 64) and not shapes[patches == NOTHING].any()
    partly = (patches != NOTHING) & ~shapes.all(1)
    assert partly.any() and not partly.all()
    for place in np.flatnonzero(patches != NOTHING):
        y, x = (16 * k for k in divmod(int(place), GRID))
        every_other = scene.mask(int(patches[place]))[y + 1 : y + 16 : 2, x + 1 : x + 16 : 2]
        assert shapes[place].reshape(8, 8).tolist() == every_other.tolist()


def test_depth_is_normalised_in_the_logarithm() -> None:
    ramp = np.exp(np.linspace(0, 2, 192, dtype=np.float32))[:, None].repeat(192, 1)
    normalised = normalised_depth(ramp)
    assert normalised.shape == (96, 96)
    assert normalised[0].mean() == pytest.approx(0.0, abs=0.01) and normalised[-1].mean() == pytest.approx(
        1.0, abs=0.01
    )
    assert normalised[48].mean() == pytest.approx(0.5, abs=0.02)
    assert not np.isnan(normalised_depth(np.ones((192, 192), np.float32))).any()
