"""VllmEngine keeps the terms of the engine protocol that TransformersEngine keeps."""

from __future__ import annotations

import gc
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from generalist.constrain import reply_constraint
from generalist.engine import Engine
from generalist.engine.transformers_engine import TransformersEngine
from generalist.identifiers import IdentifierTrie
from generalist.model import Checkpoint
from generalist.tokens import ASSISTANT, BOS, USER, Vocabulary
from generalist.types import Constraint, GeneralistError, Prompt, Sampling

if TYPE_CHECKING:
    from generalist_serving.vllm_engine import VllmEngine

SAMPLED = Sampling(temperature=1.5, top_k=50, top_p=0.95, seed=7, max_new_tokens=12)
GREEDY = Sampling(max_new_tokens=12)


def picture(seed: int, size: tuple[int, int] = (50, 40)) -> Image.Image:
    pixels = torch.randint(0, 256, (size[1], size[0], 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(pixels.to(torch.uint8).numpy())


def ask(vocab: Vocabulary, text: str, *images: Image.Image, constraint: Constraint | None = None) -> Prompt:
    s = vocab.structure
    ids = [s[BOS], s[USER], *[vocab.image] * len(images), *vocab.encode_text(text), s[ASSISTANT]]
    return Prompt(token_ids=tuple(ids), images=images, constraint=constraint)


def tokens(*ids: int) -> str:
    return f"Token({','.join(map(str, ids))})"


def box_grammar(vocab: Vocabulary) -> Constraint:
    """Three forced tokens, four location bins, one forced token."""
    opened = " ".join(tokens(i) for i in (vocab.open_paren, vocab.structure["<Unit>"], vocab.structure["</Unit>"]))
    return Constraint(grammar=f"root ::= {opened} {' '.join([tokens(*vocab.loc)] * 4)} {tokens(vocab.close_paren)}")


def doc_grammar(vocab: Vocabulary) -> Constraint:
    """One identifier, of any text."""
    opened, closed = (tokens(vocab.structure[name]) for name in ("<doc>", "</doc>"))
    text = tokens(*[i for i in range(vocab.size) if vocab.is_text(i)])
    return Constraint(grammar=f"root ::= {opened} text+ {closed}\ntext ::= {text}")


def waits(vllm_engine: VllmEngine) -> int:
    """How many requests vLLM has under way."""
    return vllm_engine.call(lambda vllm: int(vllm.get_num_unfinished_requests()))


@contextmanager
def calls(vllm_engine: VllmEngine, name: str) -> Iterator[list[int]]:
    """How many images, or tokens, each call of a method of the model inside vLLM is about."""
    seen: list[int] = []

    def watch(model: Any) -> None:
        method = getattr(model, name)

        def watched(*arguments: Any, **named: Any) -> Any:
            first = next(value for value in (*arguments, *named.values()) if value is not None)
            seen.append(len(first))
            return method(*arguments, **named)

        setattr(model, name, watched)

    vllm_engine.call(lambda vllm: vllm.apply_model(watch))
    try:
        yield seen
    finally:
        vllm_engine.call(lambda vllm: vllm.apply_model(lambda model: delattr(model, name)))


# --- what is generated -----------------------------------------------------------------------------


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_a_row_does_not_depend_on_its_batch(
    vllm_engine: VllmEngine, nano_vocab: Vocabulary, sampling: Sampling
) -> None:
    prompts = [
        ask(nano_vocab, "a much longer question than the others", picture(1)),
        ask(nano_vocab, "text only"),
        ask(nano_vocab, "where?", picture(2), picture(1), constraint=box_grammar(nano_vocab)),
        ask(nano_vocab, "hello", picture(2)),
    ]
    together = vllm_engine.generate(prompts, sampling)
    for prompt, answer in zip(prompts, together, strict=True):
        alone = vllm_engine.generate([prompt], sampling)[0]
        assert answer.token_ids == alone.token_ids
        assert answer.logprobs == pytest.approx(alone.logprobs, abs=1e-3)
        assert (answer.finish_reason, answer.usage) == (alone.finish_reason, alone.usage)
        assert tuple(vllm_engine.stream(prompt, sampling)) == answer.token_ids


def test_a_seed_repeats_a_reply_and_another_seed_does_not(vllm_engine: VllmEngine, nano_vocab: Vocabulary) -> None:
    prompt = ask(nano_vocab, "hello")

    def reply(seed: int | None) -> tuple[int, ...]:
        return vllm_engine.generate([prompt], Sampling(temperature=2, seed=seed, max_new_tokens=8))[0].token_ids

    replies = [reply(seed) for seed in (1, 1, 2, -1, 2**80)]
    assert replies[0] == replies[1]
    assert len(set(replies)) == 4
    assert len({reply(None) for _ in range(3)}) == 3


def test_log_probabilities_are_the_models_own_under_the_grammar(
    vllm_engine: VllmEngine, nano: Checkpoint, nano_vocab: Vocabulary
) -> None:
    prompt = ask(nano_vocab, "where?", constraint=box_grammar(nano_vocab))
    answer = vllm_engine.generate([prompt], SAMPLED)[0]
    assert (answer.finish_reason, len(answer.token_ids)) == ("stop", 8)
    with torch.inference_mode():
        logits = nano.model(input_ids=torch.tensor([prompt.token_ids + answer.token_ids])).logits[0]
    bins = logits[len(prompt.token_ids) + 2 : len(prompt.token_ids) + 6, list(nano_vocab.loc)].log_softmax(-1)
    said = [token - nano_vocab.loc[0] for token in answer.token_ids[3:7]]
    expected = bins.gather(1, torch.tensor(said)[:, None])[:, 0]
    assert answer.logprobs == pytest.approx([0, 0, 0, *expected.tolist(), 0], abs=1e-3)


def test_json_of_a_schema_is_the_same_from_both_engines(
    vllm_engine: VllmEngine, transformers_engine: TransformersEngine, nano_vocab: Vocabulary
) -> None:
    number, word = {"type": "integer", "maximum": 99}, {"type": "string", "maxLength": 9}
    schema = {"type": "object", "properties": {"n": number, "word": word}, "required": ["n", "word"]}
    constraint = Constraint(grammar="", json_schema=json.dumps(schema | {"additionalProperties": False}))
    prompts = [ask(nano_vocab, f"Count {n}.", picture(n), constraint=constraint) for n in range(4)]
    room = Sampling(max_new_tokens=60)
    ours, theirs = (engine.generate(prompts, room) for engine in (vllm_engine, transformers_engine))
    assert [one.token_ids for one in ours] == [one.token_ids for one in theirs]
    for answer in [*ours, *vllm_engine.generate(prompts, replace(SAMPLED, temperature=2, max_new_tokens=60))]:
        assert all(map(nano_vocab.is_text, answer.token_ids))
        said = json.loads(b"".join(nano_vocab.text_bytes(i) or b"" for i in answer.token_ids))
        assert isinstance(said["n"], int) and len(said["word"]) <= 9


def test_what_vllm_cannot_sample_is_told(vllm_engine: VllmEngine, nano_vocab: Vocabulary) -> None:
    with pytest.raises(GeneralistError, match=r"vLLM refuses the request .*temperature must be in"):
        vllm_engine.generate([ask(nano_vocab, "hello")], Sampling(temperature=3))


def test_nothing_asked_nothing_generated(vllm_engine: VllmEngine) -> None:
    protocol: Engine = vllm_engine
    assert protocol.generate([], GREEDY) == []


def test_a_reply_is_cut_where_the_context_ends(
    vllm_engine: VllmEngine, transformers_engine: TransformersEngine, nano_vocab: Vocabulary
) -> None:
    assert vllm_engine.max_prompt_tokens == transformers_engine.max_prompt_tokens
    prompt = Prompt(token_ids=(nano_vocab.open_paren,) * (vllm_engine.max_prompt_tokens - 2))
    forever = replace(prompt, constraint=Constraint(grammar=f"root ::= {tokens(*nano_vocab.loc)}+ {tokens(5)}"))
    ours, theirs = (
        engine.generate([forever], Sampling(max_new_tokens=50))[0] for engine in (vllm_engine, transformers_engine)
    )
    assert (len(ours.token_ids), ours.finish_reason) == (3, "length")
    assert (ours.token_ids, ours.usage) == (theirs.token_ids, theirs.usage)


# --- constraints -------------------------------------------------------------------------------------


def test_identifiers_work_as_in_the_other_engine(
    vllm_engine: VllmEngine, transformers_engine: TransformersEngine, nano_vocab: Vocabulary, tmp_path: Path
) -> None:
    names = [tuple(nano_vocab.encode_text(name)) for name in ("an oak", "an oak tree", "an elm", "the old road", "zzz")]
    IdentifierTrie.build(names, nano_vocab).save(tmp_path / "names")
    constraint = replace(doc_grammar(nano_vocab), identifiers=str(tmp_path / "names"))
    words = ("hello", "where?", "what is this?", "an oak tree")
    prompts = [ask(nano_vocab, text, picture(1), constraint=constraint) for text in words]
    free = ask(nano_vocab, "hello", picture(1), constraint=doc_grammar(nano_vocab))
    for ours, theirs in zip(
        vllm_engine.generate([*prompts, free], GREEDY),
        transformers_engine.generate([*prompts, free], GREEDY),
        strict=True,
    ):
        assert ours.token_ids == theirs.token_ids
        assert ours.logprobs == pytest.approx(theirs.logprobs, abs=1e-3)
        assert ours.finish_reason == theirs.finish_reason
    for answer in vllm_engine.generate(prompts, SAMPLED):
        assert answer.token_ids[1:-1] in names


def test_a_reply_ends_where_neither_grammar_nor_identifiers_let_it_go_on(
    vllm_engine: VllmEngine, nano_vocab: Vocabulary, tmp_path: Path
) -> None:
    IdentifierTrie.build([nano_vocab.encode_text("b")], nano_vocab).save(tmp_path / "names")
    opened, text = tokens(nano_vocab.structure["<doc>"]), tokens(*nano_vocab.encode_text("a"))
    constraint = Constraint(grammar=f"root ::= {opened} {text}", identifiers=str(tmp_path / "names"))
    prompt = ask(nano_vocab, "hello", constraint=constraint)
    answer, other = vllm_engine.generate([prompt, ask(nano_vocab, "hello")], GREEDY)
    assert (answer.token_ids, answer.logprobs) == ((nano_vocab.structure["<doc>"],), (0,))
    assert answer.finish_reason == "stop"
    assert len(other.token_ids) > 1
    assert list(vllm_engine.stream(prompt, GREEDY)) == [nano_vocab.structure["<doc>"]]


def test_random_replies_are_well_formed(vllm_engine: VllmEngine, nano_vocab: Vocabulary) -> None:
    from generalist.reply import parse

    kinds = ("box", "point", "mask", "depth")
    prompts = [
        ask(
            nano_vocab,
            "Describe it.",
            picture(n),
            constraint=reply_constraint(nano_vocab, kinds[n % 4 : n % 4 + 1 + n // 4]),
        )
        for n in range(8)
    ]
    for answer in vllm_engine.generate(prompts, Sampling(temperature=1.5, seed=3, max_new_tokens=60)):
        issues = parse(answer.token_ids, nano_vocab).issues
        assert not issues or answer.finish_reason == "length"


# --- what is kept ------------------------------------------------------------------------------------


def test_an_image_goes_through_the_vision_tower_once(vllm_engine: VllmEngine, nano_vocab: Vocabulary) -> None:
    one = Sampling(max_new_tokens=1)
    first, second = picture(101), picture(102)
    with calls(vllm_engine, "embed_multimodal") as seen:
        vllm_engine.generate([ask(nano_vocab, "hello", first)], one)
        assert len(seen) == 1
        vllm_engine.generate([ask(nano_vocab, "where is it?", first.copy())], one)
        list(vllm_engine.stream(ask(nano_vocab, "a longer beginning", first, first), one))
        assert len(seen) == 1
        vllm_engine.generate([ask(nano_vocab, "hello", second, first)], one)
        assert len(seen) == 2


def test_a_second_question_reads_little_but_the_question(vllm_engine: VllmEngine, nano_vocab: Vocabulary) -> None:
    images = [picture(seed) for seed in range(201, 205)]
    with calls(vllm_engine, "forward") as read:
        vllm_engine.generate([ask(nano_vocab, "hello", *images)], Sampling(max_new_tokens=1))
        vllm_engine.generate([ask(nano_vocab, "where is the dog?", *images)], Sampling(max_new_tokens=1))
    assert sum(read[:-1]) > 4 * 100
    assert read[-1] < 60


# --- many callers ------------------------------------------------------------------------------------


def test_threads_share_the_engine(vllm_engine: VllmEngine, nano_vocab: Vocabulary) -> None:
    prompts = [ask(nano_vocab, f"question {n}", picture(n % 3)) for n in range(6)]
    expected = [vllm_engine.generate([prompt], GREEDY)[0].token_ids for prompt in prompts]
    found: dict[int, tuple[int, ...]] = {}

    def answer(number: int) -> None:
        if number % 2:
            found[number] = tuple(vllm_engine.stream(prompts[number], GREEDY))
        else:
            found[number] = vllm_engine.generate([prompts[number]], GREEDY)[0].token_ids

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(len(prompts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[number] for number in range(len(prompts))] == expected


def test_closing_a_stream_ends_its_request(vllm_engine: VllmEngine, nano_vocab: Vocabulary) -> None:
    long = Sampling(temperature=2, seed=1, max_new_tokens=2000)
    prompt = ask(nano_vocab, "hello", constraint=Constraint(grammar=f"root ::= {tokens(*nano_vocab.loc)}+ {tokens(5)}"))
    begun, never, forgotten = (vllm_engine.stream(prompt, long) for _ in range(3))
    next(begun)
    next(forgotten)
    for stream in (begun, never):
        stream.close()  # type: ignore[attr-defined]
        assert list(stream) == []
    del forgotten
    gc.collect()
    assert waits(vllm_engine) == 0


def test_an_exception_ends_what_was_asked(
    vllm_engine: VllmEngine, nano_vocab: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    from generalist_serving.vllm_engine import engine as module

    class Interrupted(module.Future):  # type: ignore[misc]
        def result(self, timeout: float | None = None) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setattr(module, "Future", Interrupted)
    prompt = ask(nano_vocab, "hello", constraint=Constraint(grammar=f"root ::= {tokens(*nano_vocab.loc)}+ {tokens(5)}"))
    with pytest.raises(KeyboardInterrupt):
        vllm_engine.generate([prompt], Sampling(max_new_tokens=2000))
    assert waits(vllm_engine) == 0


# --- what cannot be run ------------------------------------------------------------------------------


def test_prompts_that_cannot_be_run_are_refused_in_the_same_words(
    vllm_engine: VllmEngine, transformers_engine: TransformersEngine, nano_vocab: Vocabulary, tmp_path: Path
) -> None:
    fitting = ask(nano_vocab, "hello", picture(1))
    most = vllm_engine.max_prompt_tokens
    (tmp_path / "names").write_text("oak")
    grammar = f"root ::= {tokens(5)}"
    bad = [
        Prompt(token_ids=(5,) * (most + 1)),
        ask(nano_vocab, "hello", *[picture(1)] * 40),
        Prompt(token_ids=fitting.token_ids),
        Prompt(token_ids=(5,), images=fitting.images),
        Prompt(token_ids=(5,), adapter="cats"),
        Prompt(token_ids=(5, nano_vocab.size)),
        Prompt(token_ids=(-1,)),
        Prompt(token_ids=()),
        Prompt(token_ids=(5,), constraint=Constraint(grammar="root ::= nothing")),
        Prompt(token_ids=(5,), constraint=Constraint(grammar="")),
        Prompt(token_ids=(5,), constraint=Constraint(grammar=grammar, identifiers="no/such/file")),
        Prompt(token_ids=(5,), constraint=Constraint(grammar=grammar, identifiers=str(tmp_path / "names"))),
    ]
    for prompt in bad:
        said: list[str] = []
        for engine in (vllm_engine, transformers_engine):
            with pytest.raises(GeneralistError) as refused:
                engine.generate([fitting, prompt], GREEDY)
            with pytest.raises(GeneralistError) as refused_at_once:
                engine.stream(prompt, GREEDY)
            said += [str(refused.value), str(refused_at_once.value)]
        assert len(set(said)) == 1, said
    assert waits(vllm_engine) == 0


# --- adapters ----------------------------------------------------------------------------------------


def test_adapters_come_and_go(vllm_engine: VllmEngine, nano_vocab: Vocabulary, tmp_path: Path) -> None:
    prompt = ask(nano_vocab, "What is this?", picture(1))
    base = vllm_engine.generate([prompt], GREEDY)[0]
    with pytest.raises(GeneralistError, match="the layer is"):
        vllm_engine.load_adapter("cats", lora(tmp_path / "misshapen", 0, width=128))
    assert vllm_engine.adapters == ()
    made = {seed: lora(tmp_path / str(seed), seed) for seed in (1, 2)}
    answers = {}
    for seed, folder in made.items():  # the second takes the place of the first
        vllm_engine.load_adapter("cats", folder)
        assert vllm_engine.adapters == ("cats",)
        answers[seed], unchanged = vllm_engine.generate([replace(prompt, adapter="cats"), prompt], GREEDY)
        assert unchanged.token_ids == base.token_ids
    assert len({answers[1].logprobs, answers[2].logprobs, base.logprobs}) == 3
    with pytest.raises(GeneralistError, match="adapter 'dogs' is not loaded; use one of cats"):
        vllm_engine.generate([replace(prompt, adapter="dogs")], GREEDY)
    vllm_engine.unload_adapter("cats")
    with pytest.raises(GeneralistError, match="adapter 'cats' is not loaded; this engine runs the base model alone"):
        vllm_engine.generate([replace(prompt, adapter="cats")], GREEDY)
    with pytest.raises(GeneralistError, match="adapter 'cats' is not loaded"):
        vllm_engine.unload_adapter("cats")


def lora(folder: Path, seed: int, width: int = 256) -> Path:
    """Of the first layer's attention, at random."""
    name = "base_model.model.model.language_model.layers.0.self_attn.q_proj"
    config = {"peft_type": "LORA", "r": 8, "lora_alpha": 16, "bias": "none", "target_modules": ["q_proj"]}
    folder.mkdir()
    generator = torch.Generator().manual_seed(seed)
    tensors = {
        f"{name}.lora_{part}.weight": torch.randn(shape, generator=generator) * 0.3
        for part, shape in (("A", (8, 256)), ("B", (width, 8)))
    }
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
