"""Questions that a language model writes, from a few examples (Promptagator: Dai et al. 2022).

Any server with OpenAI's chat completions can be asked. A question stays if searching by words for it finds the document
that it was written for (round trip); a model that wanders off, or asks what anything answers, teaches nothing.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from generalist.documents.learning.material import Material
from generalist.documents.learning.pairs import LONGEST, Pair
from generalist.documents.words import Words
from generalist.types import GeneralistError

EXAMPLES = (
    (
        "Lichens are composite organisms. The fungus gives shelter, and the alga makes sugar from light.",
        "what does the alga contribute to a lichen",
    ),
    (
        "The bridge was opened in 1932 after eight years of building. Its arch spans 503 metres.",
        "How long did it take to build the bridge that opened in 1932?",
    ),
    (
        "Basalt forms when lava cools quickly. Slow cooling deep underground gives coarse gabbro instead.",
        "Why are the grains of gabbro larger than those of basalt?",
    ),
)
"""Text and a question to it."""
FOUND_AMONG = 3
"""A question stays if its document is among so many found first."""
MOST_EXAMPLES = 8
_SYSTEM = (
    "You are given a text. Write questions that somebody who has not seen the text might ask, and that it answers. "
    "Name what they are about. Write one question a line and nothing else."
)
_LONGEST_TEXT = 3000
"""Letters of a document that are shown."""
_AT_ONCE = 8
_TRIES = 4
_BUSY = (429, 500, 502, 503, 504)
_SECONDS = 120.0
_BULLET = re.compile(r"^\s*(?:[-*\N{BULLET}]|\(?\d+[.):])\s*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """Who writes. ``url`` is that of the API (``http://host:8000/v1``); $OPENAI_API_KEY is sent where it is set.

    ``each``: questions of a document; ``most``: documents, drawn at random from more.
    """

    url: str
    model: str
    examples: tuple[tuple[str, str], ...] = EXAMPLES
    each: int = 3
    most: int = 2000

    def __post_init__(self) -> None:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise GeneralistError(f"--queries-from is {self.url!r}; give the URL of an API, as http://host:8000/v1")
        if not self.model:
            raise GeneralistError("--queries-from needs the name of a model there; give it with --queries-model")
        for name, value in (("questions of a document", self.each), ("documents", self.most)):
            if value < 1:
                raise GeneralistError(f"{value} {name} are to be written; use 1 or more")


def read_examples(path: Path) -> tuple[tuple[str, str], ...]:
    """Up to :data:`MOST_EXAMPLES` of a jsonl file with ``text`` and ``question``; :class:`GeneralistError` else."""
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        found = [(entry["text"], entry["question"]) for entry in map(json.loads, lines)]
    except OSError as error:
        raise GeneralistError(f"{path}: cannot read the examples ({error.strerror}); name another file") from error
    except (ValueError, KeyError, TypeError) as error:
        raise GeneralistError(f'{path}: an example is a line {{"text": "...", "question": "..."}}') from error
    if not 1 <= len(found) <= MOST_EXAMPLES or not all(isinstance(part, str) and part for one in found for part in one):
        raise GeneralistError(f"{path}: {len(found)} examples; give 1 to {MOST_EXAMPLES}, none of them empty")
    return tuple(found)


def written_pairs(
    writing: Writing,
    material: Material,
    words: Words,
    kept: Path,
    *,
    seed: int = 0,
    notice: Callable[[int, int], object] = lambda done, total: None,
) -> list[Pair]:
    """Questions to the documents of ``material``, those that found their way back.

    What was written is in the file ``kept``, and is not asked for again. ``notice`` is told of documents; what it
    raises ends the writing. Raises :class:`GeneralistError` for a server that gives no answer.
    """
    documents = sorted(material.of_document)
    chosen = sorted(np.random.default_rng(seed).permutation(documents)[: writing.most].tolist())
    answers = _kept(kept)
    missing = [number for number in chosen if material.ids[number] not in answers]
    with kept.open("a", encoding="utf-8") as file:
        for number, questions in _written(writing, material, missing):
            answers[material.ids[number]] = questions
            file.write(json.dumps({"document": material.ids[number], "questions": questions}) + "\n")
            file.flush()
            notice(sum(material.ids[one] in answers for one in chosen), len(chosen))
    pairs = [
        Pair(question=question, sentence=_speaks_most(question, number, material, words))
        for number in chosen
        for question in answers[material.ids[number]]
        if number in [found for found, _ in words.search([question], FOUND_AMONG)[0]]
    ]
    if not pairs:
        raise GeneralistError(
            f"{writing.url}: of {sum(map(len, answers.values()))} questions that {writing.model} wrote none finds its "
            "document; use another model"
        )
    return pairs


def _kept(path: Path) -> dict[str, list[str]]:
    """What was written before; a line that was cut is none."""
    found: dict[str, list[str]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                entry = json.loads(line)
                found[entry["document"]] = [str(one) for one in entry["questions"]]
            except (ValueError, KeyError, TypeError):
                continue
        beside = path.with_name(f"{path.name}.part")
        lines = (json.dumps({"document": id, "questions": questions}) + "\n" for id, questions in found.items())
        beside.write_text("".join(lines), encoding="utf-8")
        beside.replace(path)
    return found


def _speaks_most(question: str, document: int, material: Material, words: Words) -> int:
    """The sentence of a document with most, and the rarest, words of a question."""
    numbers = material.of_document[document]
    weights = [sum(rarity for *_, rarity in words.matches(question, material.sentences[k].text)) for k in numbers]
    return numbers[int(np.argmax(weights))]


# --- the server ----------------------------------------------------------------------------------------


def _written(writing: Writing, material: Material, documents: Sequence[int]) -> Iterator[tuple[int, list[str]]]:
    """Questions of each document, in order; a few are asked for at once."""
    import httpx

    key = os.environ.get("OPENAI_API_KEY")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with (
        httpx.Client(headers=headers, timeout=_SECONDS) as client,
        ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="questions") as pool,
    ):
        try:
            for begin in range(0, len(documents), _AT_ONCE):
                batch = documents[begin : begin + _AT_ONCE]
                answers = pool.map(lambda number: _ask(client, writing, _text(material, number)), batch)
                yield from zip(batch, answers, strict=True)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _text(material: Material, document: int) -> str:
    sentences = (material.sentences[k].text for k in material.of_document[document])
    return f"{material.titles[document]}\n{' '.join(sentences)}".strip()[:_LONGEST_TEXT]


def _ask(client: Any, writing: Writing, text: str) -> list[str]:
    messages = [{"role": "system", "content": _SYSTEM}]
    for shown, question in writing.examples:
        messages += [{"role": "user", "content": shown}, {"role": "assistant", "content": question}]
    messages.append({"role": "user", "content": text})
    body = {"model": writing.model, "messages": messages, "max_tokens": 64 * writing.each, "temperature": 0.7}
    content = _post(client, f"{writing.url.rstrip('/')}/chat/completions", body)
    lines = (" ".join(_BULLET.sub("", line).split()) for line in content.splitlines())
    usable = (line for line in lines if len(line.split()) >= 2 and len(line) <= LONGEST)
    return list(dict.fromkeys(usable))[: writing.each]


def _post(client: Any, url: str, body: dict[str, Any]) -> str:
    """The text of an answer; tried again where the server is busy."""
    response = _answer(client, url, body)
    if response.status_code != 200:
        said = " ".join(response.text.split())[:200]
        raise GeneralistError(f"{url} answered {response.status_code} ({said}); check --queries-from and "
                              "--queries-model")  # fmt: skip
    try:
        content = response.json()["choices"][0]["message"]["content"]
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise GeneralistError(f"{url}: the answer is no chat completion; check --queries-from") from error
    return content if isinstance(content, str) else ""


def _answer(client: Any, url: str, body: dict[str, Any]) -> Any:
    import httpx

    for attempt in range(_TRIES):
        last = attempt + 1 == _TRIES
        try:
            response = client.post(url, json=body)
            if last or response.status_code not in _BUSY:
                return response
        except httpx.HTTPError as error:
            if last:
                reason = " ".join(str(error).split())[:100] or type(error).__name__
                raise GeneralistError(f"{url}: no answer ({reason}); check --queries-from") from error
        time.sleep(2.0**attempt)
    raise AssertionError
