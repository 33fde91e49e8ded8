"""The values that travel between the parts: pure data, no torch.

Geometry is relative to the EXIF-corrected image (x right, y down, 0-1), so that a value
means the same thing at every resolution; ``visual`` output converts to pixels at the edge.
Everything is frozen: a stage makes a new value instead of changing the one it was given.
"""

from __future__ import annotations

from generalist.types.errors import GeneralistError
from generalist.types.generations import Generation, Likeliest, Usage
from generalist.types.given import Given, Seen
from generalist.types.kinds import KINDS, PROMPT_KINDS, Kind, PromptKind
from generalist.types.outputs import Box, DepthMap, DocHit, Grounded, Mask, Output, Point
from generalist.types.replies import ParseIssue, Phrase, PlanItem, Ref, Reply, Unit
from generalist.types.requests import (
    MAX_TOP_LOGPROBS,
    ChatRequest,
    Constraint,
    Documents,
    Message,
    Prompt,
    Sampling,
    VisualPrompt,
)
from generalist.types.tasks import Sample, TaskSpec

__all__ = [
    "KINDS",
    "MAX_TOP_LOGPROBS",
    "PROMPT_KINDS",
    "Box",
    "ChatRequest",
    "Constraint",
    "DepthMap",
    "DocHit",
    "Documents",
    "GeneralistError",
    "Generation",
    "Given",
    "Grounded",
    "Kind",
    "Likeliest",
    "Mask",
    "Message",
    "Output",
    "ParseIssue",
    "Phrase",
    "PlanItem",
    "Point",
    "Prompt",
    "PromptKind",
    "Ref",
    "Reply",
    "Sample",
    "Sampling",
    "Seen",
    "TaskSpec",
    "Unit",
    "Usage",
    "VisualPrompt",
]
