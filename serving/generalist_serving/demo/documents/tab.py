"""The tab that finds documents in the indexes of the server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from generalist.types import GeneralistError
from generalist_serving.client import AsyncClient, ClientError, DocumentHit, StoreInfo
from generalist_serving.demo.answering import sentence
from generalist_serving.demo.conversations import Conversation
from generalist_serving.demo.documents import views
from generalist_serving.demo.documents.parts import Hits
from generalist_serving.demo.parts import UNCHANGED, Pictures, Shown, told, warn
from generalist_serving.demo.stage import Stage, read_prompts
from generalist_serving.demo.store import Sessions, Store
from generalist_serving.demo.views import pictures as show_pictures
from generalist_serving.demo.views import stage as show_stage

_ABOUT_A_PICTURE = "Which document describes this?"
"""What is asked about a picture where nothing is written."""
_MOST = 50
_AT_ONCE = 8
"""Searches that are under way; others wait in a queue."""


@dataclass(slots=True, kw_only=True, eq=False)
class _Session:
    """What one visitor searches with: ``about`` holds the pictures. ``searches`` counts, so that the last one wins."""

    about: Conversation = field(default_factory=Conversation)
    searches: int = 0


class DocumentsTab:
    """A question, in words or about a picture, and the documents that answer it."""

    def __init__(self, visitor: gr.BrowserState, store: Store, client: AsyncClient) -> None:
        self.visitor = visitor
        self._store = store
        self._client = client
        self._sessions: Sessions[_Session] = Sessions(_Session)
        self._stores: tuple[StoreInfo, ...] = ()

    def build(self, page: gr.Blocks, tab: gr.Tab) -> None:
        """Put the components into ``tab`` of ``page``, within which we are."""
        self.before = gr.State("")  # the index whose ways to search the menus offer
        with gr.Row(equal_height=True, elem_classes="ask"):
            self.index = gr.Dropdown([], label="Index", filterable=False, scale=3, min_width=180)
            self.mode = gr.Dropdown([], label="Search by", filterable=False, scale=2, min_width=160)
            self.find = gr.Dropdown([], label="Find", filterable=False, scale=2, min_width=130)
            self.most = gr.Number(10, label="Hits at most", precision=0, minimum=1, maximum=_MOST, min_width=110)
        with gr.Row(equal_height=True, elem_classes="ask"):
            self.words = gr.Textbox(
                label="What to find",
                placeholder="Such as: a red sofa",
                max_lines=6,
                max_length=2000,
                scale=8,
            )
            self.search = gr.Button("Search", variant="primary", scale=1, min_width=90)
        with gr.Row(elem_classes=["sides", "documents"]):
            with gr.Column(scale=5, min_width=340, elem_classes="look"):
                self.pictures = Pictures(samples=())
                self.stage = Stage(elem_id="documents-stage")
            with gr.Column(scale=6, min_width=380):
                self.hits = Hits(elem_id="documents-hits")
        self._connect(tab)

    def _connect(self, tab: gr.Tab) -> None:
        quick: dict[str, Any] = {
            "outputs": [self.pictures, self.stage],
            "show_progress": "hidden",
            "api_visibility": "private",
            "queue": False,
            "trigger_mode": "multiple",
        }
        long: dict[str, Any] = {**quick, "queue": True, "concurrency_limit": None}
        menus = {**long, "outputs": [self.index, self.before, self.mode, self.find, self.hits, *quick["outputs"]]}
        tab.select(self._select, [self.visitor, self.index], **menus)
        chosen = [self.index, self.before, self.mode, self.find]
        self.index.input(self._choose_index, chosen, **menus)
        asked = [self.visitor, self.index, self.words, self.mode, self.find, self.most, self.stage]
        searches = {**long, "outputs": self.hits, "show_progress": "minimal", "concurrency_limit": _AT_ONCE}
        gr.on([self.search.click, self.words.submit], self._search, asked, **searches)
        self.pictures.added(self._add, self.visitor, **long)
        self.pictures.chosen(self._choose, self.visitor, **quick)
        self.pictures.removed(self._remove, self.visitor, **quick)

    def _about(self, visitor: object) -> Conversation:
        return self._sessions.of(self._store.visitor(visitor).id).about

    # --- menus -------------------------------------------------------------------------------------------

    async def _select(self, visitor: object, chosen: str | None) -> Shown:
        try:
            self._stores = await self._client.vector_stores()
        except ClientError as error:
            warn(sentence(error))
        found = self._found(chosen)
        shown = self._show_pictures(self._about(visitor))
        if found is not None and found.id == chosen:  # the page keeps its hits
            return shown
        menu = gr.Dropdown(views.store_choices(self._stores), value=found.id if found else None)
        return {self.index: menu, **self._menus(found), **shown}

    async def _choose_index(self, chosen: str | None, before: str, mode: str | None, find: str | None) -> Shown:
        found, last = self._found(chosen), self._found(before)
        if found is not None and last is not None and found.modes == last.modes:
            # The menus stay as they are: somebody may be choosing from them already.
            return {self.before: found.id, self.hits: views.hits(found)}
        return self._menus(found, mode, find)

    def _found(self, chosen: str | None) -> StoreInfo | None:
        """The index that is called so, or else the first."""
        return next((one for one in self._stores if one.id == chosen), next(iter(self._stores), None))

    def _menus(self, found: StoreInfo | None, mode: str | None = None, find: str | None = None) -> Shown:
        """What can be chosen for an index, where nothing was found in it yet; choices that it has too are kept."""
        shown: Shown = {self.hits: views.hits(found), self.before: found.id if found else ""}
        for menu, choices, kept in (
            (self.mode, views.mode_choices(found) if found else [], mode),
            (self.find, views.find_choices(found) if found else [], find),
        ):
            values = [value for _, value in choices]
            shown[menu] = gr.Dropdown(choices, value=kept if kept in values else next(iter(values), None))
        return shown

    # --- searching -----------------------------------------------------------------------------------------

    async def _search(
        self,
        visitor: object,
        chosen: str | None,
        words: str | None,
        mode: str | None,
        find: str | None,
        most: float | None,
        stage: object,
    ) -> Shown:
        session = self._sessions.of(self._store.visitor(visitor).id)
        session.searches += 1
        mine, store = session.searches, self._found(chosen)
        picture = session.about.shown if store is not None and store.images else None
        question = " ".join((words or "").split()) or (_ABOUT_A_PICTURE if picture else "")
        if store is None or not question:
            warn("There is nothing to look for; write what to find." if store else "The server has no index.")
            return UNCHANGED
        begun = time.monotonic()
        try:
            drawn = stage.get("prompts") if isinstance(stage, dict) else None
            found: Sequence[DocumentHit] = await self._client.search(
                store.id,
                question,
                image=await asyncio.to_thread(picture.image) if picture else None,
                visual_prompts=read_prompts(drawn, picture.size) if picture else (),
                mode=mode or None,
                find=find or "document",
                max_num_results=int(min(max(most or 1, 1), _MOST)),
            )
            value = views.hits(store, found, question=question, seconds=time.monotonic() - begun)
        except (ClientError, GeneralistError) as error:
            value = views.failure(store, sentence(error))
        return {self.hits: value} if mine == session.searches else UNCHANGED

    # --- pictures ------------------------------------------------------------------------------------------

    def _show_pictures(self, about: Conversation) -> Shown:
        return {self.pictures: show_pictures(about), self.stage: show_stage(about)}

    async def _add(self, visitor: object, event: gr.EventData) -> Shown:
        if refused := told(event, "refused"):
            warn(str(refused)[:300])
        names, about = told(event, "ids"), self._about(visitor)
        added = [self._store.picture(name) for name in (names if isinstance(names, list) else ())]
        about.add([picture for picture in added if picture is not None])
        return self._show_pictures(about)

    async def _choose(self, visitor: object, event: gr.EventData) -> Shown:
        about = self._about(visitor)
        about.show(about.picture(told(event, "picture")) or about.shown)
        return self._show_pictures(about)

    async def _remove(self, visitor: object, event: gr.EventData) -> Shown:
        about = self._about(visitor)
        picture = about.picture(told(event, "picture"))
        if picture is not None:
            about.remove(picture)
        return self._show_pictures(about)
