"""Replies: typed values to token ids (:func:`encode`) and back (:func:`parse`, :class:`StreamParser`)."""

from generalist.reply.encode import encode
from generalist.reply.parse import Event, Issue, PhraseDone, PlanDone, StreamParser, TextDelta, parse

__all__ = ["Event", "Issue", "PhraseDone", "PlanDone", "StreamParser", "TextDelta", "encode", "parse"]
