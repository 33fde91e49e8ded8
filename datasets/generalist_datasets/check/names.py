"""Class names that look like one class written in two ways."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations

from generalist_datasets.world.language import plural

_SHORTEST_TYPO = 6
"""Letters: shorter names that differ in one letter are mostly different words, as "house" and "horse"."""

_LONGEST = 100
"""Letters of a name that is looked at; a longer one is no class name."""

_CROWDED = 12
"""Names that look alike in one way: so many are numbered or generated, not misspelt."""


def similar_names(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs that differ in case, separators, a plural, two swapped letters, or one letter of a long name.

    Names that differ in a digit ("lane 1", "lane 2") are taken for different classes.

        similar_names(["dog", "Dog", "dogs", "dgo", "cat"])  # [("dog", "Dog"), ("dog", "dogs"), ("dog", "dgo"), ...]
    """
    known = [name for name in dict.fromkeys(names) if 0 < len(name) <= _LONGEST]
    order = {name: at for at, name in enumerate(known)}
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in known:
        for key in _keys(name):
            groups[key].append(name)
    pairs: set[tuple[str, str]] = set()
    for group in groups.values():
        if len(group) <= _CROWDED:
            pairs |= {(a, b) for a, b in combinations(group, 2) if _alike(_letters(a), _letters(b))}
    return sorted(pairs, key=lambda pair: (order[pair[0]], order[pair[1]]))


def _letters(name: str) -> str:
    """``name`` without case and separators: "Traffic_Light" and "traffic light" are one name."""
    return "".join(c for c in name.casefold() if c.isalnum()) or name


def _keys(name: str) -> Iterator[str]:
    """What names that look alike have in common: one of these is the same for both."""
    letters = _letters(name)
    keys = {letters, _letters(plural(name.casefold()))}
    if len(letters) >= _SHORTEST_TYPO - 1:
        keys |= {letters[:at] + letters[at + 1 :] for at in range(len(letters))}
    # swapped letters are the same letters in another order
    keys.add("swapped " + "".join(sorted(letters)))
    yield from keys


def _alike(a: str, b: str) -> bool:
    if a == b or plural(a) == b or plural(b) == a:
        return True
    if len(a) == len(b):
        differing = [at for at in range(len(a)) if a[at] != b[at]]
        if any(a[at].isdigit() or b[at].isdigit() for at in differing):
            return False
        if len(differing) == 2:
            first, second = differing
            return second == first + 1 and a[first] == b[second] and a[second] == b[first]
        return len(differing) == 1 and len(a) >= _SHORTEST_TYPO
    shorter, longer = sorted((a, b), key=len)
    if len(longer) != len(shorter) + 1 or len(longer) < _SHORTEST_TYPO:
        return False
    at = next((at for at in range(len(shorter)) if shorter[at] != longer[at]), len(shorter))
    return shorter[at:] == longer[at + 1 :] and not longer[at].isdigit()
