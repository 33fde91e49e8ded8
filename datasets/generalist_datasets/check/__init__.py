"""Is a data set sound? Reads it once, changes nothing, and says what it holds and what is wrong.

Stages: a reader's records -> Statistics, Pictures, DepthMaps, Unreferred (they keep counts and digests) -> Report.
A corpus of text has a check of its own, and so have composed scenes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from generalist.types import GeneralistError
from generalist_datasets.check.corpus import check_corpus
from generalist_datasets.check.images import check_images
from generalist_datasets.check.report import CorpusReport, Report, ScenesReport
from generalist_datasets.check.scenes import check_scenes
from generalist_datasets.corpora import CORPORA, detect_corpus
from generalist_datasets.readers import READERS, Options, get_reader
from generalist_datasets.records import Record
from generalist_datasets.world.shards import is_shards

__all__ = ["CorpusReport", "Report", "ScenesReport", "check"]


def check(
    path: Path,
    format: str | None = None,
    options: Options | None = None,
    *,
    on_record: Callable[[Record], object] = lambda record: None,
) -> Report | CorpusReport | ScenesReport:
    """Check the data set at ``path``, a folder or an annotation file.

    ``format`` is a name of ``READERS`` or ``CORPORA``, by default found from the contents. ``on_record`` is called
    with every record of images as it is read. Raises :class:`GeneralistError` for what cannot be read at all.
    """
    if format is not None and format not in READERS | CORPORA:
        raise GeneralistError(f"there is no format {format!r}; use one of {', '.join([*READERS, *CORPORA])}")
    if not os.path.exists(path):
        raise GeneralistError(f"{str(path)[:200]}: no such file or folder; check the path")
    if format is None and is_shards(path):
        return check_scenes(path)
    corpus = CORPORA.get(format) if format else detect_corpus(path)
    if corpus is not None:
        return check_corpus(corpus, path)
    return check_images(get_reader(path, format), path, options or Options(), on_record)
