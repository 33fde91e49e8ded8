"""A server of scripted replies, as a process: ``python -m tests.generalist_serving.scripted_server``."""

from __future__ import annotations

import sys

from generalist.tokens import Vocabulary, VocabularySizes
from generalist_serving.addresses import bind
from generalist_serving.api.app import create_app
from generalist_serving.api.drain import Drain
from generalist_serving.api.settings import Settings
from generalist_serving.running import run_app
from generalist_serving.service import Service

from ..conftest import make_tokenizer
from .scripted_backend import NOTHING, ScriptedBackend, scripted_line


def main(delay: float, drain_s: float) -> None:
    """Each token takes ``delay`` seconds, told to stop there are ``drain_s`` to finish."""
    vocab = Vocabulary.extend(make_tokenizer(), VocabularySizes(locs=64, mask_codes=16, depth_codes=32))
    backend = ScriptedBackend([vocab.encode_text(NOTHING)], delay=delay)
    service = Service(scripted_line(vocab), backend, model="nano")
    drain, settings = Drain(), Settings(drain_s=drain_s)
    with bind("127.0.0.1", 0) as listener:
        run_app(create_app(service, settings, drain=drain), listener, drain, settings, "scripted replies")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
