"""``generalist index``: making, changing and looking at document indexes."""

# No "from __future__ import annotations": typer reads the annotations as objects.

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from generalist.cli import options as o

if TYPE_CHECKING:
    from generalist.index import Index
    from generalist_datasets.records import Document

index = typer.Typer(help="Make indexes of documents.", no_args_is_help=True, rich_markup_mode="rich")

_Index = Annotated[Path, typer.Argument(metavar="INDEX", help="The folder of an index.")]
_Corpus = Annotated[
    Path,
    typer.Argument(
        metavar="CORPUS",
        help="BEIR, TREC or SQuAD files, a folder of text, Markdown and PDF, or world/cards, about the world's things.",
    ),
]
_Format = Annotated[
    str | None, typer.Option("--format", help="beir, squad, trec or texts; by default found from the contents.")
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_Minutes = Annotated[
    float, typer.Option("--minutes", help="About how long each is learnt, by the speed of the first steps.")
]

_FIRST_IDS = 5


@index.command(
    "build",
    help="Index the documents of a corpus. An index that is there already is replaced, once the new one is whole.",
    epilog="Example: generalist index build notes/ --out notes.index",
)
def _build(
    corpus: _Corpus,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="A new folder, or the one of an index.")],
    base: Annotated[
        str,
        typer.Option(
            "--base", help="Whose tokens: a model that ships (nano), a checkpoint, or a causal language model's folder."
        ),
    ] = "nano",
    train: Annotated[
        bool, typer.Option("--train", help="Then teach the base to write identifiers, as `index train` does.")
    ] = False,
    dense: Annotated[bool, typer.Option("--dense", help="Then teach it to make vectors, for mode dense.")] = False,
    minutes: _Minutes = 30.0,
    device: o.Device = "auto",
    format: _Format = None,
    as_json: _Json = False,
) -> None:
    from generalist.documents.build import build_index

    with _progress() as progress:
        built = build_index(_documents(corpus, format), out, base=base, progress=progress)
    if train or dense:
        from generalist.cli.learning import learn
        from generalist.documents.learning import LearningOptions

        modes = [*(["dense"] if dense else []), *(["generative"] if train else [])]
        built = learn(out, LearningOptions(modes=tuple(modes), minutes=minutes, device=device))  # type: ignore[arg-type]
    _show(built, as_json)


@index.command(
    "train",
    help="Teach the base of an index its documents, by questions made from their text: to write identifiers, or to "
    "make vectors. Interrupted, the same command goes on; until it is done the index stays as it was.",
    epilog="Example: generalist index train notes.index --mode dense --mode generative --minutes 60",
)
def _train(
    folder: _Index,
    modes: Annotated[
        list[str] | None, typer.Option("--mode", help="generative or dense; repeatable. By default generative.")
    ] = None,
    minutes: _Minutes = 30.0,
    steps: Annotated[int | None, typer.Option("--steps", help="How many, instead of minutes.")] = None,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="The highest.")] = 5e-4,
    rank: Annotated[int, typer.Option("--rank", help="Of the low-rank updates.")] = 16,
    seed: Annotated[int, typer.Option("--seed", help="Of every choice.")] = 0,
    queries_from: Annotated[
        str | None,
        typer.Option("--queries-from", metavar="URL", help="Also learn from questions that a language model writes: "
                     "an API like OpenAI's. It gets the documents; $OPENAI_API_KEY is sent if set."),
    ] = None,
    queries_model: Annotated[str, typer.Option("--queries-model", metavar="NAME", help="Which model there.")] = "",
    queries_examples: Annotated[
        Path | None,
        typer.Option("--queries-examples", metavar="FILE", help='Up to 8 lines of {"text": ..., "question": ...}.'),
    ] = None,
    device: o.Device = "auto",
    as_json: _Json = False,
) -> None:  # fmt: skip
    from generalist.cli.learning import learn
    from generalist.documents.learning import LearningOptions
    from generalist.documents.learning.written import EXAMPLES, Writing, read_examples
    from generalist.types import GeneralistError

    writing = None
    if queries_from is not None:
        examples = EXAMPLES if queries_examples is None else read_examples(queries_examples)
        writing = Writing(url=queries_from, model=queries_model, examples=examples)
    elif queries_model or queries_examples:
        raise GeneralistError("--queries-model and --queries-examples are for --queries-from; give that as well")
    options = LearningOptions(
        modes=tuple(modes or ("generative",)),  # type: ignore[arg-type]
        minutes=minutes,
        steps=steps,
        learning_rate=learning_rate,
        rank=rank,
        seed=seed,
        device=device,
        writing=writing,
    )
    _show(learn(folder, options), as_json)


@index.command(
    "add",
    help="Add the documents of a corpus. One whose id is there already takes that one's place.",
    epilog="Example: generalist index add notes.index more-notes/",
)
def _add(folder: _Index, corpus: _Corpus, format: _Format = None, as_json: _Json = False) -> None:
    from generalist.documents.build import add_documents

    with _progress() as progress:
        changed = add_documents(folder, _documents(corpus, format), progress=progress)
    _show(changed, as_json)


@index.command(
    "delete",
    help="Take documents out of an index.",
    epilog="Example: generalist index delete notes.index old.md",
)
def _delete(
    folder: _Index,
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of documents.")],
    as_json: _Json = False,
) -> None:
    from generalist.documents.build import delete_documents

    _show(delete_documents(folder, ids), as_json)


@index.command(
    "fit",
    help="Find out, by questions with known answers, how much generated identifiers and vectors count in hybrid "
    "searches.",
    epilog="Example: generalist index fit nq.index beir/nq",
)
def _fit(
    folder: _Index,
    corpus: _Corpus,
    limit: Annotated[int | None, typer.Option("--limit", help="Only so many questions.")] = 200,
    model: o.Model = "",
    device: o.Device = "auto",
    format: _Format = None,
    as_json: _Json = False,
) -> None:
    from generalist.cli.search import load_searcher
    from generalist.documents.build import set_trust
    from generalist.documents.evaluation import fit_trust, read_task
    from generalist.documents.search import SearchOptions
    from generalist.types import GeneralistError
    from generalist_datasets.corpora import open_corpus

    if limit is not None and limit < 1:
        raise GeneralistError(f"--limit is {limit}; use 1 or more")
    task = read_task(open_corpus(corpus, format), str(corpus), limit, test=False)
    searcher = load_searcher(folder, model or None, device)
    _show(set_trust(folder, *fit_trust(searcher, task, SearchOptions())), as_json)


@index.command("info", help="Show what an index holds.", epilog="Example: generalist index info notes.index")
def _info(folder: _Index, as_json: _Json = False) -> None:
    from generalist.index import open_index

    _show(open_index(folder), as_json)


@index.command(
    "check",
    help="Compare every byte of an index with its checksum.",
    epilog="Example: generalist index check notes.index",
)
def _check(folder: _Index, as_json: _Json = False) -> None:
    from generalist.index.store import check_index

    _show(check_index(folder), as_json)


def _documents(corpus: Path, format: str | None) -> "Iterator[Document]":
    from generalist_datasets.corpora import open_corpus
    from generalist_datasets.records import Problems

    return open_corpus(corpus, format).documents(Problems())


def _show(found: "Index", as_json: bool) -> None:
    from generalist.cli.output import printable

    facts = _facts(found)
    if as_json:
        print(json.dumps(facts))
        return
    size, held = facts["bytes"], f"{facts['documents']:,} documents, {facts['tokens']:,} tokens of {facts['base']}"
    print(printable(f"{facts['index']}: {held}"))
    parts = ", ".join(f"{bytes:,} of {part}" for part, bytes in size.items())
    print(f"bytes: {parts}; {facts['segments']} segments")
    print(printable("ids: " + ", ".join(facts["ids"]) + (", ..." if facts["documents"] > len(facts["ids"]) else "")))


def _facts(found: "Index") -> dict[str, Any]:
    manifest = found.manifest
    return {
        "index": str(found.folder),
        "base": found.base.name,
        "vocab_hash": found.base.vocab_hash,
        "documents": found.documents,
        "tokens": found.tokens,
        "segments": len(found.segments),
        "bytes": {
            "text": sum(part.size for part in manifest.segments),
            **{name: part.size for name, part in manifest.optional.items()},
        },
        "trust": manifest.trust,
        "dense_trust": manifest.dense_trust,
        "ids": list(islice((id for segment in found.segments for id in segment.some_ids()), _FIRST_IDS)),
    }


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """How many documents have been read, on stderr where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} documents"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not sys.stderr.isatty(), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda count: bar.update(task, completed=count)
