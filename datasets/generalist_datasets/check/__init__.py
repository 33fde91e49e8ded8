"""Is a data set sound? Reads it once, changes nothing, and says what it holds and what is wrong.

Stages: a reader's records -> Statistics, Pictures, DepthMaps, Unreferred (they keep counts and digests) -> Report.
A corpus of text has a check of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from generalist_datasets.check.corpus import check_corpus
from generalist_datasets.check.images import check_images
from generalist_datasets.check.report import CorpusReport, Report
from generalist_datasets.corpora import CORPORA, detect_corpus
from generalist_datasets.readers import Options, get_reader
from generalist_datasets.records import Record

__all__ = ["CorpusReport", "Report", "check"]


def check(
    path: Path,
    format: str | None = None,
    options: Options | None = None,
    *,
    on_record: Callable[[Record], object] = lambda record: None,
) -> Report | CorpusReport:
    """Check the data set at ``path``, a folder or an annotation file.

    ``format`` is a name of ``READERS`` or ``CORPORA``, by default found from the contents. ``on_record`` is called
    with every record of images as it is read. Raises :class:`GeneralistError` for what cannot be read at all.
    """
    corpus = CORPORA.get(format) if format else detect_corpus(path)
    if corpus is not None:
        return check_corpus(corpus, path)
    return check_images(get_reader(path, format), path, options or Options(), on_record)
