"""Components of the page with scripts of their own: the conversation, and the pictures of it.

Functions and not subclasses: for every subclass of a component, Gradio writes a file beside its source.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import gradio as gr

from generalist_serving.demo.stage.colours import palette

Shown: TypeAlias = dict[Any, Any]
"""New values of components."""

UNCHANGED: Shown = gr.skip()
"""What a handler gives when everything stays as it is; Gradio takes an empty dict for a missing value. A stream that
has given something else gives that again instead, see ``order``."""

_ASSETS = Path(__file__).parent / "assets"


def asset(name: str) -> str:
    """A file that the page is made of."""
    return (_ASSETS / name).read_text(encoding="utf-8")


def Transcript(*, stage: str, **options: Any) -> gr.HTML:
    """What was asked and answered; its value is made by ``views.transcript``.

    Phrases have the colour and the number of what is drawn for them on the stage whose ``elem_id`` is ``stage``, and
    are linked with it by the DOM event ``generalist:highlight``. Events: ``shown`` {turn, unit?}, ``retried`` {turn},
    ``edited`` {turn}, ``kept``: the question that was being edited stays as it is.
    """
    return component(_ASSETS, "transcript", palette=palette(), stage=stage, **options)


def Pictures(*, samples: Sequence[dict[str, str]], **options: Any) -> gr.HTML:
    """Ways to add pictures, and the pictures that are there; its value is made by ``views.pictures``.

    ``samples``: {name, url, words} of each picture that is offered while there is none. Pictures are sent to the
    route ``pictures`` (see ``routes``). Events: ``added`` {ids, refused}, ``sampled`` {name}, ``chosen`` {picture},
    ``removed`` {picture}.
    """
    return component(_ASSETS, "pictures", samples=list(samples), **options)


def component(assets: Path, name: str, **options: Any) -> gr.HTML:
    """The component that the files ``name`` of the folder ``assets`` make; ``options`` are those of ``gr.HTML``."""
    html_text, css_text, script = ((assets / f"{name}.{kind}").read_text("utf-8") for kind in ("html", "css", "js"))
    return gr.HTML(
        html_template=html_text,
        css_template=css_text,
        js_on_load=script,
        apply_default_css=False,
        elem_classes=[name],
        **options,
    )


def told(event: gr.EventData, name: str) -> Any:
    """What the page says of an event; None where it does not. Anyone may say anything."""
    data = event._data
    return data.get(name) if isinstance(data, dict) else None


def warn(message: str) -> None:
    """A toast with one sentence; nothing of it is taken for HTML."""
    gr.Warning(html.escape(message), duration=8, title="Please note")
