"""The page as one app: its tabs, and the routes that they need."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import gradio as gr
from fastapi import FastAPI

from generalist_serving.api.middleware import Auth
from generalist_serving.api.settings import Settings
from generalist_serving.client import AsyncClient
from generalist_serving.demo import routes, theme
from generalist_serving.demo.answering import Answerer
from generalist_serving.demo.chat_tab import ChatTab
from generalist_serving.demo.compare_tab import CompareTab
from generalist_serving.demo.documents.tab import DocumentsTab
from generalist_serving.demo.inspect import Folder, Looker
from generalist_serving.demo.inspect.tab import InspectTab
from generalist_serving.demo.samples import samples
from generalist_serving.demo.store import Store
from generalist_serving.demo.stream_ends import StreamEnds

_TITLE = "Generalist"
_HEADER = f"""<header class="top"><h1>{_TITLE}</h1>
<p>Ask about pictures; see the answer drawn on them.</p>
<button type="button" class="themes">Dark theme</button></header>"""
_WAITING = 500
"""Questions that may wait in the queue; the next visitor is told to come back."""


def create_demo(
    client: AsyncClient,
    *,
    allowed_hosts: Sequence[str] = (),
    folders: Sequence[Folder] = (),
    looker: Looker | None = None,
    documents: bool = False,
) -> FastAPI:
    """The page in front of the server that ``client`` speaks to; it closes the client when it ends.

    ``allowed_hosts``: the names that a ``Host`` header may hold, empty for any. ``folders``: what may be inspected,
    by anybody; ``looker``: where the model looks, if it runs in this process. ``documents``: the server has indexes.
    """
    store, answerer, offered = Store(), Answerer(client), samples()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await answerer.close()

    app = FastAPI(title=_TITLE, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.include_router(routes.router(store, offered))
    app.add_middleware(StreamEnds)
    app.add_middleware(Auth, settings=Settings(allowed_hosts=tuple(allowed_hosts)))
    with gr.Blocks(title=_TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.HTML(_HEADER, apply_default_css=False)
        visitor = gr.BrowserState("", storage_key="generalist-demo-visitor", secret="generalist-demo")
        tabs: dict[str, ChatTab | CompareTab | DocumentsTab | InspectTab] = {
            "Chat": ChatTab(visitor, store, answerer, offered),
            "Compare": CompareTab(visitor, store, answerer),
        }
        if documents:
            tabs["Documents"] = DocumentsTab(visitor, store, client)
        if folders:
            tabs["Inspect"] = InspectTab(visitor, store, answerer, client, folders, looker or Looker())
        with gr.Tabs():
            for name, tab in tabs.items():
                with gr.Tab(name) as place:
                    tab.build(page, place)
    page.queue(max_size=_WAITING, api_open=False)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=routes.MAX_UPLOAD_BYTES,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=theme.theme(),
        css=theme.css(),
        js=theme.script(),
    )
    return app
