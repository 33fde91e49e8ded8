"""Components of the tab with scripts of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from generalist_serving.demo.parts import component

_ASSETS = Path(__file__).parent / "assets"


def Hits(**options: Any) -> gr.HTML:
    """What was found, the best first, with the words that speak for it marked; its value is made by ``views.hits``."""
    return component(_ASSETS, "hits", **options)
