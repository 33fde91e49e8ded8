"""Questions about a composed scene, with their exact answers.

An ability is a kind of question; it gives None where a scene offers none of that kind, or none that everybody
would answer alike. Everything is chosen by the generator that is passed in: the same state asks the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from generalist_datasets.world import (
    ask_caption,
    ask_cards,
    ask_dialogue,
    ask_numbers,
    ask_refer,
    ask_relations,
    ask_what,
)
from generalist_datasets.world.ask_cards import concept_card
from generalist_datasets.world.ask_images import COMPARE, compare
from generalist_datasets.world.ask_lexicon import Questioner, shuffled
from generalist_datasets.world.asking import Asking
from generalist_datasets.world.question import Question
from generalist_datasets.world.scene import Scene

__all__ = ["ABILITIES", "COMPARE", "Ability", "Questioner", "ask", "ask_about", "compare", "concept_card"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """``weight``: how often training asks for it, in questions a scene that offers one; ``negatives``: the share
    of these about what is not there or not so, 0 where there are none."""

    ask: Callable[[Asking], Question | None]
    weight: float
    negatives: float = 0.0


ABILITIES: dict[str, Ability] = {
    # --- drawing ---
    "segment": Ability(ask=ask_refer.by_name, weight=0.9, negatives=0.15),
    "box": Ability(ask=ask_refer.by_name, weight=0.3, negatives=0.2),
    "point": Ability(ask=ask_refer.by_name, weight=0.2, negatives=0.2),
    "detect": Ability(ask=ask_refer.by_name, weight=0.25, negatives=0.2),
    "attribute": Ability(ask=ask_refer.by_attribute, weight=0.4, negatives=0.2),
    "relation": Ability(ask=ask_relations.by_relation, weight=0.3, negatives=0.2),
    "extreme": Ability(ask=ask_relations.by_extreme, weight=0.22, negatives=0.07),
    "nearest": Ability(ask=ask_relations.by_distance, weight=0.3, negatives=0.1),
    "position": Ability(ask=ask_relations.by_position, weight=0.25, negatives=0.1),
    "between": Ability(ask=ask_relations.by_both_sides, weight=0.25, negatives=0.1),
    "detect_all": Ability(ask=ask_refer.everything, weight=0.8),
    "segment_all": Ability(ask=ask_refer.everything, weight=0.05),
    "detect_category": Ability(ask=ask_refer.detect_category, weight=0.1, negatives=0.2),
    "semantic": Ability(ask=ask_refer.semantic, weight=0.05),
    "surface": Ability(ask=ask_refer.surface, weight=0.12, negatives=0.3),
    "depth": Ability(ask=ask_refer.depth, weight=0.55),
    "segment_drawn": Ability(ask=ask_refer.segment_drawn, weight=0.16),
    "segment_except": Ability(ask=ask_refer.segment_except, weight=0.4),
    # --- words ---
    "count": Ability(ask=ask_numbers.count, weight=0.7, negatives=0.12),
    "count_attribute": Ability(ask=ask_numbers.count_attribute, weight=0.25, negatives=0.15),
    "count_category": Ability(ask=ask_numbers.count_category, weight=0.15, negatives=0.2),
    "exists": Ability(ask=ask_numbers.exists, weight=0.25, negatives=0.5),
    "is_attribute": Ability(ask=ask_numbers.is_attribute, weight=0.15, negatives=0.5),
    "is_relation": Ability(ask=ask_numbers.is_relation, weight=0.12, negatives=0.45),
    "is_this": Ability(ask=ask_numbers.is_this, weight=0.05, negatives=0.5),
    "same": Ability(ask=ask_numbers.same, weight=0.2, negatives=0.3),
    "more": Ability(ask=ask_numbers.more, weight=0.1, negatives=0.5),
    "what_attribute": Ability(ask=ask_what.what_attribute, weight=0.25, negatives=0.1),
    "which_larger": Ability(ask=ask_what.which_larger, weight=0.08),
    "which_nearer": Ability(ask=ask_what.which_nearer, weight=0.1),
    "category": Ability(ask=ask_what.category, weight=0.1),
    "what_relation": Ability(ask=ask_what.what_relation, weight=0.08, negatives=0.2),
    "caption": Ability(ask=ask_caption.caption, weight=0.3),
    "caption_detail": Ability(ask=ask_caption.caption_detail, weight=0.05),
    "grounded_caption": Ability(ask=ask_caption.grounded_caption, weight=0.15),
    "describe_region": Ability(ask=ask_caption.describe_region, weight=1.6),
    "dialogue": Ability(ask=ask_dialogue.dialogue, weight=0.18, negatives=0.15),
    "card": Ability(ask=ask_cards.card, weight=0.08, negatives=0.1),
}

_DENIALS = 1.8
"""How much more often training asks for what is not there than an exam does: a small model is too credulous."""
_FIRST_LESSONS = {"box": 1.6, "detect": 0.3, "attribute": 1.0, "relation": 0.2, "detect_all": 0.5}


def ask(
    rng: np.random.Generator, questioner: Questioner, scene: Scene, ability: str, negative: bool = False
) -> Question | None:
    """A question of one ability; None where the scene offers none.

    ``negative``: about what is not there or not so; None where the ability has no such questions.
    """
    if negative and not ABILITIES[ability].negatives:
        return None
    asking = Asking(rng=rng, questioner=questioner, scene=scene, ability=ability, negative=negative)
    return ABILITIES[ability].ask(asking)


def ask_about(
    rng: np.random.Generator, questioner: Questioner, scene: Scene, *, boxes_only: bool = False
) -> list[Question]:
    """A training mixture: several questions about one scene, so that its vision cost is shared.

    ``boxes_only``: the first lessons; a model learns codes much faster once it can find things.
    """
    weights = _FIRST_LESSONS if boxes_only else {name: ability.weight for name, ability in ABILITIES.items()}
    questions: dict[tuple[object, ...], Question] = {}
    wanted = [name for name, weight in weights.items() for _ in range(int(weight + rng.random()))]
    for name in shuffled(rng, wanted):
        question = _mixed(rng, questioner, scene, name, boxes_only)
        if question is not None:
            questions.setdefault((question.text, question.drawn, question.history), question)
    if not questions:  # every scene can be asked for all that is in it
        question = _mixed(rng, questioner, scene, "detect_all", boxes_only)
        return [question] if question else []
    return list(questions.values())


def _mixed(
    rng: np.random.Generator, questioner: Questioner, scene: Scene, name: str, boxes_only: bool
) -> Question | None:
    ability = ABILITIES[name]
    asking = Asking(rng=rng, questioner=questioner, scene=scene, ability=name)
    asking = asking.but(negative=bool(rng.random() < min(_DENIALS * ability.negatives, 0.5)))
    return ability.ask(asking.boxes_only() if boxes_only else asking)
