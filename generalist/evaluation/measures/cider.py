"""CIDEr-D, the consensus of a caption with several references (Vedantam et al. 2015).

The formula of the COCO caption evaluation, without its Java tokenizer: words are runs of letters and digits in lower
case, with what follows an apostrophe.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np

_LONGEST = 4
"""Words of the longest n-grams."""
_SIGMA = 6.0
_SCALE = 10.0
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?")


def cider_counts(said: str, references: Sequence[str]) -> dict[str, Any]:
    """What :func:`cider` needs of a caption and its references, R of them, one or more.

    Over the G n-grams of either: ``keys`` int64 [G] that identify them, ``orders`` [G] their words less one,
    ``said`` [G] and ``references`` [R, G] how often they occur. ``penalties`` [R] for another length.
    """
    own, *others = (_ngrams(text) for text in (said, *references))
    ngrams = sorted(set(own).union(*others))
    lengths = [sum(count for ngram, count in counts.items() if len(ngram) == 2) for counts in (own, *others)]
    apart = np.array(lengths[1:], np.float64) - lengths[0]
    return {
        "keys": np.array([_key(ngram) for ngram in ngrams], np.int64),
        "orders": np.array([len(ngram) - 1 for ngram in ngrams], np.int64),
        "said": np.array([own[ngram] for ngram in ngrams], np.float64),
        "references": np.array([[counts[ngram] for ngram in ngrams] for counts in others], np.float64),
        "penalties": np.exp(-(apart**2) / (2 * _SIGMA**2)),
    }


def _ngrams(text: str) -> Counter[tuple[str, ...]]:
    words = _WORD.findall(text.lower())
    return Counter(tuple(words[k : k + n]) for n in range(1, _LONGEST + 1) for k in range(len(words) - n + 1))


def _key(ngram: tuple[str, ...]) -> int:
    """The same in every process, unlike ``hash``."""
    return int.from_bytes(blake2b(" ".join(ngram).encode("utf-8", "replace"), digest_size=8).digest(), "big") >> 1


def cider(captions: Sequence[Mapping[str, Any]]) -> float:
    """CIDEr-D, 0-10, of captions as :func:`cider_counts` has them: their mean.

    What is rare among the references of these very captions weighs more, so that a single caption has 0.
    """
    keys = [np.asarray(one["keys"], np.int64) for one in captions]
    idf = np.log(len(captions)) - np.log(_pictures_with(np.concatenate(keys), captions))
    by_caption = np.split(idf, np.cumsum([len(own) for own in keys])[:-1])
    return _SCALE * float(np.mean([_agreement(one, own) for one, own in zip(captions, by_caption, strict=True)]))


def plain_agreement(caption: Mapping[str, Any]) -> float:
    """How a caption agrees with its references, 0-1, all n-grams weighing the same: for captions one by one."""
    return _agreement(caption, np.ones(len(caption["keys"])))


def _pictures_with(keys: np.ndarray, captions: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """In how many pictures' references each of the n-grams is; 1 where in none."""
    there = [np.asarray(one["keys"], np.int64)[np.asarray(one["references"]).any(axis=0)] for one in captions]
    known, count = np.unique(np.concatenate(there), return_counts=True)
    known, count = np.append(known, -1), np.append(count, 1)  # what searchsorted says of a key beyond the last
    at = np.searchsorted(known[:-1], keys)
    return np.where(known[at] == keys, count[at], 1)


def _agreement(one: Mapping[str, Any], idf: np.ndarray) -> float:
    """Mean over references and lengths of n-grams of the clipped cosine of tf-idf vectors."""
    of_order = np.eye(_LONGEST)[np.asarray(one["orders"], np.int64)]  # [G, 4]
    said, references = np.asarray(one["said"]), np.asarray(one["references"])  # [G], [R, G]
    weights = idf**2
    shared = (weights * np.minimum(said, references) * references) @ of_order  # [R, 4]
    norms = np.sqrt((weights * said**2) @ of_order) * np.sqrt((weights * references**2) @ of_order)
    cosines = np.divide(shared, norms, out=np.zeros_like(shared), where=norms > 0)
    return float(np.mean(cosines * np.asarray(one["penalties"])[:, None]))
