"""What the chat is made of, and what it shows: picture and drawings on the left, the conversation on the right."""

from __future__ import annotations

from collections.abc import Mapping

import gradio as gr

from generalist_serving.demo import views
from generalist_serving.demo.conversations import Conversation
from generalist_serving.demo.parts import Pictures, Shown, Transcript
from generalist_serving.demo.samples import Sample
from generalist_serving.demo.stage import Stage
from generalist_serving.demo.store import Visitor

_STAGE = "chat-stage"


class ChatLayout:
    """The components, made where we are in a page."""

    def __init__(self, visitor: gr.BrowserState, samples: Mapping[str, Sample]) -> None:
        self.visitor = visitor
        with gr.Row(elem_classes="chat"):
            with gr.Column(scale=6, min_width=420, elem_classes="look"):
                offered = [
                    {"name": name, "url": f"samples/{name}", "words": one.words} for name, one in samples.items()
                ]
                self.pictures = Pictures(samples=offered)
                # Hidden by CSS where there is no picture: what Gradio hides and shows again gets no more values.
                self.stage = Stage(elem_id=_STAGE)
            with gr.Column(scale=4, min_width=340, elem_classes="talk"):
                self._build_talk()
        self.talking = [self.pictures, self.stage, self.transcript, self.send, self.stop]
        """What changes while an answer is written."""
        self.all = [self.visitor, self.history, *self.talking, self.words, self.task]
        """Everything of a conversation that has a value or changes its looks."""

    def whole(self, visitor: Visitor, talk: Conversation, *, editing: bool = False) -> Shown:
        """A conversation, but for what is being written into the question's box."""
        return {self.visitor: visitor.id, **self.titles(visitor, talk), **self.talk(talk, editing=editing)}

    def titles(self, visitor: Visitor, talk: Conversation) -> Shown:
        """The visitor's conversations, of which ``talk`` is open."""
        choices = [(one.title, one.id) for one in visitor.conversations]
        return {self.history: gr.Dropdown(choices, value=talk.id)}

    def talk(self, talk: Conversation, *, editing: bool = False) -> Shown:
        """New values of ``talking``; ``editing``: the last question is being changed."""
        busy = talk.running is not None
        buttons = {self.send: gr.Button(interactive=not busy), self.stop: gr.Button(interactive=busy)}
        return {**self.seen(talk, editing=editing), **buttons}

    def seen(self, talk: Conversation, *, editing: bool = False) -> Shown:
        """Those of ``talking`` of which the page knows the order, see ``order``."""
        return {
            self.pictures: views.pictures(talk),
            self.stage: views.stage(talk),
            self.transcript: views.transcript(talk, editing=editing),
        }

    def _build_talk(self) -> None:
        with gr.Row(equal_height=True, elem_classes="history"):
            self.history = gr.Dropdown([], label="Conversation", scale=5, min_width=160, filterable=False)
            self.new = gr.Button("New", size="sm", scale=1, min_width=60)
            self.delete = gr.Button("Delete", size="sm", scale=1, min_width=60)
        self.transcript = Transcript(stage=_STAGE)
        with gr.Row():
            self.task = gr.Dropdown(views.task_choices(), value="chat", label="Task", min_width=120, filterable=False)
            self.model = gr.Dropdown([], label="Model", min_width=120, filterable=False)
        self.words = gr.Textbox(
            label="Question", placeholder=views.HINTS["chat"], lines=1, max_lines=6, max_length=4000, elem_id="question"
        )
        with gr.Row():
            self.send = gr.Button("Send", variant="primary", elem_id="send")
            self.stop = gr.Button("Stop", interactive=False, elem_id="stop")
