"""``generalist search``, and ``generalist eval --index``: finding documents, and how well that goes."""

# No "from __future__ import annotations": typer reads the annotations as objects.

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from generalist.cli import options as o

if TYPE_CHECKING:
    from PIL.Image import Image

    from generalist.documents import Hit, Searcher
    from generalist.documents.asking import Question
    from generalist.documents.beam import BeamOptions, Search
    from generalist.documents.dense import Encoder
    from generalist.documents.evaluation import Retrieval
    from generalist.index.automaton import TextAutomaton
    from generalist.types import VisualPrompt

_FILE_WIDTH = 120
"""Letters a line of a table that goes into a file or a pipe."""
_TEXT_WIDTH = 300
"""Letters of a hit's text on the screen."""

Mode = Annotated[
    str,
    typer.Option(
        "--mode",
        help="generative: identifiers that the model writes. lexical: BM25. dense: vectors. hybrid: all of these, by "
        "how much each has proved right.",
    ),
]
Feedback = Annotated[
    bool, typer.Option("--feedback", help="Look for words again, with those of the documents found first.")
]


def search(
    index: Annotated[Path, typer.Argument(metavar="INDEX", help="The folder of an index.")],
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="What to find.")],
    image: Annotated[
        Path | None, typer.Option("--image", metavar="FILE", help="A picture that the question is about.")
    ] = None,
    boxes: o.Boxes = None,
    points: o.Points = None,
    excluded: o.Excluded = None,
    mode: Mode = "hybrid",
    granularity: Annotated[
        str,
        typer.Option("--find", help="document, passage, sentence, or entity (by title); all but document: generative."),
    ] = "document",
    most: Annotated[int, typer.Option("--most", help="Hits at most.")] = 10,
    feedback: Feedback = False,
    beams: Annotated[int, typer.Option("--beams", help="Identifiers under way at once.")] = 15,
    as_json: Annotated[bool, typer.Option("--json", help='Print JSON: {"hits": [...]}.')] = False,
    model: Annotated[
        str | None, typer.Option("--model", help="By default the base that the index was built with.")
    ] = None,
    device: o.Device = "auto",
) -> None:
    from generalist.documents.asking import Question
    from generalist.documents.beam import BeamOptions
    from generalist.documents.search import SearchOptions

    asked = SearchOptions(mode=mode, most=most, feedback=feedback, beams=BeamOptions(width=beams))
    drawings = o.Options(boxes=tuple(boxes or ()), points=tuple(points or ()), excluded=tuple(excluded or ()))
    images, drawn = _pictures(image, drawings)
    about = Question(text=question, images=images, visual_prompts=drawn, granularity=granularity)  # type: ignore[arg-type]
    (hits,) = load_searcher(index, model, device).search([about], asked)
    if as_json:
        print(json.dumps({"hits": [hit.to_dict() for hit in hits]}))
    else:
        _print(hits)


def _pictures(image: Path | None, options: o.Options) -> "tuple[tuple[Image, ...], tuple[VisualPrompt, ...]]":
    """Images and what is drawn on them."""
    from generalist.cli.inputs import read_prompts
    from generalist.images import load_image
    from generalist.types import GeneralistError

    if image is None:
        if options.boxes or options.points or options.excluded:
            raise GeneralistError("--box, --point and --exclude are drawn on a picture; give one with --image")
        return (), ()
    picture = load_image(image)
    return (picture,), tuple(read_prompts(options, picture.size))


def load_searcher(folder: Path, model: str | None, device: str) -> "Searcher":
    """What searches an index; its models are loaded, without chatter, when a search first needs them."""
    from generalist.cli.run import quiet
    from generalist.documents import Collection, Searcher
    from generalist.documents.opening import Models

    collection = Collection.open(folder)
    models = Models(collection.index, model, device)

    def write(automaton: "TextAutomaton", questions: "Sequence[Question]", beams: "BeamOptions") -> "list[Search]":
        quiet()
        return models.write(automaton, questions, beams)

    def encoder() -> "Encoder":
        quiet()
        return models.encoder()

    return Searcher(collection, write, encoder)


def _print(hits: "list[Hit]") -> None:
    from rich.console import Console
    from rich.text import Text

    from generalist.cli.output import printable

    console = Console(highlight=False, markup=False, emoji=False)
    if not hits:
        console.print("nothing found")
    for number, hit in enumerate(hits, 1):
        console.print(Text(printable(f"{number}. {hit.document_id}  {hit.title}  ({hit.score:.4f})"), style="bold"))
        text = hit.text if len(hit.text) <= _TEXT_WIDTH else f"{hit.text[:_TEXT_WIDTH]}..."
        shown = Text(printable(text))
        for one in hit.evidence:
            if one.span is not None:
                shown.stylize("reverse", *(min(place, len(text)) for place in one.span))
        console.print(shown)


# --- generalist eval --index ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalOptions:
    """What the options of one call say. ``models``: one at most. ``out`` gets JSON reports and TREC run files."""

    index: Path
    mode: str = "hybrid"
    feedback: bool = False
    models: tuple[str, ...] = ()
    device: str = "auto"
    limit: int | None = None
    batch_size: int = 16
    as_json: bool = False
    out: Path | None = None
    format: str | None = None


def run_retrieval(corpora: list[str], options: RetrievalOptions) -> None:
    """Measure a search on corpora with judgements. Raises :class:`GeneralistError`."""
    from generalist.documents.evaluation import DEPTH, evaluate, read_task
    from generalist.documents.search import SearchOptions
    from generalist.types import GeneralistError
    from generalist_datasets.corpora import open_corpus

    for option, number in (("--limit", options.limit), ("--batch-size", options.batch_size)):
        if number is not None and number < 1:
            raise GeneralistError(f"{option} is {number}; use 1 or more")
    if len(options.models) > 1:
        raise GeneralistError(f"--model is given {len(options.models)} times; a search has one model")
    asked = SearchOptions(mode=options.mode, most=DEPTH, feedback=options.feedback)
    names = [Path(corpus).resolve().name for corpus in corpora]
    tasks = [
        read_task(open_corpus(Path(corpus), options.format), name, options.limit)
        for corpus, name in zip(corpora, names, strict=True)
    ]
    model = next(iter(options.models), None)
    searcher = load_searcher(options.index, model, options.device)
    shown = Path(model or searcher.collection.index.base.name).name
    for corpus, task in zip(corpora, tasks, strict=True):
        found = evaluate(searcher, task, asked, model=shown, batch_size=options.batch_size)
        _report(found, task.name, _command(corpus, options), options)


def _report(found: "Retrieval", name: str, command: str, options: RetrievalOptions) -> None:
    from rich.console import Console

    from generalist.documents.evaluation import write_run
    from generalist.evaluation.report import table, to_json, write_json
    from generalist.types import GeneralistError

    if options.out is not None:
        try:
            options.out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise GeneralistError(f"--out {options.out}: cannot make this folder ({error.strerror})") from error
        stem = f"{name}-{options.mode}{'-feedback' if options.feedback else ''}"
        write_json(found.result, options.out / f"{stem}.json", command=command)
        write_run(found, options.out / f"{stem}.run")
    if options.as_json:
        print(json.dumps(to_json(found.result, command=command)))
    else:
        width = None if sys.stdout.isatty() else _FILE_WIDTH
        Console(highlight=False, markup=False, emoji=False, width=width).print(table(found.result), "")


def _command(corpus: str, options: RetrievalOptions) -> str:
    """What reproduces the figures."""
    words = ["generalist", "eval", corpus, "--index", str(options.index), "--mode", options.mode]
    words += ["--feedback"] if options.feedback else []
    given = {"--model": next(iter(options.models), None), "--limit": options.limit, "--format": options.format}
    for option, value in given.items():
        words += [] if value is None else [option, str(value)]
    return shlex.join(words)
