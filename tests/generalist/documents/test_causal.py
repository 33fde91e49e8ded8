"""Any causal language model as a base."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from transformers import LlamaForCausalLM

from generalist.documents import Collection, Searcher, SearchOptions, build_index
from generalist.documents.asking import Question
from generalist.documents.bases import check_base, load_base
from generalist.documents.beam import BeamOptions, write
from generalist.documents.models import load_model
from generalist.identifiers import load_identifiers
from generalist.types import GeneralistError

from ...conftest import make_tokenizer
from .conftest import DOCUMENTS


@pytest.fixture(scope="module")
def index(llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("causal") / "index"
    build_index(DOCUMENTS, place, base=llama)
    return place


def test_its_search_is_that_of_the_plain_model(llama: Path, index: Path) -> None:
    collection = Collection.open(index)
    model = load_model(load_base(llama), "cpu")
    asked = [Question(text="Who?"), Question(text="Where is the longer question about the mug?")]
    found = write(model, collection.automaton(), asked, BeamOptions(width=3, length=4))
    plain = LlamaForCausalLM.from_pretrained(llama)
    for question, search in zip(asked, found, strict=True):
        start = collection.tokenizer.encode(f"Question: {question.text}\nDocument:").ids
        for one in search.written:
            ids = torch.tensor([[*start, *one.tokens]])
            with torch.inference_mode():
                logprobs = plain(ids).logits.float().log_softmax(-1)[0]
            places = range(len(start) - 1, len(start) - 1 + len(one.tokens))
            assert one.logprob == pytest.approx(sum(logprobs[at, ids[0, at + 1]].item() for at in places), abs=1e-3)


def test_every_granularity_finds_something(llama: Path, index: Path) -> None:
    searcher = Searcher(Collection.open(index), partial(write, load_model(load_base(llama), "cpu")))
    for granularity in ("document", "passage", "sentence", "entity"):
        question = Question(text="the dog", granularity=granularity)  # type: ignore[arg-type]
        assert searcher.search([question], SearchOptions(mode="generative", beams=BeamOptions(length=12)))[0]


def test_it_has_no_doc_tokens(index: Path) -> None:
    with pytest.raises(GeneralistError, match="cannot write <doc>"):
        load_identifiers(index)


def test_another_model_is_refused(index: Path) -> None:
    with pytest.raises(GeneralistError, match=r"is in the tokens of .*llama.*, the model nano has others"):
        check_base(load_base("nano"), Collection.open(index).index.base, index)


def test_what_cannot_be_loaded_or_asked(llama: Path, tmp_path: Path) -> None:
    make_tokenizer().save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(GeneralistError, match="cannot load a causal language model"):
        load_model(load_base(tmp_path), "cpu")
    model = load_model(load_base(llama), "cpu")
    with pytest.raises(GeneralistError, match="use at most 448 with this model"):
        model.read([Question(text="word " * 300)])
