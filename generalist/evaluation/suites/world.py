"""Cases from composed scenes, whose answers are exact: a few questions of every group about each scene of a split.

Every question is put in the first wording of its kind, and things are called by the names of their concepts, so
that a score tells what a model sees and not which wordings it knows. Where a split keeps something back, what is
asked to be found is what was kept back.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from generalist.evaluation.cases import Case, Suite
from generalist.types import GeneralistError, Grounded, PromptKind, Sample
from generalist_datasets.world.arrange import Assets
from generalist_datasets.world.ask import ABILITIES, COMPARE
from generalist_datasets.world.ask_lexicon import Noun, Questioner
from generalist_datasets.world.asking import Asking
from generalist_datasets.world.dataset import World, WorldItem
from generalist_datasets.world.masks import to_mask
from generalist_datasets.world.phrasings import PHRASINGS
from generalist_datasets.world.question import Question, Target, answer_text
from generalist_datasets.world.samples import to_sample
from generalist_datasets.world.scene import Scene
from generalist_datasets.world.splits import HELD_OUT_PAIRS, Split, get_split

DEFAULT_SIZE = (224, 224)

_TRIES = 24
_REFERRING = ("attribute", "relation", "extreme", "nearest", "position", "between")
_YES_NO = ("exists", "is_attribute", "is_relation", "is_this", "same", "more")
_CHOICES = ("what_attribute", "which_larger", "which_nearer", "category")
_COUNTS = ("count", "count", "count_attribute")
_PROMPTS: tuple[PromptKind, ...] = ("box", "point", "mask", "scribble")
_DRAWN_GROUPS = {"box": "box", "segment": "mask"}

Wanted = Callable[[Question], bool]
Named = tuple[str, str, Question]
"""Name of a case within its scene, its group, the question."""


def world_suite(split: str | Split, *, size: tuple[int, int] = DEFAULT_SIZE, assets: Assets | None = None) -> Suite:
    """The suite of a split of the world.

    Args:
        split: the name of an evaluation split, or a split of one's own.
        size: (W, H) of the pictures.
        assets: what scenes are made of; fetched and read at the first case when None.

    Raises:
        GeneralistError: there is no such split; from ``cases``: the assets cannot be fetched, the size is refused,
            a split without end is given no limit.
    """
    chosen = get_split(split) if isinstance(split, str) else split

    def cases(limit: int | None) -> Iterator[Case]:
        counts = [count for count in (chosen.size, limit) if count is not None]
        if not counts:
            raise GeneralistError(f"split {chosen.name!r} has no end; say how many scenes with a limit")
        world = World(chosen, size=size, count=min(counts), assets=assets)
        questioner = _plain_questioner(world)
        return (case for index in range(len(world)) for case in _cases(world, questioner, index))

    name = f"world/{chosen.name}" + ("" if size == DEFAULT_SIZE else f"@{size[0]}x{size[1]}")
    return Suite(name=name, summary=chosen.summary, cases=cases)


# --- plain speech -------------------------------------------------------------------------------------


class _PlainAsking(Asking):
    """Uses the first wording of everything; the world itself mixes wordings, and careless spelling, by chance."""

    def say(self, wording: str, noun: Noun | None = None, *, many: bool = False, **slots: str) -> str:
        return PHRASINGS[wording][0].format(**{**(noun.slots(many=many) if noun else {}), **slots})


class _PlainQuestioner(Questioner):
    """Calls a concept by its name, never by a synonym."""

    def words(self, rng: np.random.Generator, number: int) -> str:
        return self.concepts[number].name


def _plain_questioner(world: World) -> Questioner:
    """That of the world itself, but for the names."""
    own = world.questioner
    return _PlainQuestioner(concepts=own.concepts, absent=own.absent, pairs=own.pairs)


# --- one scene ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class _Exam:
    """Asks about one scene. ``key`` seeds the generators; every case has its own, so that none depends on another."""

    item: WorldItem
    questioner: Questioner
    split: Split
    key: tuple[int, ...]

    @cached_property
    def subjects(self) -> frozenset[int]:
        """The things that the split is about."""
        things = self.item.scene.things
        if self.split.kept_back == "pairs":
            return frozenset(k for k, t in enumerate(things) if (t.colour, self.questioner.name(t)) in HELD_OUT_PAIRS)
        return frozenset(k for k, t in enumerate(things) if not self.split.kept_back or t.style != "solid")

    def rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng([*self.key, zlib.crc32(f"evaluation {name}".encode())])

    def by_turns(self, choices: tuple[str, ...], every: int = 1) -> tuple[str, ...]:
        """``choices``, from another one on in each scene, or in ``every`` scenes."""
        start = self.item.index // every % len(choices)
        return choices[start:] + choices[:start]

    def ask(
        self,
        name: str,
        abilities: tuple[str, ...],
        *,
        negative: bool = False,
        task: str = "",
        wanted: Wanted = lambda question: True,
    ) -> Question | None:
        """A question of the first ability that has one that is ``wanted``; ``task`` where it leaves the choice."""
        for ability in abilities:
            asking = _PlainAsking(
                rng=self.rng(name), questioner=self.questioner, scene=self.item.scene, ability=ability,
                negative=negative,
            )  # fmt: skip
            asking = replace(asking, tasks=(task,)) if task else asking
            for _ in range(_TRIES):
                question = ABILITIES[ability].ask(asking)
                if question is not None and wanted(question):
                    return question
        return None

    def about_one(self, question: Question) -> bool:
        """Whether exactly one thing is to be drawn, and one that the split is about."""
        things = _things(question)
        return len(things) == 1 and things[0] in self.subjects

    def by_name(self, name: str, task: str) -> Question | None:
        """Draw a thing that is the only one of its name: of its colour and shape, where pairs of these are tested."""
        if self.split.kept_back != "pairs":
            return self.ask(name, (task,), wanted=self.about_one)
        return self.ask(name, ("attribute",), task=task, wanted=lambda q: self.about_one(q) and self._tells_the_pair(q))

    def _tells_the_pair(self, question: Question) -> bool:
        target = next(piece for piece in question.answer if isinstance(piece, Target))
        thing = self.item.scene.things[target.things[0]]
        return thing.colour in target.label.split() and target.label.endswith(self.questioner.name(thing))

    def missing(self, name: str, task: str) -> Question | None:
        """Draw what is not there: one of it, as what is there is asked for in the singular, too."""
        ability = "attribute" if self.split.kept_back == "pairs" else task
        return self.ask(name, (ability,), task=task, negative=True, wanted=_asks_for_one)

    def drawn(self, name: str, ability: str, kind: PromptKind, task: str) -> Question | None:
        """About a thing that the user marked with a prompt of this kind."""
        question = self.ask(name, (ability,), wanted=lambda q: q.task == task and q.drawn[0].thing in self.subjects)
        return None if question is None else replace(question, drawn=(replace(question.drawn[0], kind=kind),))


def _cases(world: World, questioner: Questioner, index: int) -> Iterator[Case]:
    item = world[index]
    key = (world.seed, zlib.crc32(world.split.name.encode()), index)
    exam = _Exam(item=item, questioner=questioner, split=world.split, key=key)
    for name, group, question in _questions(exam):
        id = f"{item.split}-{index:08d}-{name}"
        sample = to_sample(item.scene, question, id, exam.rng(f"{name}, drawn"), _meta(exam, question))
        if group == "point":
            sample = replace(sample, targets=_masks(item.scene, question, sample))
        yield Case(id=id, group=group, sample=sample)


def _meta(exam: _Exam, question: Question) -> dict[str, object]:
    """Where a case comes from; ``facts``: the concepts that a caption is to name, or that of a marked thing."""
    meta: dict[str, object] = {"split": exam.item.split, "index": exam.item.index}
    scene = exam.item.scene
    if question.task == "caption":
        meta["facts"] = tuple(dict.fromkeys(exam.questioner.name(thing) for thing in scene.things))
    elif question.ability == "describe_region":
        meta["facts"] = (exam.questioner.name(scene.things[question.drawn[0].thing]),)
    return meta


def _masks(scene: Scene, question: Question, sample: Sample) -> tuple[Grounded, ...]:
    """The targets as the things themselves: wherever on one a point lies, it is right."""
    things = zip(sample.targets, _things(question), strict=True)
    return tuple(replace(target, output=to_mask(scene.mask(thing))) for target, thing in things)


def _asks_for_one(question: Question) -> bool:
    """Whether a denied question names what its answer denies: "the dog", not "the dogs"."""
    denied = answer_text(question.answer).rstrip(".").partition(" no ")[2]
    return question.text.rstrip(".?").endswith(denied)


def _things(question: Question) -> tuple[int, ...]:
    """What is to be drawn, in the order of the answer."""
    return tuple(thing for piece in question.answer if isinstance(piece, Target) for thing in piece.things)


# --- which questions ----------------------------------------------------------------------------------


def _questions(exam: _Exam) -> Iterator[Named]:
    """The questions about a scene; those that it does not offer are left out."""
    asked = [*_finding(exam), *_in_words(exam), *_regions(exam), *_whole_picture(exam), *_comparisons(exam)]
    yield from ((name, group, question) for name, group, question in asked if question is not None)


def _finding(exam: _Exam) -> Iterator[tuple[str, str, Question | None]]:
    yield "box", "box", exam.by_name("box", "box")
    yield "mask", "mask", exam.by_name("mask", "segment")
    yield "point", "point", exam.by_name("point", "point")
    task = ("box", "segment")[exam.item.index % 2]
    yield (
        "refer",
        _DRAWN_GROUPS[task],
        exam.ask("refer", exam.by_turns(_REFERRING, 2), task=task, wanted=exam.about_one),
    )
    absent, present = exam.missing("absent", task), exam.by_name("present", task)
    if absent and present:  # as many of either: always denying must not pay
        yield "absent", "absent", absent
        yield "present", "absent", present


def _in_words(exam: _Exam) -> Iterator[tuple[str, str, Question | None]]:
    negative = bool(exam.item.index % 2)
    yield "count", "count", exam.ask("count", exam.by_turns(_COUNTS), negative=exam.item.index % 8 == 7)
    yield "yes_no", "choice", exam.ask("yes_no", exam.by_turns(_YES_NO, 2), negative=negative)
    yield "choice", "choice", exam.ask("choice", exam.by_turns(_CHOICES))
    yield "dialogue", "dialogue", exam.ask("dialogue", ("dialogue",), wanted=lambda q: q.task != "point")


def _regions(exam: _Exam) -> Iterator[tuple[str, str, Question | None]]:
    """Naming what is boxed in every scene; the other prompts, and masks of what is marked, by turns."""
    other = _PROMPTS[1:][exam.item.index % 3]
    for kind in ("box", other):
        yield f"name_{kind}", "region_name", exam.drawn(f"name_{kind}", "describe_region", kind, "chat")
    kind = _PROMPTS[exam.item.index % 4]
    yield "region_mask", "region_mask", exam.drawn("region_mask", "segment_drawn", kind, "segment")
    one = exam.ask("region_except", ("segment_except",), wanted=lambda q: q.task == "segment" and exam.about_one(q))
    yield "region_except", "region_except", one


def _whole_picture(exam: _Exam) -> Iterator[tuple[str, str, Question | None]]:
    yield "detect", "detect", exam.ask("detect", ("detect_all",))
    yield "depth", "depth", exam.ask("depth", ("depth",))
    yield "semantic", "semantic", exam.ask("semantic", ("semantic",))
    yield "caption", "caption", exam.ask("caption", ("caption",))


def _comparisons(exam: _Exam) -> Iterator[Named]:
    """The world's own comparisons of two pictures, in its own wordings: it alone knows how a scene was arranged."""
    for question in exam.item.questions:
        if question.ability == COMPARE:
            if question.task in ("chat", "count"):
                yield "compare", "choice", question
            elif question.task == "box" and len(_things(question)) == 1:
                yield "compare", "box", question
