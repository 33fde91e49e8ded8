"""The tasks: how each is asked, what it may draw, how long it may get, how it is measured."""

from __future__ import annotations

from generalist.types import KINDS, GeneralistError, TaskSpec

_SPECS: tuple[TaskSpec, ...] = (
    TaskSpec(name="chat", instruction="{}", emits=KINDS, max_new_tokens=512, metric="facts_recall"),
    TaskSpec(name="detect", instruction="Detect {}.", emits=("box",), max_new_tokens=512, metric="f1@0.5"),
    TaskSpec(name="box", instruction="Where is {}?", emits=("box",), max_new_tokens=128, metric="box_acc@0.5"),
    TaskSpec(name="point", instruction="Point to {}.", emits=("point",), max_new_tokens=128, metric="point_in_mask"),
    TaskSpec(name="segment", instruction="Segment {}.", emits=("mask",), max_new_tokens=512, metric="miou"),
    TaskSpec(name="depth", instruction="Estimate the depth.", emits=("depth",), max_new_tokens=512, metric="d1"),
    TaskSpec(name="caption", instruction="Describe the image.", emits=(), max_new_tokens=128, metric="facts_recall"),
    TaskSpec(name="count", instruction="How many {} are there?", emits=(), max_new_tokens=32, metric="accuracy"),
)

TASKS: dict[str, TaskSpec] = {spec.name: spec for spec in _SPECS}


def get_task(name: str) -> TaskSpec:
    """The task called ``name``; raises :class:`GeneralistError` when there is none."""
    if name not in TASKS:
        raise GeneralistError(f"there is no task {name!r}; use one of {', '.join(TASKS)}")
    return TASKS[name]


def question(name: str, text: str = "") -> str:
    """The words that ask for a task: ``question("detect", "dogs")`` is ``"Detect dogs."``.

    Raises :class:`GeneralistError` when the task needs to be told about what and ``text`` is
    blank, or when it asks about nothing and ``text`` says something.
    """
    spec = get_task(name)
    if spec.takes_text and not text.strip():
        raise GeneralistError(f"task {name!r} has nothing to ask about (text is {text!r}); say what, such as 'the dog'")
    if not spec.takes_text and text.strip():
        raise GeneralistError(f"task {name!r} asks about the whole image, not about {text!r}; leave the text out")
    return spec.instruction.format(text)
