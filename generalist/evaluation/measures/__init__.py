"""What is measured on each group of cases; see ``cases.Measure``.

No measure asks a model or raises for what one answered: what is missing, malformed or of the wrong kind is a miss.
"""

from __future__ import annotations

from generalist.evaluation.cases import Measure
from generalist.evaluation.measures.absent import ABSENT
from generalist.evaluation.measures.boxes import BOX
from generalist.evaluation.measures.captions import CAPTION
from generalist.evaluation.measures.depth import DEPTH
from generalist.evaluation.measures.detection import DETECT
from generalist.evaluation.measures.dialogue import DIALOGUE
from generalist.evaluation.measures.masks import MASK, REGION_EXCEPT, REGION_MASK
from generalist.evaluation.measures.points import POINT
from generalist.evaluation.measures.segments import PANOPTIC, SEMANTIC
from generalist.evaluation.measures.words import CHOICE, COUNTING, REGION_NAME

__all__ = ["MEASURES"]

MEASURES: dict[str, Measure] = {
    measure.group: measure
    for measure in (
        BOX, MASK, POINT, DETECT, ABSENT, COUNTING, CHOICE, REGION_NAME, REGION_MASK, REGION_EXCEPT, DEPTH, SEMANTIC,
        PANOPTIC, CAPTION, DIALOGUE,
    )
}  # fmt: skip
"""Group -> its measure, in the order of a report."""
