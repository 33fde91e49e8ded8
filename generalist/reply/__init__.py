"""Replies: typed values to token ids (:func:`encode`) and back (:func:`parse`, :class:`StreamParser`)."""

from generalist.reply.encode import encode
from generalist.reply.events import Event, Issue, PhraseDone, PlanDone, TextDelta
from generalist.reply.parse import StreamParser, parse

__all__ = ["Event", "Issue", "PhraseDone", "PlanDone", "StreamParser", "TextDelta", "encode", "parse"]
