import copy
import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import GeneratorType
from typing import Any

import pytest
import torch
from PIL import Image

from generalist.constrain import reply_constraint
from generalist.engine import Engine
from generalist.engine.batch import Batch
from generalist.engine.context import Context
from generalist.engine.transformers_engine import TransformersEngine
from generalist.identifiers import IdentifierTrie
from generalist.model import Checkpoint
from generalist.tokens import ASSISTANT, BOS, USER, Vocabulary
from generalist.types import KINDS, Constraint, GeneralistError, Kind, Prompt, Sampling

SAMPLED = Sampling(temperature=1.5, top_k=50, top_p=0.95, seed=7, max_new_tokens=12)
GREEDY = Sampling(max_new_tokens=12)


@pytest.fixture
def engine(tiny_checkpoint: Checkpoint) -> TransformersEngine:
    return new_engine(tiny_checkpoint)


def new_engine(checkpoint: Checkpoint, **options: int) -> TransformersEngine:
    return TransformersEngine(checkpoint.model, checkpoint.processor, checkpoint.vocabulary, **options)


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


@contextmanager
def calls(module: torch.nn.Module) -> Iterator[list[tuple[int, ...]]]:
    """The shapes of what ``module`` is called with."""
    seen: list[tuple[int, ...]] = []

    def note(_: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        first = args[0] if args else next(v for v in kwargs.values() if isinstance(v, torch.Tensor))
        seen.append(tuple(first.shape))

    handle = module.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


def reading(checkpoint: Checkpoint) -> Any:
    """Calls of the language model: [R, T, D]."""
    return calls(checkpoint.model.model.language_model.layers[0])


# --- what is generated -----------------------------------------------------------------------------


def by_hand(checkpoint: Checkpoint, prompt: Prompt, steps: int) -> tuple[list[int], list[float]]:
    """Greedy decoding without a cache: the whole sequence through the model at every step."""
    model, vocab = checkpoint.model, checkpoint.vocabulary
    copies = model.config.num_image_tokens
    ids = [i for t in prompt.token_ids for i in [t] * (copies if t == vocab.image else 1)]
    pixels = checkpoint.processor.image_processor(list(prompt.images), return_tensors="pt")["pixel_values"]
    reply: list[int] = []
    logprobs: list[float] = []
    for _ in range(steps):
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([ids + reply]), pixel_values=pixels).logits[0, -1]
        reply.append(int(logits.argmax()))
        logprobs.append(float(logits.log_softmax(-1).max()))
    return reply, logprobs


def test_greedy_is_what_the_model_says(tiny_checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    prompt = ask(tiny_checkpoint.vocabulary, "hello", picture(1), picture(2))
    reply, logprobs = by_hand(tiny_checkpoint, prompt, steps=8)
    assert tiny_checkpoint.vocabulary.eos not in reply
    answer = engine.generate([prompt], Sampling(max_new_tokens=8))[0]
    assert list(answer.token_ids) == reply
    assert answer.logprobs == pytest.approx(logprobs, abs=1e-4)
    assert answer.finish_reason == "length"
    assert answer.usage.completion_tokens == 8
    assert answer.usage.prompt_tokens == len(prompt.token_ids) + 2 * (tiny_checkpoint.model.config.num_image_tokens - 1)


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_a_row_does_not_depend_on_its_batch(tiny_checkpoint: Checkpoint, sampling: Sampling) -> None:
    vocab = tiny_checkpoint.vocabulary
    prompts = [
        ask(vocab, "a much longer question than the others", picture(1)),
        ask(vocab, "text only"),
        ask(vocab, "where?", picture(2), picture(1), constraint=box_grammar(vocab)),
        ask(vocab, "hello", picture(2)),
    ]
    together = new_engine(tiny_checkpoint).generate(prompts, sampling)
    for prompt, answer in zip(prompts, together, strict=True):
        alone = new_engine(tiny_checkpoint).generate([prompt], sampling)[0]
        assert answer.token_ids == alone.token_ids
        assert answer.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
        assert (answer.finish_reason, answer.usage) == (alone.finish_reason, alone.usage)
    assert len({answer.token_ids for answer in together}) == 4


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_a_stream_gives_the_same_tokens(
    tiny_checkpoint: Checkpoint, engine: TransformersEngine, sampling: Sampling
) -> None:
    vocab = tiny_checkpoint.vocabulary
    for constraint in (None, box_grammar(vocab)):
        prompt = ask(vocab, "hello", picture(1), constraint=constraint)
        assert tuple(engine.stream(prompt, sampling)) == engine.generate([prompt], sampling)[0].token_ids


def test_a_seed_repeats_a_reply_and_another_seed_does_not(
    tiny_checkpoint: Checkpoint, engine: TransformersEngine
) -> None:
    prompt = ask(tiny_checkpoint.vocabulary, "hello")

    def reply(seed: int | None) -> tuple[int, ...]:
        return engine.generate([prompt], Sampling(temperature=2, seed=seed, max_new_tokens=8))[0].token_ids

    replies = [reply(seed) for seed in (1, 1, 2, -1, 2**80)]
    assert replies[0] == replies[1]
    assert len(set(replies)) == 4
    assert len({reply(None) for _ in range(3)}) == 3


def test_nothing_asked_nothing_generated(engine: TransformersEngine) -> None:
    protocol: Engine = engine
    assert protocol.generate([], GREEDY) == []


def test_bfloat16(tiny_checkpoint: Checkpoint) -> None:
    vocab, model = tiny_checkpoint.vocabulary, copy.deepcopy(tiny_checkpoint.model).bfloat16()
    engine = TransformersEngine(model, tiny_checkpoint.processor, vocab)
    prompts = [ask(vocab, "where?", picture(1), constraint=box_grammar(vocab)), ask(vocab, "hello")]
    boxed, text = engine.generate(prompts, SAMPLED)
    assert (len(boxed.token_ids), boxed.finish_reason) == (8, "stop")
    assert len(text.token_ids) == len(text.logprobs) == 12


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_says_the_same(tiny_checkpoint: Checkpoint) -> None:
    vocab, model = tiny_checkpoint.vocabulary, copy.deepcopy(tiny_checkpoint.model).cuda()
    prompts = [ask(vocab, "where?", picture(1), constraint=box_grammar(vocab)), ask(vocab, "hello")]
    there = TransformersEngine(model, tiny_checkpoint.processor, vocab)
    for sampling in (GREEDY, SAMPLED):
        here = new_engine(tiny_checkpoint).generate(prompts, sampling)
        assert [g.token_ids for g in there.generate(prompts, sampling)] == [g.token_ids for g in here]
        assert there.generate(prompts[:1], sampling)[0].token_ids == here[0].token_ids


# --- grammars ----------------------------------------------------------------------------------------


def test_the_grammar_is_kept_and_forced_tokens_are_certain(
    tiny_checkpoint: Checkpoint, engine: TransformersEngine
) -> None:
    vocab = tiny_checkpoint.vocabulary
    answer = engine.generate([ask(vocab, "where?", picture(1), constraint=box_grammar(vocab))], SAMPLED)[0]
    ids, logprobs = answer.token_ids, answer.logprobs
    assert ids[:3] == (vocab.open_paren, vocab.structure["<Unit>"], vocab.structure["</Unit>"])
    assert all(i in vocab.loc for i in ids[3:7])
    assert ids[7:] == (vocab.close_paren,)
    assert logprobs[:3] == (0, 0, 0)
    assert logprobs[7] == 0
    assert all(logprob < 0 for logprob in logprobs[3:7])
    assert answer.finish_reason == "stop"


def test_log_probabilities_count_only_what_is_allowed(tiny_checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    vocab = tiny_checkpoint.vocabulary
    prompt, allowed = ask(vocab, "hello"), [vocab.loc[3], vocab.loc[9]]
    with torch.inference_mode():
        logits = tiny_checkpoint.model(input_ids=torch.tensor([prompt.token_ids])).logits[0, -1]
    expected = logits[allowed].log_softmax(-1)
    constrained = ask(vocab, "hello", constraint=Constraint(grammar=f"root ::= {tokens(*allowed)}"))
    answer = engine.generate([constrained], GREEDY)[0]
    assert answer.token_ids == (allowed[int(expected.argmax())],)
    assert answer.logprobs == pytest.approx([float(expected.max())], abs=1e-5)


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_forced_runs_are_read_in_one_step(
    tiny_checkpoint: Checkpoint, engine: TransformersEngine, sampling: Sampling
) -> None:
    vocab = tiny_checkpoint.vocabulary
    prompt = ask(vocab, "where?", constraint=box_grammar(vocab))
    with reading(tiny_checkpoint) as alone:
        fast = engine.generate([prompt], sampling)[0]
    with reading(tiny_checkpoint) as batch:  # a batch takes every token in a step of its own
        slow = engine.generate([prompt, prompt], sampling)[0]
    assert fast.token_ids == slow.token_ids
    assert fast.logprobs == pytest.approx(slow.logprobs, abs=1e-4)
    assert [shape[1] for shape in alone] == [len(prompt.token_ids) + 3, 1, 1, 1]
    assert [shape[1] for shape in batch] == [len(prompt.token_ids), *[1] * 8]


def test_a_reply_that_is_forced_whole_needs_no_model(tiny_checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    vocab = tiny_checkpoint.vocabulary
    constraint = Constraint(grammar=f"root ::= {tokens(vocab.loc[1])} {tokens(vocab.loc[2])}")
    with reading(tiny_checkpoint) as steps:
        answer = engine.generate([ask(vocab, "hello", picture(1), constraint=constraint)], GREEDY)[0]
    assert (answer.token_ids, answer.logprobs) == ((vocab.loc[1], vocab.loc[2]), (0, 0))
    assert (answer.finish_reason, steps) == ("stop", [])


@pytest.mark.parametrize("kind", KINDS)
def test_the_reply_grammar_runs(tiny_checkpoint: Checkpoint, engine: TransformersEngine, kind: Kind) -> None:
    vocab = tiny_checkpoint.vocabulary
    grammar = reply_constraint(vocab, [kind], plan=False).grammar
    # A random model would mostly babble: leave it nothing but one drawn phrase.
    for old, new in (("root ::= piece*", "root ::= phrase"), ("text+", "text"), ("unit?", "unit")):
        assert old in grammar
        grammar = grammar.replace(old, new)
    prompt = ask(vocab, "hello", picture(1), constraint=Constraint(grammar=grammar))
    answer = engine.generate([prompt], Sampling(temperature=1, seed=1, max_new_tokens=200))[0]
    name = vocab.encode_text(kind)
    opened = [vocab.open_paren, vocab.structure["<Unit>"], *name, vocab.structure["</Unit>"], vocab.ref[0]]
    assert list(answer.token_ids[3 : 3 + len(opened)]) == opened
    assert answer.logprobs[2 : 3 + len(opened)] == (0.0,) * (1 + len(opened))
    assert answer.finish_reason == "length" or answer.token_ids[-1] == vocab.close_paren


def doc_grammar(vocab: Vocabulary) -> Constraint:
    """One identifier, of any text."""
    opened, closed = (tokens(vocab.structure[name]) for name in ("<doc>", "</doc>"))
    text = tokens(*[i for i in range(vocab.size) if vocab.is_text(i)])
    return Constraint(grammar=f"root ::= {opened} text+ {closed}\ntext ::= {text}")


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_only_identifiers_that_exist_are_written(
    tiny_checkpoint: Checkpoint, engine: TransformersEngine, tmp_path: Path, sampling: Sampling
) -> None:
    vocab = tiny_checkpoint.vocabulary
    names = [tuple(vocab.encode_text(name)) for name in ("oak", "oak tree", "an elm", "the dog")]
    IdentifierTrie.build(names, vocab).save(tmp_path / "names")
    constraint = replace(doc_grammar(vocab), identifiers=str(tmp_path / "names"))
    prompts = [ask(vocab, text, picture(1), constraint=constraint) for text in ("hello", "where?", "world")]
    free = ask(vocab, "hello", picture(1), constraint=doc_grammar(vocab))
    answers = engine.generate([*prompts, free], sampling)
    for prompt, answer in zip(prompts, answers, strict=False):
        assert answer.token_ids[1:-1] in names
        assert answer.finish_reason == "stop"
        assert answer.logprobs[0] == 0
        assert all(logprob < 0 for logprob in answer.logprobs[1:])  # also of those that were the only ones left
        alone = engine.generate([prompt], sampling)[0]
        assert (alone.token_ids, alone.logprobs) == (answer.token_ids, pytest.approx(answer.logprobs, abs=1e-4))
        assert tuple(engine.stream(prompt, sampling)) == answer.token_ids
    assert answers[-1].token_ids[1:-1] not in names


def test_a_reply_ends_where_neither_grammar_nor_identifiers_let_it_go_on(
    tiny_checkpoint: Checkpoint, engine: TransformersEngine, tmp_path: Path
) -> None:
    vocab = tiny_checkpoint.vocabulary
    IdentifierTrie.build([vocab.encode_text("b")], vocab).save(tmp_path / "names")
    opened, text = tokens(vocab.structure["<doc>"]), tokens(*vocab.encode_text("a"))
    constraint = Constraint(grammar=f"root ::= {opened} {text}", identifiers=str(tmp_path / "names"))
    for sampling in (GREEDY, SAMPLED):
        for prompts in ([ask(vocab, "hello", constraint=constraint)], [ask(vocab, "hello", constraint=constraint)] * 2):
            answer = engine.generate(prompts, sampling)[0]
            assert (answer.token_ids, answer.logprobs) == ((vocab.structure["<doc>"],), (0,))
            assert answer.finish_reason == "stop"


def test_finished_rows_are_dropped(tiny_checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    vocab = tiny_checkpoint.vocabulary
    constraint = Constraint(grammar=f"root ::= {tokens(*vocab.loc)}")
    prompts = [ask(vocab, "short", constraint=constraint), ask(vocab, "hello")]
    with reading(tiny_checkpoint) as steps:
        engine.generate(prompts, GREEDY)
    assert [shape[0] for shape in steps] == [2, 2, *[1] * 10]


# --- what is kept ------------------------------------------------------------------------------------


def test_an_image_goes_through_the_vision_tower_once(tiny_checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    vocab, sampling = tiny_checkpoint.vocabulary, Sampling(max_new_tokens=1)
    first, second = picture(1), picture(2)
    with calls(tiny_checkpoint.model.model.vision_tower) as seen:
        engine.generate([ask(vocab, "hello", first)], sampling)
        engine.generate([ask(vocab, "where is it?", first.copy())], sampling)
        engine.generate([ask(vocab, "longer beginning", first, first)], sampling)
        list(engine.stream(ask(vocab, "world", first), sampling))
        assert [shape[0] for shape in seen] == [1]
        engine.generate([ask(vocab, "hello", second, first), ask(vocab, "and", picture(3), second)], sampling)
        assert [shape[0] for shape in seen] == [1, 2]
        first.putpixel((0, 0), (1, 2, 3))
        engine.generate([ask(vocab, "hello", first)], sampling)
        assert [shape[0] for shape in seen] == [1, 2, 1]


def test_the_feature_cache_has_a_size(tiny_checkpoint: Checkpoint) -> None:
    vocab, sampling = tiny_checkpoint.vocabulary, Sampling(max_new_tokens=1)
    engine = new_engine(tiny_checkpoint, feature_cache_images=1, prefix_cache=0)
    with calls(tiny_checkpoint.model.model.vision_tower) as seen:
        for seed in (1, 1, 2, 1):
            engine.generate([ask(vocab, "hello", picture(seed))], sampling)
    assert len(seen) == 3


def test_a_second_question_reads_only_the_question(tiny_checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    vocab, sampling = tiny_checkpoint.vocabulary, Sampling(max_new_tokens=1)
    shared = 2 + tiny_checkpoint.model.config.num_image_tokens
    first, second = ask(vocab, "hello", picture(1)), ask(vocab, "where is the dog?", picture(1))
    with reading(tiny_checkpoint) as steps:
        engine.generate([first], sampling)
        engine.generate([second], sampling)
    assert [shape[1] for shape in steps] == [shared, len(first.token_ids) - 3, len(second.token_ids) - 3]


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_caches_do_not_change_a_reply(tiny_checkpoint: Checkpoint, sampling: Sampling) -> None:
    vocab = tiny_checkpoint.vocabulary
    warm, cold = new_engine(tiny_checkpoint), new_engine(tiny_checkpoint, feature_cache_images=0, prefix_cache=0)
    a, b = picture(1), picture(2)
    for images in ((a,), (b,), (a, b), (b, a), (a,), (a, b)):
        for text in ("hello", "where is the dog?"):
            prompt = ask(vocab, text, *images)
            kept, fresh = (engine.generate([prompt], sampling)[0] for engine in (warm, cold))
            assert kept == fresh  # log-probabilities included, to the last bit


def test_closing_a_stream_frees_what_it_held(tiny_checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    stream = engine.stream(ask(tiny_checkpoint.vocabulary, "hello", picture(1)), GREEDY)
    assert isinstance(stream, GeneratorType)
    next(stream)
    assert stream.gi_frame is not None
    context = weakref.ref(stream.gi_frame.f_locals["context"])
    assert isinstance(context(), Context)
    with reading(tiny_checkpoint) as steps:
        stream.close()
    assert (context(), steps, list(stream)) == (None, [], [])


def test_two_streams_at_once_do_not_mix(tiny_checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    vocab = tiny_checkpoint.vocabulary
    prompts = [ask(vocab, "hello", picture(1)), ask(vocab, "where is the dog?", picture(1))]
    alone = [engine.generate([prompt], SAMPLED)[0].token_ids for prompt in prompts]
    woven = list(zip(*(engine.stream(prompt, SAMPLED) for prompt in prompts), strict=False))
    assert [tuple(reply) for reply in zip(*woven, strict=True)] == [ids[: len(woven)] for ids in alone]


# --- what cannot be run ------------------------------------------------------------------------------


def test_a_reply_is_cut_where_the_context_ends(tiny_checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    vocab = tiny_checkpoint.vocabulary
    prompt = Prompt(token_ids=(vocab.open_paren,) * (engine.max_prompt_tokens - 2))
    answer = engine.generate([prompt], Sampling(max_new_tokens=50))[0]
    assert (len(answer.token_ids), answer.finish_reason) == (3, "length")


def test_prompts_that_cannot_be_run(tiny_checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    vocab, most = tiny_checkpoint.vocabulary, engine.max_prompt_tokens
    fitting = ask(vocab, "hello", picture(1))
    bad = [
        (Prompt(token_ids=(5,) * (most + 1)), f"has {most + 1} tokens .* at most {most}"),
        (Prompt(token_ids=fitting.token_ids), "1 <image> tokens and 0 images"),
        (Prompt(token_ids=(5,), images=fitting.images), "0 <image> tokens and 1 images"),
        (Prompt(token_ids=(5,), adapter="cats"), "adapter 'cats' is not loaded"),
        (Prompt(token_ids=(5, vocab.size)), f"token id {vocab.size}; use ids from 0 to {vocab.size - 1}"),
        (Prompt(token_ids=(-1,)), "token id -1"),
        (Prompt(token_ids=()), "0 tokens"),
        (Prompt(token_ids=(5,), constraint=Constraint(grammar="root := 5")), "the grammar 'root := 5'.* not valid"),
        (Prompt(token_ids=(5,), constraint=Constraint(grammar="root ::= Token(5)", identifiers="no/file")), "no/file"),
    ]
    for prompt, message in bad:
        with pytest.raises(GeneralistError, match=message):
            engine.generate([fitting, prompt], GREEDY)
        with pytest.raises(GeneralistError, match=message):
            engine.stream(prompt, GREEDY)


def test_images_count_towards_the_context(tiny_checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    images = engine.max_prompt_tokens // tiny_checkpoint.model.config.num_image_tokens + 1
    with pytest.raises(GeneralistError, match=f"{images} images of"):
        engine.generate([ask(tiny_checkpoint.vocabulary, "hello", *[picture(1)] * images)], GREEDY)


def test_a_prompt_may_end_with_an_image(tiny_checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    prompt = Prompt(token_ids=(5, tiny_checkpoint.vocabulary.image), images=(picture(1).convert("L"),))
    assert list(engine.generate([prompt], GREEDY)[0].token_ids) == by_hand(tiny_checkpoint, prompt, 12)[0]


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_a_broken_model_is_named(tiny_checkpoint: Checkpoint, sampling: Sampling) -> None:
    model = copy.deepcopy(tiny_checkpoint.model)
    torch.nn.init.constant_(model.lm_head.weight, float("nan"))
    engine = TransformersEngine(model, tiny_checkpoint.processor, tiny_checkpoint.vocabulary)
    with pytest.raises(RuntimeError, match="logits are not finite"):
        engine.generate([ask(tiny_checkpoint.vocabulary, "hello")], sampling)


# --- the likeliest tokens of each step ---------------------------------------------------------------------


def test_the_likeliest_tokens_come_with_their_log_probabilities(
    engine: TransformersEngine, tiny_checkpoint: Checkpoint
) -> None:
    vocab = tiny_checkpoint.vocabulary
    bound = Constraint(grammar=f"root ::= Token({vocab.loc[3]}) Token({vocab.loc[1]},{vocab.loc[2]})")
    for prompt in (ask(vocab, "hello"), ask(vocab, "hello", picture(1), constraint=bound)):
        plain = engine.generate([prompt], Sampling(max_new_tokens=6))[0]
        assert plain.top_logprobs == ()
        told = engine.generate([prompt], Sampling(max_new_tokens=6, top_logprobs=5))[0]
        assert replace(told, top_logprobs=()) == plain
        assert [top[0] for top in told.top_logprobs] == list(zip(told.token_ids, told.logprobs, strict=True))
        for top in told.top_logprobs:
            values = [logprob for _, logprob in top]
            assert values == sorted(values, reverse=True) and sum(map(math.exp, values)) <= 1 + 1e-5
    forced, choice = told.top_logprobs
    assert forced == ((vocab.loc[3], 0.0),)
    assert {token for token, _ in choice} == {vocab.loc[1], vocab.loc[2]}  # no more are possible
    assert sum(math.exp(logprob) for _, logprob in choice) == pytest.approx(1)


def test_what_is_told_is_of_the_model_whatever_is_drawn(
    engine: TransformersEngine, tiny_checkpoint: Checkpoint
) -> None:
    prompt = ask(tiny_checkpoint.vocabulary, "hello")
    drawn = Sampling(temperature=3.0, top_k=2, seed=1, max_new_tokens=1, top_logprobs=20)
    greedy = Sampling(max_new_tokens=1, top_logprobs=20)
    tops = [reply.top_logprobs[0] for one in (drawn, greedy) for reply in engine.generate([prompt], one)]
    assert tops[0] == tops[1] and len(tops[0]) == 20


# --- grammars that lead nowhere ----------------------------------------------------------------------------


def test_a_grammar_that_allows_nothing_more_ends_the_reply(
    engine: TransformersEngine, tiny_checkpoint: Checkpoint
) -> None:
    vocab = tiny_checkpoint.vocabulary
    loc, every = vocab.loc, ",".join(map(str, range(vocab.size)))
    nothing = Constraint(grammar=f"root ::= ExcludeToken({every})")
    dead_end = Constraint(grammar=f"root ::= Token({loc[1]},{loc[2]}) ExcludeToken({every})")
    prompts = [ask(vocab, "x", constraint=bound) for bound in (nothing, dead_end, None)]
    free = engine.generate([prompts[2]], Sampling(max_new_tokens=5))[0]
    alone = [engine.generate([prompt], Sampling(max_new_tokens=5))[0] for prompt in prompts[:2]]
    together = engine.generate(prompts, Sampling(max_new_tokens=5))
    for replies in (alone, together):
        assert [(len(reply.token_ids), reply.finish_reason) for reply in replies[:2]] == [(0, "stop"), (1, "stop")]
    assert together[2].token_ids == free.token_ids
    batch = Batch(engine)
    speakers = [batch.join(prompt, engine.check(prompt), Sampling(max_new_tokens=5)) for prompt in prompts]
    while len(batch):
        batch.step()
    assert [tuple(speaker.row.ids) for speaker in speakers] == [reply.token_ids for reply in together]
