import random

import pytest
import torch
from PIL import Image

from generalist.constrain import reply_constraint
from generalist.engine.batch import Batch, Speaker
from generalist.engine.context import Context
from generalist.engine.transformers_engine import TransformersEngine
from generalist.model import Checkpoint, GeneralistConfig, GeneralistForConditionalGeneration, GeneralistProcessor
from generalist.tokens import ASSISTANT, BOS, USER, Vocabulary
from generalist.types import Constraint, GeneralistError, Prompt, Sampling


@pytest.fixture
def engine(tiny_checkpoint: Checkpoint) -> TransformersEngine:
    return TransformersEngine(tiny_checkpoint.model, tiny_checkpoint.processor, tiny_checkpoint.vocabulary)


def picture(seed: int) -> Image.Image:
    pixels = torch.randint(0, 256, (40, 50, 3), generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(pixels.to(torch.uint8).numpy())


def ask(vocab: Vocabulary, text: str, *images: Image.Image, constraint: Constraint | None = None) -> Prompt:
    s = vocab.structure
    ids = [s[BOS], s[USER], *[vocab.image] * len(images), *vocab.encode_text(text), s[ASSISTANT]]
    return Prompt(token_ids=tuple(ids), images=images, constraint=constraint)


def requests(vocab: Vocabulary) -> list[tuple[Prompt, Sampling]]:
    """Prompts of many lengths, each with a sampling of its own."""
    drawn = reply_constraint(vocab, ("box", "mask"), plan=True)
    forced = Constraint(grammar=f"root ::= Token({vocab.loc[1]}) Token({vocab.loc[2]})")
    prompts = [
        ask(vocab, "a much longer question than any of the others", picture(1)),
        ask(vocab, "text only"),
        ask(vocab, "where?", picture(2), picture(1), constraint=drawn),
        ask(vocab, "hello", picture(2), constraint=drawn),
        ask(vocab, "said at once", constraint=forced),
        ask(vocab, "x"),
    ]
    return [
        (prompt, Sampling(temperature=temperature, seed=number, top_k=top_k, max_new_tokens=3 + 3 * number))
        for temperature, top_k in ((0.0, 0), (1.5, 0), (1.0, 3))
        for number, prompt in enumerate(prompts)
    ]


def join(batch: Batch, engine: TransformersEngine, prompt: Prompt, sampling: Sampling) -> Speaker:
    return batch.join(prompt, engine.check(prompt), sampling)


def run(batch: Batch) -> None:
    for _ in range(1000):
        if not len(batch):
            return
        batch.step()
    raise AssertionError("the batch does not end")


@pytest.mark.parametrize("seed", range(2))
def test_a_reply_does_not_depend_on_who_comes_and_goes(
    tiny_checkpoint: Checkpoint, engine: TransformersEngine, seed: int
) -> None:
    chance = random.Random(seed)
    asked = requests(tiny_checkpoint.vocabulary)
    chance.shuffle(asked)
    batch, speakers, waiting = Batch(engine), [], list(asked)
    while waiting or len(batch):
        for _ in range(chance.randint(0, 3)):
            if waiting:
                speakers.append(join(batch, engine, *waiting.pop(0)))
        if chance.random() < 0.2:  # a stranger who soon has enough
            stranger = join(batch, engine, *chance.choice(asked))
            batch.step()
            batch.leave(stranger)
        batch.step()
    for (prompt, sampling), speaker in zip(asked, speakers, strict=True):
        alone = engine.generate([prompt], sampling)[0]
        assert tuple(speaker.row.ids) == alone.token_ids
        assert speaker.row.logprobs == pytest.approx(alone.logprobs, abs=1e-4)
        assert speaker.row.finish_reason == alone.finish_reason


def test_the_first_token_is_there_at_once(tiny_checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    batch = Batch(engine)
    speaker = join(batch, engine, ask(tiny_checkpoint.vocabulary, "hello"), Sampling(max_new_tokens=2))
    assert (len(speaker.row.ids), speaker.is_speaking, len(batch)) == (1, True, 1)
    batch.step()
    assert (len(speaker.row.ids), speaker.is_speaking, len(batch)) == (2, False, 0)
    batch.step()  # of nothing


def test_who_leaves_says_nothing_more(tiny_checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    vocab, batch = tiny_checkpoint.vocabulary, Batch(engine)
    first, second = (join(batch, engine, ask(vocab, text), Sampling(max_new_tokens=20)) for text in ("a", "b"))
    batch.step()
    batch.leave(first)
    batch.leave(first)
    run(batch)
    assert (len(first.row.ids), len(second.row.ids)) == (2, 20)


def test_a_wrong_grammar_hurts_nobody_else(tiny_checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    vocab, batch = tiny_checkpoint.vocabulary, Batch(engine)
    speaker = join(batch, engine, ask(vocab, "hello"), Sampling(max_new_tokens=20))
    with pytest.raises(GeneralistError, match="not valid"):
        join(batch, engine, ask(vocab, "hello", constraint=Constraint(grammar="root ::= (")), Sampling())
    run(batch)
    assert len(speaker.row.ids) == 20


def test_padding_goes_when_nobody_needs_it(tiny_checkpoint: Checkpoint, engine: TransformersEngine) -> None:
    vocab, batch = tiny_checkpoint.vocabulary, Batch(engine)
    long = join(batch, engine, ask(vocab, "a long question " * 10), Sampling(max_new_tokens=3))
    short = join(batch, engine, ask(vocab, "x"), Sampling(max_new_tokens=20))
    widths: list[int] = []
    read = Context.read

    def note(self: Context, *args: object) -> torch.Tensor:
        logits = read(self, *args)  # type: ignore[arg-type]
        widths.append(self._cache.get_seq_length())
        return logits

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Context, "read", note)
        run(batch)
    assert not long.is_speaking and len(short.row.ids) == 20
    asked = len(ask(vocab, "x").token_ids)
    assert widths[0] > 50 and widths[-1] == asked + 19


def test_models_whose_caches_take_no_rows_answer_too(vocab: Vocabulary) -> None:
    """A sliding window counts columns of the cache, so that rows of different lengths cannot share one."""
    narrow = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = GeneralistConfig.for_vocabulary(
        vocab,
        vision_config={"model_type": "generalist_vision", **narrow, "image_size": 32, "stem": "patch"},
        text_config={"model_type": "mistral", **narrow, "num_key_value_heads": 2, "sliding_window": 8,
                     "initializer_range": 0.2},
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GeneralistForConditionalGeneration(config)
    engine = TransformersEngine(model, GeneralistProcessor.for_model(config, vocab), vocab)
    batch, prompts = Batch(engine), [ask(vocab, "a longer question"), ask(vocab, "hello", picture(1))]
    speakers = [join(batch, engine, prompt, Sampling(max_new_tokens=20)) for prompt in prompts]
    run(batch)
    for prompt, speaker in zip(prompts, speakers, strict=True):
        assert tuple(speaker.row.ids) == engine.generate([prompt], Sampling(max_new_tokens=20))[0].token_ids
