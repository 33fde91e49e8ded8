"""The named things of the composed world.

Names are the Unicode CLDR short names of pictographs, chosen so that every two are told apart
by eye at 40 pixels; ``RENAMED`` gives the everyday word where CLDR's is unusual.
"""

from __future__ import annotations

_ANIMALS = """
monkey; gorilla; orangutan; dog; wolf; fox; raccoon; cat; lion; tiger; leopard; horse; unicorn; zebra; deer; cow; pig;
camel; llama; giraffe; elephant; rhinoceros; mouse; hamster; rabbit; hedgehog; bat; bear; koala; panda; sloth;
kangaroo; chicken; rooster; hatching chick; bird; penguin; eagle; duck; swan; owl; flamingo; peacock; parrot; frog;
crocodile; turtle; snake; dragon; sauropod; whale; dolphin; tropical fish; blowfish; shark; octopus; spiral shell;
jellyfish; crab; lobster; shrimp; squid; snail; butterfly; bug; ant; honeybee; beetle; lady beetle; spider; scorpion
"""
_PLANTS = """
bouquet; rose; sunflower; tulip; hibiscus; potted plant; palm tree; cactus; evergreen tree; deciduous tree; mushroom;
maple leaf; four leaf clover
"""
_FOOD = """
grapes; watermelon; tangerine; lemon; banana; pineapple; red apple; green apple; pear; peach; cherries; strawberry;
blueberries; kiwi fruit; tomato; olive; coconut; avocado; eggplant; potato; carrot; ear of corn; hot pepper; bell
pepper; cucumber; broccoli; garlic; onion; croissant; baguette bread; pretzel; pancakes; cheese wedge; poultry leg;
bacon; hamburger; french fries; pizza; hot dog; taco; burrito; egg; green salad; popcorn; bento box; rice ball;
spaghetti; sushi; doughnut; cookie; birthday cake; cupcake; chocolate bar; candy; lollipop; honey pot; baby bottle;
glass of milk; teapot; wine glass; cocktail glass; tropical drink; beer mug; bubble tea; spoon; kitchen knife; jar;
ice cream
"""
_TRAVEL = """
compass; volcano; brick; rock; house; castle; fountain; tent; carousel horse; ferris wheel; circus tent; barber pole;
locomotive; bus; ambulance; fire engine; police car; taxi; automobile; tractor; racing car; motorcycle; bicycle; kick
scooter; skateboard; roller skate; oil drum; fuel pump; wheel; vertical traffic light; stop sign; anchor; ring buoy;
sailboat; airplane; parachute; helicopter; satellite; rocket; flying saucer; bellhop bell; luggage; hourglass done;
watch; alarm clock; mantelpiece clock; ringed planet; star; umbrella; snowman; fire; snowflake
"""
_ACTIVITIES = """
jack-o-lantern; Christmas tree; firecracker; balloon; party popper; wrapped gift; trophy; sports medal; soccer ball;
baseball; basketball; volleyball; american football; tennis; bowling; ping pong; boxing glove; ice skate; diving mask;
sled; bullseye; yo-yo; kite; water pistol; pool 8 ball; crystal ball; video game; joystick; game die; puzzle piece;
teddy bear; piñata; mirror ball; chess pawn; artist palette; thread; yarn
"""
_OBJECTS = """
sunglasses; goggles; necktie; t-shirt; jeans; scarf; gloves; socks; dress; handbag; backpack; running shoe;
high-heeled shoe; crown; top hat; graduation cap; billed cap; lipstick; ring; gem stone; megaphone; bell; studio
microphone; headphone; radio; saxophone; accordion; guitar; violin; drum; maracas; mobile phone; telephone; battery;
laptop; printer; computer mouse; floppy disk; optical disk; abacus; movie camera; clapper board; television; camera;
candle; light bulb; flashlight; red paper lantern; closed book; green book; scroll; coin; money bag; credit card;
envelope; package; postbox; pencil; briefcase; file folder; spiral calendar; pushpin; straight ruler; scissors;
wastebasket; locked; key; hammer; axe; dagger; bomb; boomerang; bow and arrow; shield; screwdriver; gear; magnet;
ladder; test tube; microscope; telescope; pill; stethoscope; door; mirror; bed; chair; toilet; bathtub; lotion bottle;
broom; basket; bucket; toothbrush; sponge; fire extinguisher; shopping cart; moai
"""

RENAMED: dict[str, str] = {
    "sauropod": "dinosaur",
    "bug": "caterpillar",
    "honeybee": "bee",
    "lady beetle": "ladybug",
    "blowfish": "pufferfish",
    "spiral shell": "seashell",
    "deciduous tree": "tree",
    "evergreen tree": "fir tree",
    "tangerine": "orange",
    "ear of corn": "corn",
    "hot pepper": "chili pepper",
    "baguette bread": "baguette",
    "cheese wedge": "cheese",
    "poultry leg": "chicken leg",
    "green salad": "salad",
    "automobile": "car",
    "vertical traffic light": "traffic light",
    "ring buoy": "life buoy",
    "bellhop bell": "service bell",
    "luggage": "suitcase",
    "hourglass done": "hourglass",
    "mantelpiece clock": "clock",
    "ringed planet": "planet",
    "jack-o-lantern": "pumpkin",
    "wrapped gift": "gift",
    "sports medal": "medal",
    "tennis": "tennis racket",
    "bowling": "bowling pins",
    "ping pong": "table tennis paddle",
    "pool 8 ball": "billiard ball",
    "video game": "game controller",
    "game die": "die",
    "piñata": "pinata",
    "mirror ball": "disco ball",
    "artist palette": "palette",
    "thread": "spool of thread",
    "yarn": "ball of yarn",
    "billed cap": "cap",
    "gem stone": "diamond",
    "headphone": "headphones",
    "optical disk": "compact disc",
    "red paper lantern": "paper lantern",
    "closed book": "red book",
    "spiral calendar": "calendar",
    "straight ruler": "ruler",
    "locked": "padlock",
    "wastebasket": "waste basket",
    "studio microphone": "microphone",
    "moai": "stone statue",
}

CATEGORIES: dict[str, tuple[str, ...]] = {
    name: tuple(" ".join(entry.split()) for entry in block.split(";"))
    for name, block in {
        "animal": _ANIMALS,
        "plant": _PLANTS,
        "food": _FOOD,
        "travel": _TRAVEL,
        "activity": _ACTIVITIES,
        "object": _OBJECTS,
    }.items()
}
"""CLDR names by category."""


def everyday_name(cldr_name: str) -> str:
    """The name that a concept has in questions and answers."""
    return RENAMED.get(cldr_name, cldr_name)


def concept_names() -> tuple[str, ...]:
    """Every concept's everyday name; the position is the concept's number."""
    return tuple(everyday_name(n) for names in CATEGORIES.values() for n in names)
