from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from generalist.adapter_spec import AdapterSpec, write_spec
from generalist.engine import UnknownAdapter
from generalist.engine.batch import Batch, Speaker
from generalist.engine.transformers_engine import TransformersEngine
from generalist.model import Checkpoint, GeneralistConfig, GeneralistForConditionalGeneration, GeneralistProcessor
from generalist.tokens import ASSISTANT, BOS, USER, Vocabulary
from generalist.types import GeneralistError, Generation, Prompt, Sampling

from ..random_adapters import LANGUAGE, VISION, write_adapter

GREEDY = Sampling(max_new_tokens=12)
PARTS: dict[str, tuple[str, ...]] = {
    "language": LANGUAGE,
    "vision": VISION,
    "everything": (*LANGUAGE, *VISION),
    "some": ("q_proj", "fc2"),
    "head": ("lm_head", "down_proj"),
}
"""What each of five adapters changes."""


@pytest.fixture
def engine(tiny_checkpoint: Checkpoint) -> TransformersEngine:
    return TransformersEngine(tiny_checkpoint.model, tiny_checkpoint.processor, tiny_checkpoint.vocabulary)


@pytest.fixture(scope="module")
def folders(tiny_checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("adapters")
    return {
        name: write_adapter(root / name, tiny_checkpoint.model, seed, parts=parts, rank=3 + seed)
        for seed, (name, parts) in enumerate(PARTS.items())
    }


@pytest.fixture
def loaded(engine: TransformersEngine, folders: dict[str, Path]) -> TransformersEngine:
    """With all five."""
    for name, folder in folders.items():
        engine.load_adapter(name, folder)
    return engine


def picture(seed: int) -> Image.Image:
    pixels = torch.randint(0, 256, (40, 50, 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(pixels.to(torch.uint8).numpy())


def ask(vocab: Vocabulary, text: str, *images: Image.Image, adapter: str | None = None) -> Prompt:
    s = vocab.structure
    ids = [s[BOS], s[USER], *[vocab.image] * len(images), *vocab.encode_text(text), s[ASSISTANT]]
    return Prompt(token_ids=tuple(ids), images=images, adapter=adapter)


def sixty(vocab: Vocabulary) -> list[Prompt]:
    """Ten questions of many lengths to the base and to each adapter, in no order. Some share a picture."""
    texts = ("where?", "a longer question about this", "what is it?", "x", "how many of them are there?")
    questions = [ask(vocab, text, *[picture(n + k) for k in range(n % 3)]) for n, text in enumerate(texts)]
    questions += [ask(vocab, f"{text} again", picture(2)) for text in texts]
    prompts = [replace(question, adapter=name) for question in questions for name in (None, *PARTS)]
    random.Random(0).shuffle(prompts)
    return prompts


def alone(engine: TransformersEngine, prompts: Sequence[Prompt]) -> list[Generation]:
    return [engine.generate([prompt], GREEDY)[0] for prompt in prompts]


def test_a_mixed_batch_says_what_each_adapter_says_alone(loaded: TransformersEngine, vocab: Vocabulary) -> None:
    prompts = sixty(vocab)
    assert len(prompts) == 60
    mixed = loaded.generate(prompts, GREEDY)
    for one, other in zip(mixed, alone(loaded, prompts), strict=True):
        assert one.token_ids == other.token_ids
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


@pytest.mark.parametrize("seed", range(2))
def test_rows_that_come_and_go_keep_their_adapters(loaded: TransformersEngine, vocab: Vocabulary, seed: int) -> None:
    chance = random.Random(seed)
    prompts = sixty(vocab)[:24]
    batch, speakers, waiting = Batch(loaded), [], list(prompts)
    while waiting or len(batch):
        for _ in range(chance.randint(0, 4)):
            if waiting:
                prompt = waiting.pop(0)
                sampling = replace(GREEDY, max_new_tokens=chance.randint(2, 12))
                speakers.append(batch.join(prompt, loaded.check(prompt), sampling))
        if chance.random() < 0.3:
            leave_one(batch, loaded, chance.choice(prompts))
        batch.step()
    for speaker, reply in zip(speakers, alone(loaded, prompts), strict=True):
        assert tuple(speaker.row.ids) == reply.token_ids[: len(speaker.row.ids)]


def leave_one(batch: Batch, engine: TransformersEngine, prompt: Prompt) -> Speaker:
    stranger = batch.join(prompt, engine.check(prompt), GREEDY)
    batch.step()
    batch.leave(stranger)
    return stranger


@pytest.mark.parametrize("name", PARTS)
def test_every_adapter_changes_the_replies(loaded: TransformersEngine, vocab: Vocabulary, name: str) -> None:
    """Else the tests above would pass without adapters."""
    prompts = [ask(vocab, text, picture(n)) for n, text in enumerate(("where?", "what?", "how many?", "why?"))]
    base = alone(loaded, prompts)
    changed = alone(loaded, [replace(prompt, adapter=name) for prompt in prompts])
    assert sum(one.logprobs != other.logprobs for one, other in zip(base, changed, strict=True)) == 4
    text = ask(vocab, "no image")
    (plain,), (adapted,) = alone(loaded, [text]), alone(loaded, [replace(text, adapter=name)])
    assert (plain == adapted) == (name == "vision")


def test_the_base_stays_what_it_was(tiny_checkpoint: Checkpoint, folders: dict[str, Path], vocab: Vocabulary) -> None:
    parts = (tiny_checkpoint.model, tiny_checkpoint.processor, tiny_checkpoint.vocabulary)
    prompts = [prompt for prompt in sixty(vocab) if prompt.adapter is None]
    weights = {name: tensor.clone() for name, tensor in tiny_checkpoint.model.state_dict().items()}
    before = alone(TransformersEngine(*parts), prompts)
    engine = TransformersEngine(*parts)
    for name, folder in folders.items():
        engine.load_adapter(name, folder)
    alone(engine, [replace(prompt, adapter=name) for prompt in prompts[:2] for name in PARTS])
    assert alone(engine, prompts) == before  # to the last bit
    after = tiny_checkpoint.model.state_dict()
    assert list(after) == list(weights) and all(torch.equal(after[name], tensor) for name, tensor in weights.items())
    assert not any(module._forward_hooks for module in tiny_checkpoint.model.modules())


def test_a_failure_leaves_the_model_untouched(
    loaded: TransformersEngine, vocab: Vocabulary, tiny_checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    layers = tiny_checkpoint.model.model.language_model.layers
    with monkeypatch.context() as patch:
        patch.setattr(layers[0].mlp, "forward", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            alone(loaded, [ask(vocab, "x", adapter="language")])
    assert not any(module._forward_hooks for module in tiny_checkpoint.model.modules())
    alone(loaded, [ask(vocab, "x", adapter="language")])


# --- the same numbers as plain peft ----------------------------------------------------------------------


@pytest.mark.parametrize("options", [
    {},
    {"parts": LANGUAGE},
    {"ranks": {"q_proj": 7, "down_proj": 1}, "rank_pattern": {"q_proj": 7, r"mlp\.down_proj": 1}},
    {"alpha_pattern": {"^model.projector.fc1": 1, "fc1": 20, "v_proj": 0.5}},
    {"use_rslora": True},
    {"lora_alpha": -3, "parts": (*VISION, "lm_head")},
], ids=["everything", "language", "ranks", "alphas", "rslora", "negative"])  # fmt: skip
def test_plain_peft_reads_the_same_folder_alike(
    engine: TransformersEngine, tiny_checkpoint: Checkpoint, vocab: Vocabulary, tmp_path: Path, options: dict[str, Any]
) -> None:
    peft = pytest.importorskip("peft")
    folder = write_adapter(tmp_path / "cats", tiny_checkpoint.model, 5, **options)
    engine.load_adapter("cats", folder)
    prompt = ask(vocab, "where is it?", picture(1), adapter="cats")
    (reply,) = engine.generate([prompt], GREEDY)
    model = peft.PeftModel.from_pretrained(copy.deepcopy(tiny_checkpoint.model), folder).eval()
    ids, pixels = engine.check(prompt).ids, tiny_checkpoint.processor.image_processor([picture(1)])["pixel_values"]
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[*ids, *reply.token_ids]]), pixel_values=pixels).logits
    logprobs = logits[0, len(ids) - 1 : -1, : vocab.size].log_softmax(-1)
    told = logprobs[range(len(reply.token_ids)), list(reply.token_ids)]
    assert told.tolist() == pytest.approx(list(reply.logprobs), abs=1e-4)
    assert logprobs.argmax(-1).tolist() == list(reply.token_ids)


def test_a_tower_that_cuts_images_into_windows(vocab: Vocabulary, tmp_path: Path) -> None:
    """Its layers see windows of images, where others see images."""
    text = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    vision = {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "window_size": 2, "image_size": 32}
    config = GeneralistConfig.for_vocabulary(
        vocab,
        vision_config={"model_type": "swin", **vision, "patch_size": 4, "drop_path_rate": 0.0},
        text_config={"model_type": "llama", **text, "initializer_range": 0.2},
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GeneralistForConditionalGeneration(config)
    engine = TransformersEngine(model, GeneralistProcessor.for_model(config, vocab), vocab)
    for seed, name in enumerate(("cats", "dogs")):
        engine.load_adapter(name, write_adapter(tmp_path / name, model, seed, scale=2.0))
    names = (None, "cats", "dogs", "cats")
    items = [engine.check(ask(vocab, "x", picture(n // 2), adapter=name)) for n, name in enumerate(names)]
    fresh = TransformersEngine(model, GeneralistProcessor.for_model(config, vocab), vocab, feature_cache_images=0)
    mixed = fresh._reader.features(items)
    assert mixed is not None
    for item, features in zip(items, mixed, strict=True):
        torch.testing.assert_close(engine._reader.features([item])[0], features)  # type: ignore[index]
    assert not any(torch.allclose(mixed[one], mixed[other]) for one, other in ((0, 1), (1, 3), (2, 3)))


# --- coming and going ------------------------------------------------------------------------------------


def test_adapters_that_are_not_loaded_are_named(engine: TransformersEngine, folders: dict[str, Path]) -> None:
    prompt = Prompt(token_ids=(0,), adapter="cats")
    with pytest.raises(UnknownAdapter, match="'cats' is not loaded; this engine runs the base model alone"):
        engine.generate([prompt], GREEDY)
    engine.load_adapter("dogs", folders["vision"])
    for wrong in (lambda: engine.stream(prompt, GREEDY), lambda: engine.unload_adapter("cats")):
        with pytest.raises(UnknownAdapter, match="'cats' is not loaded; use one of dogs"):
            wrong()
    assert engine.adapters == {"dogs": folders["vision"]}
    engine.unload_adapter("dogs")
    assert engine.adapters == {}


def test_a_request_keeps_the_adapter_that_it_began_with(
    loaded: TransformersEngine, folders: dict[str, Path], vocab: Vocabulary
) -> None:
    prompt = ask(vocab, "what is this?", picture(1), adapter="everything")
    whole = alone(loaded, [prompt])[0].token_ids
    stream = loaded.stream(prompt, GREEDY)
    said = [next(stream), next(stream)]
    loaded.load_adapter("everything", folders["some"])
    said.append(next(stream))
    loaded.unload_adapter("everything")
    assert (*said, *stream) == whole


def test_a_name_that_is_loaded_again_stands_for_the_new_adapter(
    engine: TransformersEngine, folders: dict[str, Path], vocab: Vocabulary
) -> None:
    """Also where the beginning of the prompt and its picture were read with the old one."""
    prompt = ask(vocab, "what is this?", picture(1), adapter="cats")
    replies = []
    for name in ("vision", "everything", "vision"):
        engine.load_adapter("cats", folders[name])
        replies.append(alone(engine, [prompt])[0])
    assert replies[0] == replies[2]
    assert replies[0].logprobs != replies[1].logprobs


def test_an_adapter_of_words_reads_the_images_that_the_base_has_read(
    loaded: TransformersEngine, vocab: Vocabulary, monkeypatch: pytest.MonkeyPatch, tiny_checkpoint: Checkpoint
) -> None:
    alone(loaded, [ask(vocab, "x", picture(1))])
    with monkeypatch.context() as patch:
        patch.setattr(tiny_checkpoint.model, "get_image_features", lambda _: 1 / 0)
        alone(loaded, [ask(vocab, "x", picture(1), adapter="language")])
        with pytest.raises(ZeroDivisionError):
            alone(loaded, [ask(vocab, "x", picture(1), adapter="vision")])


def test_an_adapter_of_another_vocabulary_is_refused(
    engine: TransformersEngine, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    folder = write_adapter(tmp_path / "cats", tiny_checkpoint.model)
    spec = AdapterSpec(
        name="cats", base="big", method="lora", rank=4, alpha=8, targets=(), tasks=("detect",), vocab_hash="0123"
    )
    write_spec(folder, spec)
    with pytest.raises(GeneralistError, match=r"adapter.json: vocab_hash is '0123', the model's vocabulary is '\w+'"):
        engine.load_adapter("cats", folder)
    write_spec(folder, replace(spec, vocab_hash=tiny_checkpoint.vocabulary.hash))
    engine.load_adapter("cats", folder)


def test_an_adapter_of_another_model_is_refused(
    engine: TransformersEngine, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    other = torch.nn.Sequential(torch.nn.Linear(3, 3))
    with pytest.raises(GeneralistError, match=r"changes '0', which is no linear layer of the model"):
        engine.load_adapter("cats", write_adapter(tmp_path / "cats", other, parts=("0",)))
    assert engine.adapters == {}


def test_an_update_that_the_model_s_numbers_cannot_hold_is_refused(
    engine: TransformersEngine, tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    with pytest.raises(GeneralistError, match=r"the update of 'model\..*' is too large for torch.float32"):
        engine.load_adapter("cats", write_adapter(tmp_path / "cats", tiny_checkpoint.model, lora_alpha=1e300))
