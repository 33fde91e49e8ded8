"""Components of the tab with scripts of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from generalist_serving.demo.parts import component
from generalist_serving.demo.stage.colours import palette
from generalist_serving.demo.stage.value import DEPTH_COLOURS

_ASSETS = Path(__file__).parent / "assets"


def Plots(**options: Any) -> gr.HTML:
    """Statistics of a run; its value is made by ``views.plots``.

    A scatter of size against overlap, whose points can be walked with the arrow keys; classes with bars; confusions.
    Event: ``picked`` {picture, thing}.
    """
    return component(_ASSETS, "plots", palette=palette(), **options)


def Heat(**options: Any) -> gr.HTML:
    """A picture under the attention of one token of a reply, and the reply's tokens to choose from; its value is made
    by ``views.heat``."""
    return component(_ASSETS, "heat", ramp=list(DEPTH_COLOURS), **options)
