"""What a labelled folder holds against how well a model finds it, thing by thing, and where the model looked.

After SeeBel (Saha and Roy Dipta 2023, arXiv 2312.10933): statistics of a data set and the quality of a model in one
view, linked with its pictures.
"""

from __future__ import annotations

from generalist_serving.demo.inspect.folders import Folder, find_folders
from generalist_serving.demo.inspect.looking import Looker

__all__ = ["Folder", "Looker", "find_folders"]
