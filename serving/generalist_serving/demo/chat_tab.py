"""The tab where one asks: what happens when something is clicked, written or drawn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from generalist.types import GeneralistError
from generalist_serving.client import ClientError
from generalist_serving.demo import views
from generalist_serving.demo.answering import Answerer, sentence, watch
from generalist_serving.demo.chat_layout import ChatLayout
from generalist_serving.demo.conversations import Conversation, Picture, Question
from generalist_serving.demo.parts import UNCHANGED, Shown, told, warn
from generalist_serving.demo.samples import Sample
from generalist_serving.demo.stage import read_prompts
from generalist_serving.demo.store import Store, Visitor

AT_ONCE = 16
"""Questions that are answered side by side: as many as the server writes in one batch. Others wait in a queue."""


@dataclass(slots=True, kw_only=True)
class Opened:
    """Which conversation a page shows; changed in place, so that a stream of another one sees it and ends.

    ``visitor``: whose page it is, which a page may ask before it has been told. ``editing``: the turn that the next
    question replaces, if any.
    """

    visitor: str = ""
    name: str = ""
    editing: str = ""


class ChatTab:
    """What happens between the components. Each browser has its conversations in ``store``.

    Everything is async: Gradio would run it in other threads, and answers are tasks of the event loop.
    """

    def __init__(
        self, visitor: gr.BrowserState, store: Store, answerer: Answerer, samples: Mapping[str, Sample]
    ) -> None:
        self.visitor = visitor
        self._store = store
        self._answerer = answerer
        self._samples = samples

    def build(self, page: gr.Blocks, tab: gr.Tab) -> None:
        """Put the components into ``tab`` of ``page``, within which we are."""
        self.opened = gr.State(Opened())
        self.show = ChatLayout(self.visitor, self._samples)
        self._connect(page)

    def _connect(self, page: gr.Blocks) -> None:
        parts = self.show
        who = [self.visitor, self.opened]
        quick: dict[str, Any] = {
            "outputs": parts.all,
            "show_progress": "hidden",
            "api_visibility": "private",
            "queue": False,
            "trigger_mode": "multiple",  # what is clicked while an earlier click is on its way is not lost
        }
        # Toasts, and values one after the other, only come from what goes through the queue. What goes beside it may
        # come late, and says nothing of the buttons, which would then stay as they were while an answer was written.
        long: dict[str, Any] = {**quick, "queue": True, "concurrency_limit": None}
        follows = {**long, "outputs": parts.talking}
        asks = {**long, "outputs": [self.visitor, parts.words, parts.task, *parts.talking]}
        asks |= {"concurrency_limit": AT_ONCE, "concurrency_id": "answers"}
        asks |= {"show_progress": "minimal", "show_progress_on": parts.transcript}

        page.load(self._load, who, **long).then(self._follow, who, **follows)
        question = [*who, parts.words, parts.task, parts.model, parts.stage]
        asked = gr.on([parts.send.click, parts.words.submit], self._send, question, **asks)
        retried = parts.transcript.retried(self._retry, [*who, parts.model], **asks)
        for one in (asked, retried):
            one.then(self._titles, who, **(long | {"outputs": parts.history}))
        parts.stop.click(self._stop, who, **quick)
        parts.transcript.edited(self._edit, who, **quick)
        parts.transcript.kept(self._keep, who, **quick)
        parts.transcript.shown(self._show_turn, who, **quick)
        parts.pictures.added(self._add, who, **long)
        parts.pictures.sampled(self._sample, who, **quick)
        parts.pictures.chosen(self._choose, who, **quick)
        parts.pictures.removed(self._remove, who, **quick)
        parts.history.input(self._open, [*who, parts.history], **long).then(self._follow, who, **follows)
        # Through the queue as well, so that they come behind what is on its way of the conversation that is left.
        parts.new.click(self._new, who, **long)
        parts.delete.click(self._delete, who, **long)
        parts.task.change(views.hint, parts.task, **(quick | {"outputs": parts.words}))
        models = {**long, "outputs": parts.model}
        page.load(self._list_models, parts.model, **models)
        parts.model.focus(self._list_models, parts.model, **models)

    def _at(self, visitor: object, opened: Opened) -> tuple[Visitor, Conversation]:
        found = self._store.visitor(opened.visitor or visitor)
        talk = found.conversation(opened.name)
        opened.visitor, opened.name = found.id, talk.id
        return found, talk

    def _talk(self, opened: Opened, talk: Conversation) -> Shown:
        return self.show.talk(talk, editing=bool(opened.editing))

    def _seen(self, opened: Opened, talk: Conversation) -> Shown:
        return self.show.seen(talk, editing=bool(opened.editing))

    def _whole(self, opened: Opened, visitor: Visitor, talk: Conversation) -> Shown:
        return self.show.whole(visitor, talk, editing=bool(opened.editing))

    # --- asking ------------------------------------------------------------------------------------------

    async def _load(self, visitor: object, opened: Opened) -> Shown:
        return self.show.whole(*self._at(visitor, opened))

    async def _open(self, visitor: object, opened: Opened, chosen: str) -> Shown:
        opened.name, opened.editing = chosen, ""
        return self.show.whole(*self._at(visitor, opened))

    async def _follow(self, visitor: object, opened: Opened) -> AsyncIterator[Shown]:
        """What changes until the last answer is over; that may be before the page has been told of its question.

        Ends when the page shows another conversation; the answer goes on.
        """
        found, talk = self._at(visitor, opened)
        async for _ in watch(*talk.turns[-1:]):
            yield self._talk(opened, found.conversation(opened.name))
            if opened.name != talk.id:
                return

    async def _titles(self, visitor: object, opened: Opened) -> Any:
        return self.show.titles(*self._at(visitor, opened))

    async def _send(
        self, visitor: object, opened: Opened, words: str, task: str, model: str | None, stage: Any
    ) -> AsyncIterator[Shown]:
        found, talk = self._at(visitor, opened)
        picture = talk.shown
        prompts = stage.get("prompts") if picture is not None and isinstance(stage, dict) else None
        try:
            if picture is not None:
                read_prompts(prompts, picture.size)
            asked = Question(words=words or "", task=task, model=model, prompts=tuple(prompts or ()), picture=picture)
            async for shown in self._ask(found, opened, asked, replaced=opened.editing):
                yield shown
        except GeneralistError as error:
            warn(sentence(error))
            yield UNCHANGED

    async def _retry(
        self, visitor: object, opened: Opened, model: str | None, event: gr.EventData
    ) -> AsyncIterator[Shown]:
        found, talk = self._at(visitor, opened)
        last = talk.last
        if last is None or told(event, "turn") != last.id:
            yield UNCHANGED
            return
        asked = Question(
            words=last.asked.words,
            task=last.asked.task,
            model=model,
            prompts=last.asked.prompts,
            picture=last.asked.picture,
        )
        async for shown in self._ask(found, opened, asked, replaced=last.id):
            yield shown

    async def _ask(self, visitor: Visitor, opened: Opened, asked: Question, replaced: str) -> AsyncIterator[Shown]:
        """Ask, in the place of the last turn if that is ``replaced``; where nothing comes of it, all is as before."""
        talk = visitor.conversation(opened.name)
        if talk.running is not None:
            warn("An answer is still being written. Stop it, or wait for its end.")
            yield UNCHANGED
            return
        old = talk.last if talk.last and talk.last.id == replaced else None
        if old is not None:
            talk.turns.remove(old)
        try:
            turn = talk.ask(asked)
        except GeneralistError:
            if old is not None:
                talk.turns.append(old)
            raise
        editing, opened.editing = opened.editing, ""
        self._answerer.start(talk, turn)
        yield self._talk(opened, talk) | {self.visitor: visitor.id, self.show.words: ""}
        async for shown in self._follow(visitor.id, opened):
            yield shown
        if turn.state == "failed":
            warn(turn.error)
        if turn.state == "failed" and turn.lost and turn is talk.last and opened.name == talk.id:
            talk.turns[-1:] = [] if old is None else [old]
            talk.show(asked.picture)
            talk.draw(asked.prompts)
            opened.editing = editing
            yield self._talk(opened, talk) | {self.show.words: asked.words, self.show.task: asked.task}

    async def _stop(self, visitor: object, opened: Opened) -> Shown:
        _, talk = self._at(visitor, opened)
        if talk.running is not None:
            talk.running.stop()
        return {self.show.stop: gr.Button(interactive=False)}

    async def _edit(self, visitor: object, opened: Opened, event: gr.EventData) -> Shown:
        _, talk = self._at(visitor, opened)
        last = talk.last
        if last is None or last.id != told(event, "turn") or not last.over:
            return UNCHANGED
        talk.show(last.asked.picture, last)
        talk.draw(last.asked.prompts)
        opened.editing = last.id
        return self._seen(opened, talk) | {self.show.words: last.asked.words, self.show.task: last.asked.task}

    async def _keep(self, visitor: object, opened: Opened) -> Shown:
        _, talk = self._at(visitor, opened)
        talk.draw(())
        opened.editing = ""
        return self._seen(opened, talk) | {self.show.words: ""}

    # --- pictures and conversations ------------------------------------------------------------------------

    async def _show_turn(self, visitor: object, opened: Opened, event: gr.EventData) -> Shown:
        _, talk = self._at(visitor, opened)
        talk.show_turn(told(event, "turn"), told(event, "unit"))
        return self._seen(opened, talk)

    async def _choose(self, visitor: object, opened: Opened, event: gr.EventData) -> Shown:
        _, talk = self._at(visitor, opened)
        talk.show(talk.picture(told(event, "picture")) or talk.shown)
        return self._seen(opened, talk)

    async def _add(self, visitor: object, opened: Opened, event: gr.EventData) -> Shown:
        found, talk = self._at(visitor, opened)
        if refused := told(event, "refused"):
            warn(str(refused)[:300])
        names = told(event, "ids")
        added = [self._store.picture(name) for name in (names if isinstance(names, list) else ())]
        talk.add([picture for picture in added if picture is not None])
        return self._whole(opened, found, talk)

    async def _sample(self, visitor: object, opened: Opened, event: gr.EventData) -> Shown:
        found, talk = self._at(visitor, opened)
        sample = self._samples.get(str(told(event, "name")))
        if sample is None:
            return UNCHANGED
        picture = await asyncio.to_thread(lambda: Picture.read(sample.path.read_bytes(), sample.path.name))
        self._store.keep(picture)
        talk.add([picture])
        seen = self._seen(opened, talk) | self.show.titles(found, talk)
        return seen | {self.visitor: found.id, self.show.words: sample.words, self.show.task: sample.task}

    async def _remove(self, visitor: object, opened: Opened, event: gr.EventData) -> Shown:
        found, talk = self._at(visitor, opened)
        picture = talk.picture(told(event, "picture"))
        if picture is not None:
            talk.remove(picture)
        return {self.visitor: found.id, **self.show.titles(found, talk), **self._seen(opened, talk)}

    async def _new(self, visitor: object, opened: Opened) -> Shown:
        found, _ = self._at(visitor, opened)
        return self._other(found, opened, found.begin())

    async def _delete(self, visitor: object, opened: Opened) -> Shown:
        found, talk = self._at(visitor, opened)
        return self._other(found, opened, found.forget(talk))

    def _other(self, visitor: Visitor, opened: Opened, talk: Conversation) -> Shown:
        opened.name, opened.editing = talk.id, ""
        return self.show.whole(visitor, talk) | {self.show.words: "", self.show.task: "chat"}

    # --- menus -------------------------------------------------------------------------------------------

    async def _list_models(self, chosen: str | None) -> Any:
        try:
            models = await self._answerer.models()
        except ClientError as error:
            warn(sentence(error))
            return gr.skip()
        names = [model.name for model in models]
        return gr.Dropdown(views.model_choices(models), value=chosen if chosen in names else names[0])
