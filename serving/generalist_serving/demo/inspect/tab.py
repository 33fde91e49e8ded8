"""The tab that shows how well a model finds what a labelled folder holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from generalist.types import GeneralistError
from generalist_serving.client import AsyncClient, ClientError
from generalist_serving.demo.answering import Answerer, sentence, watch
from generalist_serving.demo.conversations import Picture
from generalist_serving.demo.inspect import running, views
from generalist_serving.demo.inspect.folders import Folder
from generalist_serving.demo.inspect.looking import ELSEWHERE, Looker
from generalist_serving.demo.inspect.parts import Heat, Plots
from generalist_serving.demo.inspect.running import Asked, Cache, Run
from generalist_serving.demo.parts import UNCHANGED, Shown, told, warn
from generalist_serving.demo.stage import Stage
from generalist_serving.demo.store import Sessions, Store
from generalist_serving.demo.views import model_choices

_TASKS = [("Boxes", "detect"), ("Outlines", "segment")]
_WAYS = [("All at once", False), ("Class by class", True)]
_LOOK = "Choose a thing first."


@dataclass(slots=True, kw_only=True, eq=False)
class _Session:
    """What one visitor inspects: the last run, what was asked so far, and what is looked at, if anything.

    ``picture`` is None while it is read.
    """

    cache: Cache = field(default_factory=dict)
    run: Run | None = None
    picked: views.Picked | None = None
    picture: Picture | None = None

    def stop(self) -> None:
        """End the run, if one is under way."""
        if self.run is not None:
            self.run.stop()


class InspectTab:
    """Statistics of a labelled folder against quality, linked with its pictures."""

    def __init__(
        self,
        visitor: gr.BrowserState,
        store: Store,
        answerer: Answerer,
        client: AsyncClient,
        folders: Sequence[Folder],
        looker: Looker,
    ) -> None:
        self.visitor = visitor
        self._store = store
        self._answerer = answerer
        self._client = client
        self._folders = {folder.name: folder for folder in folders}
        self._looker = looker
        self._sessions = Sessions(_Session, _Session.stop)

    def build(self, page: gr.Blocks, tab: gr.Tab) -> None:
        """Put the components into ``tab`` of ``page``, within which we are."""
        names = list(self._folders)
        with gr.Row(equal_height=True, elem_classes="ask"):
            self.folder = gr.Dropdown(names, value=names[0], label="Labelled folder", filterable=False, scale=2)
            self.model = gr.Dropdown([], label="Model to inspect", filterable=False, scale=2)
            self.drawing = gr.Dropdown(_TASKS, value="detect", label="Ask for", filterable=False, min_width=120)
            self.way = gr.Dropdown(_WAYS, value=False, label="Questions", filterable=False, min_width=170)
            self.limit = gr.Number(
                20, label="Pictures at most", precision=0, minimum=1, maximum=running.MOST_PICTURES, min_width=160
            )
            self.go = gr.Button("Run", variant="primary", scale=1, min_width=80)
            self.stop = gr.Button("Cancel", interactive=False, scale=1, min_width=80)
        self.plots = Plots(elem_id="inspect-plots")
        with gr.Row(elem_classes=["sides", "seen"]):  # without tools: there is nobody to draw for
            with gr.Column(min_width=340):
                gr.Markdown("### Labelled")
                self.truth = Stage(elem_id="inspect-truth")
            with gr.Column(min_width=340):
                gr.Markdown("### Found")
                self.found = Stage(elem_id="inspect-found")
        with gr.Row(equal_height=True, elem_classes="ask"):
            self.question = gr.Dropdown([], label="Answer to look into", filterable=False, scale=4)
            self.look = gr.Button("Show where the model looked", scale=1, min_width=220, interactive=False)
        self.heat = Heat(elem_id="inspect-heat")
        self._connect(tab)

    def _connect(self, tab: gr.Tab) -> None:
        progress = [self.plots, self.go, self.stop]
        shown = [self.truth, self.found, self.question, self.look, self.heat]
        quick: dict[str, Any] = {
            "outputs": [*progress, *shown, self.model],
            "show_progress": "hidden",
            "api_visibility": "private",
            "queue": False,
            "trigger_mode": "multiple",
        }
        long: dict[str, Any] = {**quick, "queue": True, "concurrency_limit": None}
        asked = [self.visitor, self.folder, self.model, self.drawing, self.way, self.limit]
        selected = tab.select(self._select, [self.visitor, self.model], **long)
        for begun in (selected, self.go.click(self._go, asked, **long)):
            begun.then(self._watch, self.visitor, **(long | {"outputs": progress}))
        self.stop.click(self._stop, self.visitor, **quick)
        self.plots.picked(self._pick, self.visitor, **long)
        self.look.click(self._look, [self.visitor, self.question], **(long | {"show_progress": "minimal"}))

    def _session(self, visitor: object) -> _Session:
        return self._sessions.of(self._store.visitor(visitor).id)

    # --- running ---------------------------------------------------------------------------------------------

    async def _select(self, visitor: object, chosen: str | None) -> Shown:
        try:
            models = await self._answerer.models()
        except ClientError as error:
            warn(sentence(error))
            return UNCHANGED
        names = [model.name for model in models]
        return {self.model: gr.Dropdown(model_choices(models), value=chosen if chosen in names else names[0])}

    async def _go(
        self, visitor: object, folder: str, model: str | None, task: str, by_class: bool, limit: float | None
    ) -> Shown:
        session = self._session(visitor)
        if session.run is not None and not session.run.over:
            warn("A run is under way. Cancel it, or wait for its end.")
            return UNCHANGED
        asked = Asked(
            folder=self._folders[folder],
            model=model,
            task="segment" if task == "segment" else "detect",
            by_class=bool(by_class),
            limit=int(min(max(limit or 1, 1), running.MOST_PICTURES)),
        )
        session.run, session.picked, session.picture = running.start(asked, self._client, session.cache), None, None
        return self._state(session) | self._nothing()

    async def _watch(self, visitor: object) -> AsyncIterator[Shown]:
        """What is shown while a run goes on, which may have begun before the page was loaded anew, and at its end."""
        session = self._session(visitor)
        async for _ in watch(*([session.run] if session.run else [])):
            yield self._state(session)

    def _stop(self, visitor: object) -> Shown:
        self._session(visitor).stop()
        return {self.stop: gr.Button(interactive=False)}

    def _state(self, session: _Session) -> Shown:
        busy = session.run is not None and not session.run.over
        return {
            self.plots: views.plots(session.run, session.picked),
            self.go: gr.Button(interactive=not busy),
            self.stop: gr.Button(interactive=busy),
        }

    def _nothing(self) -> Shown:
        """No picture on the stages."""
        truth, found = views.stages(None, None)
        return {
            self.truth: truth,
            self.found: found,
            self.question: gr.Dropdown([], value=None),
            self.look: gr.Button(interactive=False),
            self.heat: views.heat(None, None),
        }

    # --- one picture -----------------------------------------------------------------------------------------

    async def _pick(self, visitor: object, event: gr.EventData) -> Shown:
        session = self._session(visitor)
        at, number = told(event, "picture"), told(event, "thing")
        inspected = session.run.inspected if session.run is not None else []
        if type(at) is not int or type(number) is not int or not 0 <= at < len(inspected):
            return UNCHANGED
        one = inspected[at]
        if not 0 <= number < len(one.judged.things):
            return UNCHANGED
        picked = session.picked = views.Picked(picture=at, thing=number)
        session.picture = None
        try:
            picture = await asyncio.to_thread(
                lambda: Picture.read(one.picture.path.read_bytes(), one.picture.path.name)
            )
        except (GeneralistError, OSError):
            warn("The picture cannot be read any more.")
            return UNCHANGED
        if picked is not session.picked:  # another one meanwhile, which may have been quicker
            return UNCHANGED
        self._store.keep(picture)
        session.picture = picture
        truth, found = views.stages(one, picture)
        questions = [(words, place) for place, words in enumerate(one.picture.questions)]
        return {
            self.plots: views.plots(session.run, session.picked),
            self.truth: truth,
            self.found: found,
            self.question: gr.Dropdown(questions, value=0),
            self.look: gr.Button(interactive=self._looker.ready),
            self.heat: views.heat(None, None, "" if self._looker.ready else ELSEWHERE),
        }

    async def _look(self, visitor: object, place: int | None) -> Shown:
        session = self._session(visitor)
        run, picked, picture = session.run, session.picked, session.picture
        if run is None or picked is None or picture is None:
            return {self.heat: views.heat(None, None, _LOOK)}
        questions = run.inspected[picked.picture].picture.questions
        words = questions[place if place is not None and 0 <= place < len(questions) else 0]
        try:
            models = await self._answerer.models()
            adapter = next((one.name for one in models if one.name == run.asked.model and one.parent), None)
            image = await asyncio.to_thread(picture.image)
            looked = await asyncio.to_thread(self._looker.look, image, words, run.asked.task, adapter)
        except (ClientError, GeneralistError) as error:
            return {self.heat: views.heat(None, None, sentence(error))}
        return {self.heat: views.heat(looked, picture)} if picked is session.picked else UNCHANGED
