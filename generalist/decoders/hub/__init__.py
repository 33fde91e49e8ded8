"""Models from the hub that draw what a language model cannot write: masks of boxes and points, depth.

The other decoders read tokens alone; these look at the image. A model is loaded when something is drawn first, and
keeps what its image encoder made of the last few images, so that a second question about one costs little.
"""

from __future__ import annotations

from generalist.decoders.hub.depth import HubDepth
from generalist.decoders.hub.masks import HubMasks
from generalist.decoders.hub.source import Source
from generalist.decoders.hub.work import Work

__all__ = ["HubDepth", "HubMasks", "Source", "Work"]
