"""The shipped model says in vLLM what it says in transformers, however it is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest
import torch

from generalist.engine.transformers_engine import TransformersEngine
from generalist.model import Checkpoint
from generalist.types import GeneralistError, Generation, Prompt, Sampling

from .support import ask, expanded, free, run_in_vllm, sample

if TYPE_CHECKING:
    from generalist_serving.vllm_engine.engine import VllmEngine

GREEDY = Sampling(max_new_tokens=24)


def assert_same(ours: Sequence[Generation], theirs: Sequence[Generation]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one.token_ids == other.token_ids and one.usage == other.usage
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-3)


def test_replies_over_all_tasks_are_the_same(
    vllm_engine: VllmEngine, transformers_engine: TransformersEngine, questions: list[Prompt]
) -> None:
    assert_same(vllm_engine.generate(questions, GREEDY), transformers_engine.generate(questions, GREEDY))


def test_replies_without_a_grammar_are_the_same(
    vllm_engine: VllmEngine, transformers_engine: TransformersEngine, questions: list[Prompt]
) -> None:
    some = free(questions[::3])
    assert_same(vllm_engine.generate(some, GREEDY), transformers_engine.generate(some, GREEDY))


def test_several_images_and_none(
    vllm_engine: VllmEngine, transformers_engine: TransformersEngine, nano: Checkpoint
) -> None:
    pictures = [sample(name) for name in ("street", "desk", "orchard", "street")]
    prompts = [
        ask("What is in the second picture?", pictures, nano.vocabulary),
        ask("Where is the dog?", pictures[:2], nano.vocabulary),
        ask("Hello there.", [], nano.vocabulary),
    ]
    assert_same(vllm_engine.generate(prompts, GREEDY), transformers_engine.generate(prompts, GREEDY))


def test_every_token_of_a_prompt_is_as_likely(
    vllm_engine: VllmEngine, questions: list[Prompt], nano: Checkpoint
) -> None:
    for prompt in questions[::11]:
        ids = torch.tensor([expanded(prompt, nano)])
        pixels = nano.processor.image_processor(list(prompt.images))["pixel_values"]
        with torch.inference_mode():
            logits = nano.model(input_ids=ids, pixel_values=pixels).logits
        expected = logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        (output,) = vllm_engine.call(run_in_vllm([in_vllm(prompt)], max_tokens=1, prompt_logprobs=0))
        assert output.prompt_token_ids == ids[0].tolist()
        pairs = zip(output.prompt_token_ids[1:], output.prompt_logprobs[1:], strict=True)
        assert [each[token].logprob for token, each in pairs] == pytest.approx(expected.tolist(), abs=1e-3)


def test_a_conversation_in_the_chat_template_becomes_the_same_prompt(vllm_engine: VllmEngine, nano: Checkpoint) -> None:
    image = sample("orchard")
    content = [{"type": "text", "text": "Where is the red apple?"}, {"type": "image_url"}]
    text = nano.processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    raw = {"prompt": text, "multi_modal_data": {"image": image}}
    (output,) = vllm_engine.call(run_in_vllm([raw], max_tokens=1))
    assert output.prompt_token_ids == expanded(ask("Where is the red apple?", [image], nano.vocabulary), nano)


@pytest.fixture
def takes_embeddings(vllm_engine: VllmEngine) -> Iterator[None]:
    """As with ``enable_mm_embeds``, which vLLM asks for because whoever may send embeddings must be trusted."""

    def switch(on: bool) -> None:
        vllm_engine.call(lambda vllm: setattr(vllm.model_config.multimodal_config, "enable_mm_embeds", on))

    switch(True)
    yield
    switch(False)


@pytest.mark.usefixtures("takes_embeddings")
def test_embeddings_stand_for_an_image(vllm_engine: VllmEngine, questions: list[Prompt], nano: Checkpoint) -> None:
    prompt = questions[2]
    pixels = nano.processor.image_processor(list(prompt.images))["pixel_values"]
    with torch.inference_mode():
        features = nano.model.get_image_features(pixels).pooler_output
    assert features is not None
    prompts = [in_vllm(prompt), in_vllm(prompt, [features[0]]), in_vllm(prompt, features)]
    outputs = vllm_engine.call(run_in_vllm(prompts, max_tokens=8))
    assert len({tuple(output.outputs[0].token_ids) for output in outputs}) == 1
    for wrong in (features[0, 1:], features[0, :, 1:]):
        shape = str(tuple(wrong.shape)).replace("(", r"\(").replace(")", r"\)")
        with pytest.raises(GeneralistError, match=f"image 0 have the shape {shape}; an image .* has .144, 256"):
            vllm_engine.call(run_in_vllm([in_vllm(prompt, [wrong])], max_tokens=1))


def test_a_prompt_with_another_number_of_images_is_refused(vllm_engine: VllmEngine, questions: list[Prompt]) -> None:
    for copies, places in ((2, 1), (1, 2)):
        prompt = questions[0]
        ids = [i for token in prompt.token_ids for i in [token] * (places if token == prompt.token_ids[2] else 1)]
        raw = {"prompt_token_ids": ids, "multi_modal_data": {"image": list(prompt.images) * copies}}
        with pytest.raises(GeneralistError, match=f"has {places} <image> tokens and {copies} images; give one image"):
            vllm_engine.call(run_in_vllm([raw], max_tokens=1))


def in_vllm(prompt: Prompt, images: Any = None) -> dict[str, Any]:
    images = list(prompt.images) if images is None else images
    return {"prompt_token_ids": list(prompt.token_ids), "multi_modal_data": {"image": images}}
