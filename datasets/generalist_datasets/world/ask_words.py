"""What everyday words may mean beyond what concepts are called: where a question must not use them.

``Concept.implies`` says what a thing also is. Here is the rest: looser uses of words, parts of things, what
photographs show, and which kinds have a noun of their own.
"""

from __future__ import annotations

LOOSELY: dict[str, tuple[str, ...]] = {
    "baby": ("cherub", "baby sign"),
    "bus": ("minibus",),
    "chicken": ("rooster", "hatching chick"),
    "clock": ("watch", "stopwatch", "kitchen timer"),
    "cow": ("ox", "bison"),
    "document": ("memo", "receipt", "newspaper", "notepad", "scroll"),
    "egg": ("nest", "hatching chick"),
    "eye": ("pair of eyes",),
    "fire": ("candle", "oil lamp", "explosion", "firecracker", "campsite"),
    "fish": ("carp streamer", "dolphin", "whale"),
    "handbag": ("purse", "clutch bag"),
    "horse": ("unicorn",),
    "house": ("office building", "post office", "hotel", "school", "wedding chapel"),
    "monkey": ("gorilla", "orangutan"),
    "notebook": ("notepad", "red book", "green book"),
    "pig": ("boar",),
    "purse": ("handbag", "clutch bag"),
    "sandal": ("flip-flop",),
    "ship": ("motorboat", "sailboat"),
    "star": ("starry sky",),
    "telephone": ("mobile phone",),
    "train": ("locomotive", "tram", "roller coaster"),
    # solids
    "sphere": (
        "crystal ball", "disco ball", "globe", "planet", "full moon", "soccer ball", "basketball", "volleyball",
        "baseball", "softball", "billiard ball", "ball of yarn",
    ),
    "cube": ("die", "brick", "package", "gift"),
    "cylinder": ("tin can", "oil drum", "battery", "candle", "barber pole"),
    "cone": ("barricade", "party popper"),
    "torus": ("doughnut", "life buoy", "ring", "wheel"),
    "capsule": ("pill",),
    "disc": ("frisbee", "coin", "compact disc", "minidisc"),
    "ellipsoid": ("egg", "american football", "rugby ball", "balloon"),
}  # fmt: skip
"""Word -> concepts that some would call so."""

_LIVING = ("animal", "person", "fantasy figure", "face", "gesture", "body part")
PARTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("ear", "eye", "nose", "mouth", "tongue", "tooth", "foot", "leg", "pair of eyes", "pair of lips",
                     "flexed arm", "wing", "feather"), _LIVING),
    "wheel": ("vehicle",),
    "door": ("place", "vehicle", "household item"),
    "window": ("place", "vehicle"),
}  # fmt: skip
"""Concept -> categories of things that show one."""
WORN, WEARERS = "clothing", ("person", "fantasy figure", "face")
"""Anything worn may be seen on these."""

SCENERY = frozenset({
    "mountain", "tree", "fir tree", "palm tree", "rock", "log", "green leaf", "fallen leaf", "maple leaf", "herb",
    "seedling", "daisy", "cherry blossom", "sun", "cloud", "rain cloud", "full moon", "crescent moon", "star",
    "starry sky", "ocean wave", "water drop", "splash of water", "rainbow", "snowflake", "mountain lake",
    "mountain sunrise", "ocean sunrise", "desert", "desert island", "city skyline", "city at dusk", "city at night",
    "bridge at night", "highway", "house", "feather", "spiral",
})  # fmt: skip
"""Concepts that a photograph behind the things may well show."""

AWKWARD = frozenset({"Earth", "Saturn", "Dracula", "number one hundred", "hug", "dice"})
"""Synonyms that fit into no sentence about one thing among others."""

CATEGORY_NOUNS: dict[str, str] = {
    "animal": "animal", "vehicle": "vehicle", "musical instrument": "musical instrument", "person": "person",
}  # fmt: skip
"""Kinds that one can ask for, and what one of them is called."""
CATEGORY_ANSWERS: dict[str, str] = {**CATEGORY_NOUNS, "plant": "plant", "food": "food", "body part": "body part"}
"""Kinds that answer what kind of thing this is."""

DOUBTFUL: dict[str, frozenset[str]] = {
    "animal": frozenset({
        "seashell", "coral", "microbe", "unicorn", "dragon", "pig nose", "set of paw prints", "teddy bear",
        "carousel horse", "pinata", "carp streamer", "fried shrimp", "mermaid", "alien", "space invader",
        "evil eye amulet", "spider web", "snowman",
    }),
    "vehicle": frozenset({
        "parachute", "satellite", "skateboard", "kick scooter", "wheelchair", "electric wheelchair", "cable car",
        "suspension railway", "rocket", "flying saucer", "roller coaster", "ferris wheel", "sled", "roller skate",
        "ice skate", "pair of skis", "shopping cart", "elevator", "surfer", "snowboarder", "bus stop", "globe",
        "construction crane", "canoe",
    }),
    "musical instrument": frozenset({
        "bell", "muted bell", "service bell", "sheet of music", "musical note", "wind chime", "siren", "singer",
        "piano keyboard", "post horn", "megaphone", "radio",
    }),
    "person": frozenset({
        "mother with baby", "pregnant woman", "pair of wrestlers", "hand-holding couple", "couple with heart", "family",
        "speaking head", "silhouette", "hugging couple", "clown", "person in bed", "person in bathtub", "snowman",
        "stone statue", "Statue of Liberty", "pair of Japanese dolls", "nesting doll", "joker card", "selfie",
        "robot", "carousel horse", "moon with face", "sun with face", "children crossing sign", "no pedestrians sign",
        "men's room sign", "women's room sign", "baby sign", "wheelchair sign", "toilet sign", "litter bin sign",
        "pair of theater masks", "framed picture", "ID card", "skull", "skull and crossbones",
    }),
    "plant": frozenset({"mushroom", "bouquet", "maple leaf", "rosette"}),
    "food": frozenset({"bowl with spoon", "salt shaker", "tin can", "takeout box", "honey pot", "fondue pot"}),
    "body part": frozenset({
        "mechanical arm", "mechanical leg", "skull and crossbones", "skull", "bone", "selfie", "drop of blood",
        "writing hand", "hand with nail polish",
    }),
}  # fmt: skip
"""Category -> things of which people might disagree whether they belong to it."""
LIKE: dict[str, tuple[str, ...]] = {"person": ("fantasy figure", "face", "gesture", "body part")}
"""Category -> other categories all of whose things are in doubt."""

SURFACE_WORDS: dict[str, tuple[str, ...]] = {
    "floor": ("floor", "ground"), "wall": ("wall",), "sky": ("sky",), "ceiling": ("ceiling",),
}  # fmt: skip
