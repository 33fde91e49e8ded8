"""The tab that shows what two models, such as the base and an adapter, answer to the same question."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import gradio as gr

from generalist.types import GeneralistError
from generalist_serving.client import ClientError
from generalist_serving.demo import views
from generalist_serving.demo.answering import Answerer, sentence, watch
from generalist_serving.demo.chat_tab import AT_ONCE
from generalist_serving.demo.conversations import Conversation, Question, Turn
from generalist_serving.demo.parts import UNCHANGED, Pictures, Shown, Transcript, told, warn
from generalist_serving.demo.stage import Stage, read_prompts
from generalist_serving.demo.store import Store

_NAMES = ("Left", "Right")


class CompareTab:
    """Two conversations with the same pictures and questions, side by side."""

    def __init__(self, visitor: gr.BrowserState, store: Store, answerer: Answerer) -> None:
        self.visitor = visitor
        self._store = store
        self._answerer = answerer

    def build(self, page: gr.Blocks, tab: gr.Tab) -> None:
        """Put the components into ``tab`` of ``page``, within which we are."""
        self.pictures = Pictures(samples=())
        with gr.Row(equal_height=True, elem_classes="ask"):
            self.task = gr.Dropdown(
                views.task_choices(), value="chat", label="Task for both", min_width=150, scale=2, filterable=False
            )
            self.words = gr.Textbox(
                label="Question for both", placeholder=views.HINTS["chat"], max_lines=6, max_length=4000, scale=5
            )
            self.send = gr.Button("Compare", variant="primary", scale=1, min_width=90)
            self.stop = gr.Button("Stop", interactive=False, scale=1, min_width=70)
            self.clear = gr.Button("Start over", scale=1, min_width=90)
        self.models: list[gr.Dropdown] = []
        self.stages: list[gr.HTML] = []
        self.transcripts: list[gr.HTML] = []
        with gr.Row(elem_classes="sides"):
            for name in _NAMES:
                with gr.Column(min_width=340):
                    self.models.append(gr.Dropdown([], label=f"{name} model", filterable=False))
                    self.stages.append(Stage(elem_id=f"stage-{name.lower()}"))
                    self.transcripts.append(Transcript(stage=f"stage-{name.lower()}"))
        self._connect(tab)

    def _connect(self, tab: gr.Tab) -> None:
        outputs = [self.pictures, *self.stages, *self.transcripts, self.words, self.send, self.stop, *self.models]
        quick: dict[str, Any] = {
            "outputs": outputs,
            "show_progress": "hidden",
            "api_visibility": "private",
            "queue": False,
            "trigger_mode": "multiple",
        }
        # Toasts only come from what goes through the queue. What goes beside it may come late, and so says nothing of
        # the buttons, which would then stay as they were while an answer was written.
        long: dict[str, Any] = {**quick, "queue": True, "concurrency_limit": None}
        talking = [self.pictures, *self.stages, *self.transcripts, self.send, self.stop]
        follows = {**long, "outputs": talking}
        asks = {**long, "outputs": [*talking, self.words], "concurrency_limit": AT_ONCE, "concurrency_id": "answers"}
        asks |= {"show_progress": "minimal", "show_progress_on": self.transcripts}
        gr.on(
            [self.send.click, self.words.submit],
            self._send,
            [self.visitor, self.words, self.task, *self.models, *self.stages],
            **asks,
        )
        selected = tab.select(self._select, [self.visitor, *self.models], **long)
        selected.then(self._follow, self.visitor, **follows)
        self.stop.click(self._stop, self.visitor, **quick)
        self.clear.click(self._clear, self.visitor, **long)
        self.pictures.added(self._add, self.visitor, **long)
        self.pictures.chosen(self._choose, self.visitor, **quick)
        self.pictures.removed(self._remove, self.visitor, **quick)
        self.task.change(views.hint, self.task, **(quick | {"outputs": self.words}))
        for number, transcript in enumerate(self.transcripts):
            transcript.shown(self._shows(number), self.visitor, **quick)

    # --- what is shown -----------------------------------------------------------------------------------

    def _sides(self, visitor: object) -> tuple[Conversation, Conversation]:
        return self._store.visitor(visitor).sides

    def _whole(self, visitor: object) -> Shown:
        """Everything but the menus and the question."""
        busy = any(talk.running for talk in self._sides(visitor))
        buttons = {self.send: gr.Button(interactive=not busy), self.stop: gr.Button(interactive=busy)}
        return self._seen(visitor) | buttons

    def _seen(self, visitor: object) -> Shown:
        """Pictures and answers."""
        sides = self._sides(visitor)
        shown: Shown = {self.pictures: views.pictures(sides[0])}
        for talk, stage, transcript in zip(sides, self.stages, self.transcripts, strict=True):
            shown |= {stage: views.stage(talk), transcript: views.transcript(talk, editable=False)}
        return shown

    async def _select(self, visitor: object, *chosen: str | None) -> Shown:
        shown = self._whole(visitor)
        try:
            models = await self._answerer.models()
        except ClientError as error:
            warn(sentence(error))
            return shown
        # By default the base on the left, and the first adapter on the right.
        defaults = (models[0].name, models[min(1, len(models) - 1)].name)
        names = [model.name for model in models]
        for menu, one, default in zip(self.models, chosen, defaults, strict=True):
            shown[menu] = gr.Dropdown(views.model_choices(models), value=one if one in names else default)
        return shown

    # --- asking ------------------------------------------------------------------------------------------

    async def _follow(self, visitor: object) -> AsyncIterator[Shown]:
        """What changes until both last answers are over."""
        left, right = self._sides(visitor)
        async for _ in watch(*left.turns[-1:], *right.turns[-1:]):
            yield self._whole(visitor)

    async def _send(
        self, visitor: object, words: str, task: str, left: str | None, right: str | None, *stages: Any
    ) -> AsyncIterator[Shown]:
        """What is drawn on either stage goes with both questions."""
        sides = self._sides(visitor)
        if any(talk.running for talk in sides):
            warn("An answer is still being written. Stop it, or wait for its end.")
            yield UNCHANGED
            return
        picture = sides[0].shown
        prompts = [prompt for stage in stages if picture is not None for prompt in stage.get("prompts") or ()]
        turns: list[Turn] = []
        try:
            if picture is not None:
                read_prompts(prompts, picture.size)
            for talk, model in zip(sides, (left, right), strict=True):
                asked = Question(words=words or "", task=task, model=model, prompts=tuple(prompts), picture=picture)
                turns.append(talk.ask(asked))
                self._answerer.start(talk, turns[-1])
        except GeneralistError as error:
            warn(sentence(error))
            yield UNCHANGED
            return
        yield self._whole(visitor) | {self.words: ""}
        async for shown in self._follow(visitor):
            yield shown
        yield self._ended(visitor, turns)

    def _ended(self, visitor: object, turns: list[Turn]) -> Shown:
        """Where nothing came of both questions, all is as before."""
        for told_why in dict.fromkeys(turn.error for turn in turns if turn.error):
            warn(told_why)
        if not all(turn.lost and turn.error for turn in turns):
            return self._whole(visitor)
        for talk, turn in zip(self._sides(visitor), turns, strict=True):
            talk.drop(turn)
        self._sides(visitor)[0].draw(turns[0].asked.prompts)
        return self._whole(visitor) | {self.words: turns[0].asked.words}

    async def _stop(self, visitor: object) -> Shown:
        for talk in self._sides(visitor):
            if talk.running is not None:
                talk.running.stop()
        return {self.stop: gr.Button(interactive=False)}

    # --- pictures ------------------------------------------------------------------------------------------

    async def _add(self, visitor: object, event: gr.EventData) -> Shown:
        if refused := told(event, "refused"):
            warn(str(refused)[:300])
        names = told(event, "ids")
        added = [self._store.picture(name) for name in (names if isinstance(names, list) else ())]
        for talk in self._sides(visitor):
            talk.add([picture for picture in added if picture is not None])
        return self._whole(visitor)

    async def _choose(self, visitor: object, event: gr.EventData) -> Shown:
        for talk in self._sides(visitor):
            talk.show(talk.picture(told(event, "picture")) or talk.shown)
        return self._seen(visitor)

    async def _remove(self, visitor: object, event: gr.EventData) -> Shown:
        for talk in self._sides(visitor):
            picture = talk.picture(told(event, "picture"))
            if picture is not None:
                talk.remove(picture)
        return self._seen(visitor)

    async def _clear(self, visitor: object) -> Shown:
        await self._stop(visitor)
        self._store.visitor(visitor).compare_anew()
        return self._whole(visitor) | {self.words: ""}

    def _shows(self, side: int) -> Any:
        async def show_turn(visitor: object, event: gr.EventData) -> Shown:
            self._sides(visitor)[side].show_turn(told(event, "turn"), told(event, "unit"))
            return self._seen(visitor)

        return show_turn
