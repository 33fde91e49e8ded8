"""How people ask: every question in several wordings.

The first wording of a task is that of ``generalist.tasks``, which the command line uses. Slots of a noun:
``{the}`` "the dog" or "the dogs" with ``{is}``; ``{name}`` "dog"; ``{names}`` "dogs"; ``{units}`` "dogs" or "pairs
of scissors"; ``{a}`` "a dog" with ``{Is1}``. The others are explained by their names.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from generalist_datasets.world.language import definite, is_plural, with_article

PHRASINGS: dict[str, tuple[str, ...]] = {
    # --- drawing what a noun phrase means ---
    "box": (
        "Where {is} {the}?", "Find {the}.", "Locate {the}.", "Draw a box around {the}.", "Box {the}.", "Show me {the}.",
        "Where is {name}?", "Give the bounding box of {the}.", "I am looking for {the}.", "Can you find {the}?",
    ),
    "point": (
        "Point to {the}.", "Point at {the}.", "Click on {the}.", "Point to {name}.", "Put a point on {the}.",
        "Mark {the} with a point.",
    ),
    "segment": (
        "Segment {the}.", "Segment {name}.", "Cut out {the}.", "Give the mask of {the}.", "Outline {the}.",
        "Mask {the}.", "Which pixels belong to {the}?", "Separate {the} from the rest.",
    ),
    "detect": (
        "Detect {names}.", "Detect {name}.", "Detect all {names}.", "Detect {the}.", "Find all {names}.",
        "Box all {names}.", "Detect every {name}.",
    ),
    "surface": ("Segment {the}.", "Mask {the}.", "Where is {the}? Give its mask.", "Cut out {the}.", "Segment {name}."),
    # --- drawing everything ---
    "detect_all": (
        "Detect all objects.", "Detect everything.", "Find all objects.", "List the objects with boxes.",
        "What objects are here? Box them.", "Put a box around every thing.",
    ),
    "segment_all": (
        "Segment all objects.", "Segment everything.", "Mask all objects.", "Give a mask of every object.",
        "Cut out each thing.",
    ),
    "semantic": (
        "Segment the whole image.", "Label every region.", "Divide the image into things and surfaces.",
        "What is every part of the picture? Give masks.", "Segment things and background.",
    ),
    "detect_category": ("Detect all {names}.", "Find every {name}.", "Box each {name}.", "Where are the {names}?"),
    "depth": (
        "Estimate the depth.", "Depth map, please.", "How far away is everything?", "Give the depth of the scene.",
        "Predict the distance of every pixel.",
    ),
    # --- counting, yes and no ---
    "count": (
        "How many {units} are there?", "Count the {units}.", "How many {units} do you see?", "Number of {units}?",
        "How many {units} are in the picture?", "What is the number of {units}?",
    ),
    "exists": (
        "{Is1} there {a}?", "Do you see {a}?", "{Is1} {a} in the picture?", "Can you see {a}?",
        "Does the image show {a}?",
    ),
    "exists_named": ("Do you see {a}?", "Is {a} in the picture?", "Can you see {a}?", "Does the image show {a}?"),
    "is_attribute": ("{Is} {the} {value}?", "Would you say that {the} {is} {value}?", "{Is} {the} {value} or not?"),
    "is_relation": (
        "{Is} {the} {relation} {other}?", "Is it true that {the} {is} {relation} {other}?",
        "Can you see {the} {relation} {other}?",
    ),
    "same": (
        "Do {the} and {other} have the same {attribute}?", "Is the {attribute} of {the} the same as that of {other}?",
        "Do {the} and {other} share their {attribute}?",
    ),
    "is_this": ("Is this {a}?", "Have I marked {a}?", "Is it {a} that I marked?"),
    "more": (
        "Are there more {units} than {others}?", "Do you see more {units} than {others}?",
        "Do the {units} outnumber the {others}?",
    ),
    # --- attributes and comparisons ---
    "what_colour": (
        "What colour is {the}?", "Which colour does {the} have?", "What is the colour of {the}?",
        "What color is {the}?",
    ),
    "what_material": (
        "Is {the} matte, glossy or metal?", "What finish does {the} have?", "What is the finish of {the}?",
        "What does the surface of {the} look like?",
    ),
    "what_texture": (
        "Is {the} plain, striped, checked or spotted?", "How is {the} patterned?", "What pattern does {the} have?",
    ),
    "what_size": ("Is {the} small or large?", "How big is {the}, small or large?", "What size is {the}?"),
    "what_shape": ("What shape is {the}?", "What shape does {the} have?", "Which shape is {the}?"),
    "which_larger": (
        "Which is larger in the picture, {the} or {other}?", "Which takes up more of the image, {the} or {other}?",
        "Which one looks bigger here, {the} or {other}?",
    ),
    "which_smaller": (
        "Which is smaller in the picture, {the} or {other}?", "Which takes up less of the image, {the} or {other}?",
        "Which one looks smaller here, {the} or {other}?",
    ),
    "which_nearer": (
        "Which is nearer, {the} or {other}?", "Which is closer to the camera, {the} or {other}?",
        "Which of the two is closer to the viewer, {the} or {other}?",
    ),
    "which_farther": ("Which is farther away, {the} or {other}?", "Which is more distant, {the} or {other}?"),
    "category": ("What kind of thing {is} {the}?", "What sort of thing {is} {the}?"),
    "category_drawn": ("What kind of thing is this?", "What sort of thing did I mark?"),
    "what_relation": (
        "What is {relation} {the}?", "What do you see {relation} {the}?", "Name everything {relation} {the}.",
    ),
    # --- text about the picture ---
    "caption": (
        "Describe the image.", "What is in the image?", "Caption this.", "What do you see?",
        "What does the picture show?",
    ),
    "caption_detail": (
        "Describe the image in detail.", "What exactly is in the image?", "Give a detailed caption.",
        "Describe the scene as well as you can.",
    ),
    "grounded_caption_box": (
        "Describe the image with boxes.", "Write a caption and box what it names.",
        "Say how the things are arranged, with boxes.", "Describe the scene and show where things are.",
    ),
    "grounded_caption_mask": (
        "Describe the image with masks.", "Write a caption and segment what it names.",
        "Say how the things are arranged, with masks.", "Describe the scene and mask the things.",
    ),
    # --- what the user drew ---
    "describe_region": (
        "What is this?", "What is here?", "Name this thing.", "What did I mark?", "Describe what I marked.",
        "Which thing is this?",
    ),
    "segment_drawn": (
        "Segment this.", "Segment this thing.", "Cut this out.", "Give the mask of this.", "Outline this.",
    ),
    "box_drawn": ("Box this.", "Draw a box around this.", "Detect this thing.", "Give the bounding box of this."),
    # --- documents ---
    "card_drawn": (
        "Which card describes this?", "Find the card of this thing.", "Which document is about this?",
        "Look this up.",
    ),
    "card": (
        "Which card describes {the}?", "Find the card of {the} in the picture.", "Which document is about {the} here?",
        "Look up {the} that you see.",
    ),
    # --- dialogue: these lean on the turn before ---
    "where_it": ("Where is it?", "Where?", "Show me where it is.", "Find it."),
    "where_they": ("Where are they?", "Where?", "Show me where they are.", "Find them all."),
    "segment_it": ("Segment it.", "Now segment it.", "Cut it out.", "And its mask?"),
    "segment_they": ("Segment them.", "Now segment them.", "Cut them out.", "And their masks?"),
    "point_it": ("Point to it.", "Click on it.", "Put a point on it."),
    "point_they": ("Point to them.", "Click on each of them.", "Put a point on every one."),
    "and_the": ("And {the}?", "What about {the}?", "And now {the}?"),
    "and_a": ("And {a}?", "What about {a}?", "Or {a}?"),
    "and_units": ("And {units}?", "What about {units}?", "And how many {units}?"),
    "relation_it": ("What is {relation} it?", "And what is {relation} it?", "What do you see {relation} it?"),
    "colour_it": ("What colour is it?", "Which colour does it have?", "And its colour?"),
    "material_it": ("What finish does it have?", "Is it matte, glossy or metal?", "And its finish?"),
    "how_many_are": ("How many of them are {value}?", "And how many are {value}?", "How many of those are {value}?"),
    "the_one_box": ("Where is the {tail} one?", "Find the {tail} one.", "Box the {tail} one."),
    "the_one_segment": ("Segment the {tail} one.", "Cut out the {tail} one.", "Give the mask of the {tail} one."),
    "the_one_point": ("Point to the {tail} one.", "Click on the {tail} one."),
    "others_like_it": ("How many more like it are there?", "How many others of its kind are there?"),
    "what_about_it": ("What kind of thing is it?", "And what sort of thing is it?"),
    # --- two images ---
    "added_box": (
        "What is new in the second image?", "Find what was added.", "Box what is only in the second image.",
        "Which things are new? Show where they are.",
    ),
    "added_segment": (
        "Segment what is new in the second image.", "Segment what was added.",
        "Cut out what is only in the second image.",
    ),
    "removed": (
        "What is missing from the second image?", "What was removed?", "Which things are only in the first image?",
        "What is gone?",
    ),
    "moved": ("Did {the} move?", "Did {the} move between the two images?", "{Is} {the} in another place now?"),
    "moved_where": ("Which way did {the} move?", "Did {the} move to the left or to the right?"),
    "now": ("Where {is} {the} now?", "Find {the} in the second image.", "Where did {the} end up?"),
    "how_many_more": (
        "How many more {units} are in the second image?", "How many {units} were added?",
        "By how many did the {units} increase?",
    ),
    "how_many_fewer": (
        "How many fewer {units} are in the second image?", "How many {units} were removed?",
        "By how many did the {units} decrease?",
    ),
}  # fmt: skip

FIRST_SHARE = 0.35
"""How often the first wording is used."""
_CARELESS = 0.15


def noun_slots(singular: str, plural: str, units: str, *, many: bool) -> dict[str, str]:
    """What a noun puts into a wording; ``many``: "the dogs" rather than "the dog"."""
    plural_verb = many or is_plural(singular)
    one = "are" if plural_verb else "is"
    is1 = "are" if is_plural(singular) else "is"
    return {
        "the": f"the {plural}" if many else definite(singular), "name": singular, "names": plural, "units": units,
        "a": with_article(singular), "is": one, "Is": one.capitalize(), "Is1": is1.capitalize(),
    }  # fmt: skip


def say(rng: np.random.Generator, phrasing: str, slots: Mapping[str, str] | None = None) -> str:
    """One wording of a question; sometimes in lower case or without the full stop, as people write."""
    wordings = PHRASINGS[phrasing]
    wording = wordings[0 if rng.random() < FIRST_SHARE else int(rng.integers(len(wordings)))]
    text = wording.format(**(slots or {}))
    if rng.random() < _CARELESS:
        text = text[0].lower() + text[1:]
    if rng.random() < _CARELESS:
        text = text.rstrip(".?")
    return text
