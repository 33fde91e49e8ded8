"""The component: our HTML, CSS and JavaScript inside Gradio's ``HTML``, so that nothing is built or fetched."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import gradio as gr

from generalist_serving.demo.stage.colours import palette
from generalist_serving.demo.stage.value import DEPTH_COLOURS, StageValue

_ASSETS = files("generalist_serving.demo.stage")


def Stage(value: StageValue | None = None, **options: Any) -> gr.HTML:
    """A picture with drawings on it and tools to draw; ``value`` is a :class:`StageValue` or None.

    Event ``input``: the user changed what is drawn, which is ``value["prompts"]``; listen with
    ``trigger_mode="always_last"``, or quick changes are missed. Where the stage is the output of an event, give that
    ``show_progress="hidden"``, or Gradio fades the picture meanwhile.

    On the page, the DOM event ``generalist:highlight`` on ``document`` with ``detail.unit`` = a unit's index or null
    lights it up and dims the rest, and is sent when the user looks at one. ``detail.stage``, the ``elem_id``, is sent
    too; one that names another stage is not heard. ``options`` are those of ``gr.HTML``.

    A function and not a subclass: for every subclass of a component, Gradio writes a file beside its source.
    """
    return gr.HTML(
        value,
        html_template=_read("stage.html"),
        css_template=_read("stage.css"),
        js_on_load=_script(),
        apply_default_css=False,
        palette=palette(),
        ramp=list(DEPTH_COLOURS),
        **options,
    )


def _script() -> str:
    """The script files in the order of their numbers, as the body of one function."""
    names = sorted(entry.name for entry in _ASSETS.iterdir() if entry.name.endswith(".js"))
    return "\n".join(['"use strict";', *map(_read, names)])


def _read(name: str) -> str:
    return (_ASSETS / name).read_text("utf-8")
