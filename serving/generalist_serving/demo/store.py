"""What the visitors of a demo have: kept in memory while it runs, within a limit, and never written to disk."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from generalist_serving.demo.conversations import Conversation, Picture, new_id

MAX_BYTES = 1_000_000_000
"""Of all pictures together; those that were not used for the longest time are forgotten first."""
MAX_CONVERSATIONS = 30
"""Of one visitor; the oldest is forgotten."""
MAX_VISITORS = 2_000


@dataclass(slots=True, kw_only=True, eq=False)
class Visitor:
    """A browser. ``id`` is a secret that it keeps; ``conversations`` begin with the newest.

    ``sides`` are two conversations with the same questions, to be compared.
    """

    id: str = field(default_factory=new_id)
    conversations: list[Conversation] = field(default_factory=list)
    sides: tuple[Conversation, Conversation] = field(default_factory=lambda: (Conversation(), Conversation()))

    def conversation(self, name: str | None) -> Conversation:
        """The conversation with this id, or else the newest."""
        return next((one for one in self.conversations if one.id == name), self.conversations[0])

    def begin(self) -> Conversation:
        """A new conversation; an empty one is used again."""
        newest = self.conversations[0] if self.conversations else None
        if newest is None or newest.turns or newest.pictures:
            newest = Conversation()
            self.conversations.insert(0, newest)
        for forgotten in self.conversations[MAX_CONVERSATIONS:]:
            _stop(forgotten)
        del self.conversations[MAX_CONVERSATIONS:]
        return newest

    def compare_anew(self) -> None:
        """Two new conversations to compare."""
        self.sides = (Conversation(), Conversation())

    def forget(self, conversation: Conversation) -> Conversation:
        """Delete a conversation; returns the one to show next."""
        _stop(conversation)
        self.conversations.remove(conversation)
        return self.conversations[0] if self.conversations else self.begin()


class Store:
    """All visitors and pictures. To be used within one event loop."""

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._visitors: OrderedDict[str, Visitor] = OrderedDict()
        self._pictures: OrderedDict[str, Picture] = OrderedDict()
        self._bytes = 0

    def visitor(self, name: object) -> Visitor:
        """The visitor with this id, or a new one where nobody has it."""
        visitor = self._visitors.get(name) if isinstance(name, str) else None
        if visitor is None:
            visitor = Visitor()
            visitor.begin()
            self._visitors[visitor.id] = visitor
        self._visitors.move_to_end(visitor.id)
        while len(self._visitors) > MAX_VISITORS:
            _, forgotten = self._visitors.popitem(last=False)
            for conversation in (*forgotten.conversations, *forgotten.sides):
                _stop(conversation)
        return visitor

    def conversation(self, name: str) -> Conversation | None:
        """Whoever's conversation has this id."""
        everybody = self._visitors.values()
        found = (one for who in everybody for one in (*who.conversations, *who.sides) if one.id == name)
        return next(found, None)

    def keep(self, picture: Picture) -> None:
        """Keep a picture, and forget others where they are too many."""
        self._pictures[picture.id] = picture
        self._bytes += len(picture.data)
        while self._bytes > self._max_bytes and len(self._pictures) > 1:
            _, forgotten = self._pictures.popitem(last=False)
            self._bytes -= len(forgotten.data)

    def picture(self, name: object) -> Picture | None:
        """The picture with this id."""
        found = self._pictures.get(name) if isinstance(name, str) else None
        if found is not None:
            self._pictures.move_to_end(found.id)
        return found


_Session = TypeVar("_Session")


class Sessions(Generic[_Session]):
    """What the visitors of one tab have, by their ids; of too many, those that came back last are kept.

    ``make`` makes that of a new visitor; ``end`` is told of one that is forgotten.
    """

    def __init__(
        self, make: Callable[[], _Session], end: Callable[[_Session], None] = lambda _: None, *, most: int = 200
    ) -> None:
        self._make = make
        self._end = end
        self._most = most
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def of(self, visitor: str) -> _Session:
        """The session of this visitor."""
        if visitor not in self._sessions:
            self._sessions[visitor] = self._make()
        self._sessions.move_to_end(visitor)
        while len(self._sessions) > self._most:
            _, forgotten = self._sessions.popitem(last=False)
            self._end(forgotten)
        return self._sessions[visitor]


def _stop(conversation: Conversation) -> None:
    for turn in conversation.turns:
        turn.stop()
