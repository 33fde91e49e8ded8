import pytest

from generalist.engine import Engine
from generalist.engine.scripted import ScriptedEngine
from generalist.types import GeneralistError, Prompt, Sampling


def test_replies_come_in_order_and_start_over() -> None:
    engine: Engine = ScriptedEngine([[1, 2], [3]])
    prompt = Prompt(token_ids=(7, 8, 9))
    first, second = engine.generate([prompt, prompt], Sampling())
    assert (first.token_ids, second.token_ids) == ((1, 2), (3,))
    assert list(engine.stream(prompt, Sampling())) == [1, 2]
    assert (first.logprobs, first.finish_reason) == ((-0.1, -0.1), "stop")
    assert (first.usage.prompt_tokens, first.usage.completion_tokens) == (3, 2)


def test_what_was_asked_is_recorded() -> None:
    engine = ScriptedEngine([[1]])
    asked, sampling = Prompt(token_ids=(7,)), Sampling(seed=3)
    list(engine.stream(asked, sampling))
    engine.generate([asked], Sampling())
    assert engine.prompts == [asked, asked]
    assert engine.samplings == [sampling, Sampling()]


def test_a_reply_is_cut_at_max_new_tokens() -> None:
    cut = ScriptedEngine([[1, 2, 3]]).generate([Prompt(token_ids=(7,))], Sampling(max_new_tokens=2))[0]
    assert (cut.token_ids, cut.finish_reason) == ((1, 2), "length")


def test_no_replies_is_an_error() -> None:
    with pytest.raises(GeneralistError, match="no replies"):
        ScriptedEngine([])
