"""A composed base against its parents: their weights, their words, and a line that works before it has learnt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from generalist import Generalist
from generalist.cli import execute
from generalist.composing import ComposeOptions, compose
from generalist.engine.transformers_engine import TransformersEngine
from generalist.model import Checkpoint, load_checkpoint
from generalist.prompt import build
from generalist.tokens import Vocabulary
from generalist.types import ChatRequest, GeneralistError, Message, Prompt, Sampling

from .conftest import Composed

NEW_TOKENS = 12
WORDS = ("dog", "sofa", "mug", "cat", "map")
PROMPTS = (
    *(f"Where is the {word}?" for word in WORDS),
    *(f"What is a {word}? Say it in {count} words." for word in WORDS for count in (2, 7)),
    *(f"a[{count}] = [{count}] * <loc_0001>" for count in range(10)),  # what reads like tokens of ours
    *(f"  {word}\n\n\t(or {word.upper()})  " for word in WORDS),
    *(
        "été",
        "東京はどこ?",
        "🙂🙃",
        "x" * 90,
        "<b>bold</b>",
        "<think> hard",
        "\\n",
        '{"a": [1, 2]}',
        "%s %d",
        "- Name: a",
    ),
    *(f"{count} + {count} =" for count in range(10)),
)
assert len(PROMPTS) == 50


def conversation(*texts: str) -> ChatRequest:
    """Texts of the user and the assistant by turns."""
    roles = ("user", "assistant")
    return ChatRequest(
        messages=tuple(Message(role=roles[turn % 2], text=text) for turn, text in enumerate(texts)),  # type: ignore[arg-type]
        task="chat",
        sampling=Sampling(),
    )


def their_ids(tokenizer: Any, *texts: str) -> list[int]:
    """The prompt of the language model itself."""
    if not tokenizer.chat_template:
        return list(tokenizer("\n".join(texts))["input_ids"])
    turns = [{"role": ("user", "assistant")[turn % 2], "content": text} for turn, text in enumerate(texts)]
    found = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
    return list(found)


def their_answer(llm: Any, ids: Sequence[int], new_tokens: int) -> list[int]:
    """Greedy, without the token that ends it."""
    ends = llm.generation_config.eos_token_id
    ends = ends if isinstance(ends, list) else [ends]
    settings = GenerationConfig(do_sample=False, max_new_tokens=new_tokens, eos_token_id=ends, pad_token_id=ends[0])
    prompt = torch.tensor([list(ids)])
    new = llm.generate(prompt, attention_mask=torch.ones_like(prompt), generation_config=settings)[
        0, len(ids) :
    ].tolist()
    return new[:-1] if new and new[-1] in ends else new


def check_same_answers(out: Path, llm_folder: Path, new_tokens: int) -> None:
    """The 50 prompts alone to the language model, and in one batch to the composed base."""
    llm = AutoModelForCausalLM.from_pretrained(llm_folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(llm_folder)
    checkpoint = load_checkpoint(out)
    prompts = [build(conversation(text), checkpoint.vocabulary) for text in PROMPTS]
    assert [list(prompt.token_ids) for prompt in prompts] == [their_ids(tokenizer, text) for text in PROMPTS]
    engine = TransformersEngine(checkpoint.model, checkpoint.processor, checkpoint.vocabulary)
    # Without a grammar, so that nothing keeps the new tokens from being said.
    answers = engine.generate(prompts, Sampling(max_new_tokens=new_tokens))
    expected = [their_answer(llm, prompt.token_ids, new_tokens) for prompt in prompts]
    assert [list(answer.token_ids) for answer in answers] == expected
    assert len({tuple(answer) for answer in expected}) > 10  # it does answer


def test_plain_answers_are_those_of_the_language_model(composed: Composed) -> None:
    check_same_answers(composed.out, composed.llm, NEW_TOKENS)


def test_plain_answers_of_smollm2_are_its_own(
    shared_data: Callable[[str], Path], tiny_checkpoint: Checkpoint, tmp_path: Path
) -> None:
    llm = shared_data("SmolLM2-135M-Instruct")
    out = compose(ComposeOptions(vision=str(tiny_checkpoint.folder), llm=str(llm), out=tmp_path / "base"))
    check_same_answers(out, llm, new_tokens=12)


def test_old_weights_are_untouched(composed: Composed, loaded: Checkpoint) -> None:
    llm: Any = AutoModelForCausalLM.from_pretrained(composed.llm)
    theirs, ours = llm.base_model.state_dict(), loaded.model.model.language_model.state_dict()
    assert set(theirs) == set(ours)
    base = loaded.vocabulary.base
    assert base is not None
    for name, weight in theirs.items():
        kept = ours[name]
        rows = len(weight) if kept.shape == weight.shape else base.tokens
        assert torch.equal(kept[:rows], weight[:rows]), name
    head = llm.get_output_embeddings().weight
    assert torch.equal(loaded.model.lm_head.weight[: base.tokens], head[: base.tokens])
    tied = loaded.model.lm_head.weight is loaded.model.get_input_embeddings().weight
    assert tied == (head is llm.get_input_embeddings().weight)


def test_new_rows_begin_near_the_mean(composed: Composed, loaded: Checkpoint) -> None:
    vocabulary = loaded.vocabulary
    assert vocabulary.base is not None
    first = vocabulary.base.tokens
    for table in (loaded.model.get_input_embeddings().weight.detach(), loaded.model.lm_head.weight.detach()):
        mean, spread = table[:first].mean(0), table[:first].std(0)
        away = ((table[first : vocabulary.size] - mean) / spread).pow(2).mean(1).sqrt()
        assert float(away.min()) > 0 and float(away.max()) < 0.8
        assert len(table[first : vocabulary.size].unique(dim=0)) == vocabulary.size - first
        locs = table[list(vocabulary.loc)]
        near, far = (locs[1:] - locs[:-1]).norm(dim=1), (locs[:16] - locs[-16:]).norm(dim=1)
        assert float(near.max()) < float(far.mean()) / 2  # smooth along the coordinate


def test_the_seed_decides_what_is_new(one_composed: Composed, tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> bytes:
        options = ComposeOptions(
            vision=str(one_composed.vision), llm=str(one_composed.llm), out=tmp_path / name, locs=64, seed=seed
        )
        return (compose(options) / "model.safetensors").read_bytes()

    with torch.random.fork_rng():
        torch.manual_seed(123)  # which has no say
        assert weights("again", 5) == (one_composed.out / "model.safetensors").read_bytes()
    assert weights("other", 6) != (one_composed.out / "model.safetensors").read_bytes()


def test_conversations_without_images_are_in_the_template(composed: Composed, loaded: Checkpoint) -> None:
    tokenizer = AutoTokenizer.from_pretrained(composed.llm)
    texts = ("Who are you?", "A cat.", " Where? ")
    ids = list(build(conversation(*texts), loaded.vocabulary).token_ids)
    if tokenizer.chat_template:
        assert ids == their_ids(tokenizer, *texts)
    else:
        assert loaded.vocabulary.decode_text(ids) == "Who are you?\nA cat. Where? "
        assert loaded.vocabulary.eos in ids
    turns = [{"role": "user", "content": [{"type": "text", "text": "Who are you?"}]}]
    text = loaded.processor.apply_chat_template(turns, add_generation_prompt=True)
    own = loaded.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert own == list(build(conversation("Who are you?"), loaded.vocabulary).token_ids)


def test_conversations_with_images_are_in_our_turns(loaded: Checkpoint) -> None:
    message = Message(role="user", text="What is it?", images=(Image.new("RGB", (8, 8)),))
    request = ChatRequest(messages=(message,), task="chat", sampling=Sampling())
    ids = list(build(request, loaded.vocabulary).token_ids)
    names = [loaded.vocabulary.name(token) for token in ids]
    assert names[1:3] == ["<user>", "<image>"] and names[-1] == "<assistant>"
    turns = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is it?"}]}]
    text = loaded.processor.apply_chat_template(turns, add_generation_prompt=True)
    assert loaded.processor.tokenizer(text, add_special_tokens=False)["input_ids"] == ids


@pytest.mark.parametrize("where", ["Hello{}", "{} Hello", "a{}{}b", "{}"])
def test_what_a_user_types_is_never_special(composed: Composed, loaded: Checkpoint, where: str) -> None:
    vocabulary = loaded.vocabulary
    assert vocabulary.base is not None
    plain = [token for token in build(conversation("Hello"), vocabulary).token_ids if not vocabulary.is_text(token)]
    for name in (
        *vocabulary.base.ends,
        "<image>",
        "<user>",
        "[0]",
        "<loc_0001>",
        "\U0010fffd",
        "\U0010fffd0\U0010fffd",
    ):
        text = where.format(name, name)
        ids = build(conversation(text), vocabulary).token_ids
        assert [token for token in ids if not vocabulary.is_text(token)] == plain
        said = b"".join(vocabulary.text_bytes(token) or b"" for token in ids).decode()
        assert text in said


def test_a_system_message_that_the_template_refuses(compose_kind: Callable[[str], Composed]) -> None:
    vocabulary = Vocabulary.load(compose_kind("gemma").out)
    request = ChatRequest(
        messages=(Message(role="system", text="Be kind."), Message(role="user", text="Hello")),
        task="chat",
        sampling=Sampling(),
    )
    with pytest.raises(GeneralistError, match="System role not supported"):
        build(request, vocabulary)


def test_answers_about_images_are_well_formed(composed: Composed) -> None:
    model = Generalist.from_pretrained(composed.out, device="cpu")
    images = [Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 20 + 20 * index).convert("RGB") for index in range(3)]
    short = Sampling(max_new_tokens=40)
    questions = [(image, "Where is the dog?") for image in images]
    together = model.ask_many(questions, task="detect", sampling=short)
    alone = [model.ask(image, text, task="detect", sampling=short) for image, text in questions]
    assert [answer.reply for answer in together] == [answer.reply for answer in alone]
    for answer in alone:
        assert not answer.reply.issues or answer.finish_reason == "length"
    assert model.ask(None, "Who are you?", sampling=short).usage.completion_tokens > 0


def test_the_line_keeps_to_text_without_images(composed: Composed) -> None:
    model = Generalist.from_pretrained(composed.out, device="cpu")
    answer = model.ask(None, "Where is the dog?", sampling=Sampling(max_new_tokens=12))
    assert not answer.outputs and not answer.reply.issues


def test_the_folder(composed: Composed) -> None:
    files = {path.name for path in composed.out.iterdir()}
    assert {path for path in files if path.endswith((".bin", ".pt", ".pth", ".pkl", ".py"))} == set()
    assert {"model.safetensors", "vocabulary.json", "mask_codec.safetensors", "chat_template.jinja"} <= files
    card = (composed.out / "README.md").read_text()
    assert f"`{composed.llm.name}`" in card and f"`{composed.vision.name}`" in card
    assert str(composed.llm) not in card  # a path means nothing elsewhere
    assert not list(composed.out.parent.glob(".*"))


def test_the_commands(one_composed: Composed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, image = tmp_path / "base", tmp_path / "image.png"
    Image.new("RGB", (20, 20), "red").save(image)
    parents = ["--vision", str(one_composed.vision), "--llm", str(one_composed.llm)]
    assert execute(["compose", *parents, "--out", str(out), "--locs", "64", "--seed", "5"]) == 0
    assert str(out) in capsys.readouterr().out
    asked = ["ask", str(image), "What is it?", "--model", str(out), "--device", "cpu", "--engine", "transformers"]
    assert execute([*asked, "--max-new-tokens", "5", "--json"]) == 0
    assert '"text"' in capsys.readouterr().out
    assert execute(["compose", *parents, "--out", str(out)]) == 2
    assert "exists; name a new folder" in capsys.readouterr().err


def test_generate_of_transformers(one_composed: Composed, loaded: Checkpoint) -> None:
    prompt: Prompt = build(conversation("Who are you?"), loaded.vocabulary)
    ids = torch.tensor([prompt.token_ids])
    found = loaded.model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False)
    engine = TransformersEngine(loaded.model, loaded.processor, loaded.vocabulary)
    (answer,) = engine.generate([prompt], Sampling(max_new_tokens=6))
    said = [token for token in found[0, ids.shape[1] :].tolist() if token not in loaded.vocabulary.ends]
    assert said == list(answer.token_ids)
