"""Questions about a composed scene, with their exact answers.

An answer is text with *targets* in it: which things a phrase draws, and how. It names things, not
tokens, so that the same question serves any vocabulary and any codec.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from generalist.types import Kind, PromptKind
from generalist_datasets.scenes import Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A phrase and what it draws: ``things`` index ``scene.things``; empty with ``depth`` (the whole scene)."""

    label: str
    kind: Kind
    things: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A visual prompt: how thing number ``thing`` is shown to the model."""

    kind: PromptKind
    thing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question-answer pair. ``task`` is a name of ``generalist.tasks.TASKS``."""

    task: str
    text: str
    answer: tuple[str | Target, ...]
    drawn: tuple[Drawn, ...] = ()


PHRASINGS: dict[str, tuple[str, ...]] = {
    "box": (
        "Where is {the}?", "Find {the}.", "Locate {the}.", "Draw a box around {the}.", "Box {the}.", "Show me {the}.",
        "Where is {name}?", "Give the bounding box of {the}.",
    ),
    "point": ("Point to {the}.", "Point at {the}.", "Click on {the}.", "Point to {name}.", "Put a point on {the}."),
    "segment": (
        "Segment {the}.", "Segment {name}.", "Cut out {the}.", "Give the mask of {the}.", "Outline {the}.",
        "Mask {the}.",
    ),
    "detect": ("Detect {name}.", "Detect all {name}.", "Detect {the}.", "Find every {name}.", "Box all {name}."),
    "detect_all": (
        "Detect all objects.", "Detect everything.", "Find all objects.", "List the objects with boxes.",
        "What objects are here?",
    ),
    "segment_all": ("Segment all objects.", "Segment everything.", "Mask all objects."),
    "count": (
        "How many {name} are there?", "Count the {name}.", "How many times do you see {the}?", "Number of {name}?",
    ),
    "exists": ("Is there {a}?", "Do you see {a}?", "Is {a} in the picture?"),
    "depth": ("Estimate the depth.", "Depth map, please.", "How far away is everything?",
        "Give the depth of the scene."),
    "caption": ("Describe the image.", "What is in the image?", "Caption this.", "What do you see?"),
    "identify": ("What is this?", "What is here?", "Name this thing.", "What did I mark?"),
    "segment_drawn": ("Segment this.", "Segment this thing.", "Cut this out."),
}  # fmt: skip

SCENE_LABEL = "scene"


def with_article(name: str) -> str:
    """``"an apple"``, ``"a dog"``; plurals and pairs take no article."""
    if name in _PLURALS:
        return name
    vowel = name[0].lower() in "aeiou" and not name.startswith("uni")
    return f"{'an' if vowel else 'a'} {name}"


_PLURALS = frozenset({
    "grapes", "cherries", "blueberries", "pancakes", "french fries", "bacon", "popcorn", "spaghetti", "sushi",
    "sunglasses", "goggles", "jeans", "gloves", "socks", "headphones", "maracas", "scissors", "bowling pins", "corn",
    "garlic", "broccoli", "cheese", "salad", "fire",
})  # fmt: skip

_IRREGULAR = {
    "mouse": "mice", "die": "dice", "knife": "knives", "leaf": "leaves", "wolf": "wolves", "scarf": "scarves",
    "snowman": "snowmen",
}  # fmt: skip


def plural(name: str) -> str:
    """The plural of a concept's name, inflected on its last word (``"four leaf clover"`` on the last, too)."""
    if name in _PLURALS:
        return name
    if " of " in name:
        head, _, rest = name.partition(" of ")
        return f"{plural(head)} of {rest}"
    head, _, last = name.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif last.endswith("fish") or last in {"deer", "squid", "shrimp"}:
        pass
    elif last.endswith(("s", "x", "ch", "sh")) or last in {"tomato", "potato", "volcano"}:
        last += "es"
    elif last.endswith("y") and last[-2:-1] not in "aeiou":
        last = last[:-1] + "ies"
    else:
        last += "s"
    return f"{head} {last}".strip()


def say(rng: np.random.Generator, phrasing: str, name: str = "") -> str:
    """One phrasing with the name in it; sometimes in the plural, in lower case or without the full stop."""
    words = {"the": f"the {name}", "a": with_article(name) if name else "", "name": name}
    if phrasing in {"count", "detect"} and rng.random() < 0.6:
        words["name"] = plural(name)
    choices = PHRASINGS[phrasing]
    # The first phrasing is the one that the command line uses.
    text = choices[0 if rng.random() < 0.35 else int(rng.integers(len(choices)))].format(**words)
    if rng.random() < 0.15:
        text = text[0].lower() + text[1:]
    if rng.random() < 0.15:
        text = text.rstrip(".?")
    return text


_NUMBERS = ("no", "one", "two", "three", "four", "five", "six")


def _groups(scene: Scene) -> dict[int, tuple[int, ...]]:
    """Concept -> its things, in the order in which concepts first appear from the left."""
    groups: dict[int, tuple[int, ...]] = {}
    for index, thing in enumerate(scene.things):
        groups[thing.concept] = (*groups.get(thing.concept, ()), index)
    return groups


def _separated(targets: list[Target]) -> tuple[str | Target, ...]:
    answer: list[str | Target] = []
    for target in targets:
        answer += [", ", target] if answer else [target]
    return tuple(answer)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Questioner:
    """Asks about scenes whose concept numbers index ``names``."""

    names: tuple[str, ...]

    def refer(self, rng: np.random.Generator, scene: Scene, concept: int, task: str) -> Question:
        """Draw every thing of one concept, as ``box``, ``point``, ``segment`` or ``detect``; or say it is not there."""
        name = self.names[concept]
        things = _groups(scene).get(concept, ())
        text = say(rng, task, name)
        if not things:
            return Question(task=task, text=text, answer=(f"There is no {name}.",))
        kind: Kind = {"box": "box", "detect": "box", "point": "point", "segment": "mask"}[task]  # type: ignore[assignment]
        return Question(task=task, text=text, answer=(Target(label=name, kind=kind, things=things),))

    def everything(self, rng: np.random.Generator, scene: Scene, kind: Kind = "box") -> Question:
        """Draw every thing, grouped by concept."""
        task, phrasing = ("detect", "detect_all") if kind == "box" else ("segment", "segment_all")
        targets = [Target(label=self.names[c], kind=kind, things=things) for c, things in _groups(scene).items()]
        answer = _separated(targets) or ("There is nothing.",)
        return Question(task=task, text=say(rng, phrasing), answer=answer)

    def count(self, rng: np.random.Generator, scene: Scene, concept: int) -> Question:
        number = len(_groups(scene).get(concept, ()))
        return Question(task="count", text=say(rng, "count", self.names[concept]), answer=(str(number),))

    def exists(self, rng: np.random.Generator, scene: Scene, concept: int) -> Question:
        answer = "Yes." if concept in _groups(scene) else "No."
        return Question(task="chat", text=say(rng, "exists", self.names[concept]), answer=(answer,))

    def caption(self, rng: np.random.Generator, scene: Scene) -> Question:
        """Name what is there and how often, from left to right."""
        parts = [
            with_article(self.names[c]) if len(t) == 1 else f"{_NUMBERS[len(t)]} {plural(self.names[c])}"
            for c, t in _groups(scene).items()
        ]
        text = ", ".join(parts[:-1]) + (" and " if len(parts) > 1 else "") + parts[-1] if parts else "nothing"
        return Question(task="caption", text=say(rng, "caption"), answer=(text[0].upper() + text[1:] + ".",))

    def depth(self, rng: np.random.Generator) -> Question:
        return Question(task="depth", text=say(rng, "depth"), answer=(Target(label=SCENE_LABEL, kind="depth"),))

    def identify(self, rng: np.random.Generator, scene: Scene, thing: int, kind: PromptKind) -> Question:
        """Name a thing that the user drew."""
        name = with_article(self.names[scene.things[thing].concept])
        answer = f"{name[0].upper()}{name[1:]}."
        drawn = (Drawn(kind=kind, thing=thing),)
        return Question(task="chat", text=say(rng, "identify"), answer=(answer,), drawn=drawn)

    def segment_drawn(self, rng: np.random.Generator, scene: Scene, thing: int, kind: PromptKind) -> Question:
        """Segment a thing that the user drew."""
        target = Target(label=self.names[scene.things[thing].concept], kind="mask", things=(thing,))
        drawn = (Drawn(kind=kind, thing=thing),)
        return Question(task="segment", text=say(rng, "segment_drawn"), answer=(target,), drawn=drawn)


def ask_about(
    rng: np.random.Generator, questioner: Questioner, scene: Scene, *, boxes_only: bool = False
) -> list[Question]:
    """A training mixture: several questions about one scene, so that its vision cost is shared.

    ``boxes_only``: the first lessons; a model learns codes much faster once it can find things.
    """
    questions: list[Question] = []
    present = list(_groups(scene))
    rng.shuffle(present)
    tasks = ("box",) if boxes_only else ("segment",) * 7 + ("box", "point", "detect")
    for concept in present[:3]:
        questions.append(questioner.refer(rng, scene, concept, tasks[int(rng.integers(len(tasks)))]))
    for chance, make in _MIXTURE[:2] if boxes_only else _MIXTURE:
        if rng.random() < chance:
            questions += make(rng, questioner, scene)
    return questions


def _absent_or_present(rng: np.random.Generator, questioner: Questioner, scene: Scene, absent: float) -> int:
    present = list(_groups(scene))
    if present and rng.random() >= absent:
        return int(rng.choice(present))
    others = np.setdiff1d(np.arange(len(questioner.names)), present)
    return int(rng.choice(others if len(others) else present))


_Make = Callable[[np.random.Generator, Questioner, Scene], list[Question]]


def _ask_absent(rng: np.random.Generator, q: Questioner, scene: Scene) -> list[Question]:
    task = ("segment", "box", "point", "detect")[int(rng.integers(4))]
    return [q.refer(rng, scene, _absent_or_present(rng, q, scene, absent=1.0), task)]


def _ask_count(rng: np.random.Generator, q: Questioner, scene: Scene) -> list[Question]:
    return [q.count(rng, scene, _absent_or_present(rng, q, scene, absent=0.2))]


def _ask_exists(rng: np.random.Generator, q: Questioner, scene: Scene) -> list[Question]:
    return [q.exists(rng, scene, _absent_or_present(rng, q, scene, absent=0.5))]


def _ask_drawn(rng: np.random.Generator, q: Questioner, scene: Scene) -> list[Question]:
    if not scene.things:
        return []
    kinds: tuple[PromptKind, ...] = ("box", "point", "mask", "scribble")
    make = q.identify if rng.random() < 0.5 else q.segment_drawn
    return [make(rng, scene, int(rng.integers(len(scene.things))), kinds[int(rng.integers(4))])]


_MIXTURE: tuple[tuple[float, _Make], ...] = (
    (0.5, _ask_absent),
    (0.5, lambda rng, q, scene: [q.everything(rng, scene)]),
    (0.06, lambda rng, q, scene: [q.everything(rng, scene, kind="mask")]),
    (0.35, _ask_count),
    (0.2, _ask_exists),
    (0.5, _ask_drawn),
    (0.2, lambda rng, q, scene: [q.caption(rng, scene)]),
    (0.35, lambda rng, q, scene: [q.depth(rng)]),
)
