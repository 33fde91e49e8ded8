"""How good the shipped model is on composed scenes that it was not trained on, beside trivial answers.

    python tests/benchmarks/nano_quality.py --scenes 300

Scenes are those of an evaluation set of the world (new compositions on backgrounds kept out of training, unless
another is named). Everything goes through ``Generalist``: prompts, grammar, parser, decoders. A reply that draws
the wrong kind of thing, or nothing, counts as a miss.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from rich.progress import track

from generalist import Generalist
from generalist.answer import Answer
from generalist.pipeline import resolve_model
from generalist.types import Box, ChatRequest, Mask, Message, Sampling, VisualPrompt
from generalist.visual import mask_bitmap
from generalist_datasets.world.dataset import World
from generalist_datasets.world.drawing import draw_prompt
from generalist_datasets.world.language import plural, with_article
from generalist_datasets.world.question import Drawn
from generalist_datasets.world.scene import Scene
from generalist_datasets.world.splits import SPLITS

TEST_SEED = 2026
_SIZE = (192, 192)
_BATCH = 24
Box4 = tuple[float, float, float, float]


def test_scenes(world: World, count: int) -> list[Scene]:
    """The first scenes of an evaluation set that show at least one thing."""
    scenes = (world[number].scene for number in range(len(world)))
    return list(islice((scene for scene in scenes if scene.things), count))


class Bench:
    """Asks many questions in batches and collects numbers by name."""

    def __init__(self, model: Generalist, world: World, scenes: Sequence[Scene]) -> None:
        self.model, self.scenes = model, scenes
        self.names = tuple(concept.name for concept in world.assets.concepts)
        self.pictures = [Image.fromarray(scene.image) for scene in scenes]
        self.rng = np.random.default_rng(TEST_SEED)

    def ask(
        self, task: str, items: Sequence[tuple[int, str, tuple[VisualPrompt, ...]]], tokens: int = 256
    ) -> list[Answer]:
        """Answers to (scene number, text, drawings)."""
        sampling = Sampling(max_new_tokens=tokens)
        requests = [
            ChatRequest(
                messages=(Message(role="user", text=text, images=(self.pictures[s],), visual_prompts=drawn),),
                task=task,
                sampling=sampling,
            )
            for s, text, drawn in items
        ]
        batches = [requests[k : k + _BATCH] for k in range(0, len(requests), _BATCH)]
        return [a for batch in track(batches, description=task) for a in self.model.answer(batch)]

    def unique(self) -> list[tuple[int, int]]:
        """One (scene, thing) a scene whose concept occurs once in it."""
        chosen = []
        for number, scene in enumerate(self.scenes):
            counts = Counter(thing.concept for thing in scene.things)
            alone = [k for k, thing in enumerate(scene.things) if counts[thing.concept] == 1]
            if alone:
                chosen.append((number, int(self.rng.choice(alone))))
        return chosen

    def name(self, scene: int, thing: int) -> str:
        return self.names[self.scenes[scene].things[thing].concept]

    def absent(self, scene: int) -> str:
        present = {thing.concept for thing in self.scenes[scene].things}
        return self.names[int(self.rng.choice([c for c in range(len(self.names)) if c not in present]))]


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return shared / both if both > 0 else 0.0


def mask_iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


def ellipse(box: Box4, shape: tuple[int, int]) -> np.ndarray:
    """The ellipse that fills a box, bool [H, W]."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    x, y = (x + 0.5) / shape[1], (y + 0.5) / shape[0]
    across, down = max(box[2] - box[0], 1e-6), max(box[3] - box[1], 1e-6)
    inside = ((x - (box[0] + box[2]) / 2) / across) ** 2 + ((y - (box[1] + box[3]) / 2) / down) ** 2 <= 0.25
    return np.asarray(inside)


def refer_box(bench: Bench) -> dict[str, float]:
    pairs = bench.unique()
    answers = bench.ask("box", [(s, f"Where is the {bench.name(s, t)}?", ()) for s, t in pairs])
    found = [iou(a.boxes[0].xyxy, bench.scenes[s].things[t].xyxy) if a.boxes else 0.0
             for a, (s, t) in zip(answers, pairs, strict=True)]  # fmt: skip
    whole = [iou((0, 0, 1, 1), bench.scenes[s].things[t].xyxy) for s, t in pairs]
    return {
        "box acc@0.5": float(np.mean(np.array(found) >= 0.5)),
        "box mIoU": float(np.mean(found)),
        "box mIoU, floor: whole image": float(np.mean(whole)),
        "box n": len(pairs),
    }


def refer_mask(bench: Bench) -> dict[str, float]:
    pairs = bench.unique()
    answers = bench.ask("segment", [(s, f"Segment the {bench.name(s, t)}.", ()) for s, t in pairs])
    ious, round_, filled = [], [], []
    for answer, (s, t) in zip(answers, pairs, strict=True):
        truth = bench.scenes[s].mask(t)
        masks = answer.masks
        ious.append(mask_iou(mask_bitmap(masks[0]), truth) if masks else 0.0)
        round_.append(mask_iou(ellipse(masks[0].xyxy, truth.shape), truth) if masks else 0.0)
        filled.append(mask_iou(_filled(masks[0], truth.shape), truth) if masks else 0.0)
    return {
        "mask mIoU": float(np.mean(ious)),
        "mask mIoU, floor: ellipse in its own box": float(np.mean(round_)),
        "mask mIoU, floor: its own box": float(np.mean(filled)),
        "mask n": len(pairs),
    }


def _filled(mask: Mask, shape: tuple[int, ...]) -> np.ndarray:
    y, x = np.mgrid[: shape[0], : shape[1]]
    x1, y1, x2, y2 = mask.xyxy
    x, y = (x + 0.5) / shape[1], (y + 0.5) / shape[0]
    return np.asarray((x >= x1) & (x <= x2) & (y >= y1) & (y <= y2))


def detection(bench: Bench) -> dict[str, float]:
    scenes = range(len(bench.scenes))
    answers = bench.ask("detect", [(s, "Detect all objects.", ()) for s in scenes], tokens=384)
    right = said = there = named = 0
    for s, answer in zip(scenes, answers, strict=True):
        truth = [(bench.names[t.concept], t.xyxy) for t in bench.scenes[s].things]
        boxes = [(g.label, g.output.xyxy) for g in answer.outputs if isinstance(g.output, Box)]
        said, there = said + len(boxes), there + len(truth)
        named += sum((Counter(n for n, _ in truth) & Counter(n for n, _ in boxes)).values())
        for label, box in boxes:
            scores = [(iou(box, other), k) for k, (name, other) in enumerate(truth) if name == label]
            best, k = max(scores, default=(0.0, -1))
            if best >= 0.5:
                right += 1
                truth.pop(k)
    return {
        "detection F1@0.5": 2 * right / max(1, said + there),
        "detection precision": right / max(1, said),
        "detection recall": right / max(1, there),
        "detection, right names": named / max(1, there),
    }


def points(bench: Bench) -> dict[str, float]:
    pairs = bench.unique()
    answers = bench.ask("point", [(s, f"Point to the {bench.name(s, t)}.", ()) for s, t in pairs])
    inside = []
    for answer, (s, t) in zip(answers, pairs, strict=True):
        mask = bench.scenes[s].mask(t)
        x, y = answer.points[0].xy if answer.points else (0.0, 0.0)
        row, column = (min(int(v * n), n - 1) for v, n in zip((y, x), mask.shape, strict=True))
        inside.append(bool(answer.points) and bool(mask[row, column]))
    area = [float(bench.scenes[s].mask(t).mean()) for s, t in pairs]
    return {"point on the thing": float(np.mean(inside)), "point, floor: a random place": float(np.mean(area))}


def there_or_not(bench: Bench) -> dict[str, float]:
    pairs = bench.unique()
    task, count = ("segment", "box"), len(pairs)
    here = [(s, f"Segment the {bench.name(s, t)}.", ()) for s, t in pairs[: count // 2]]
    here_box = [(s, f"Where is the {bench.name(s, t)}?", ()) for s, t in pairs[count // 2 :]]
    gone = [(s, f"Segment the {bench.absent(s)}.", ()) for s, _ in pairs[: count // 2]]
    gone_box = [(s, f"Where is the {bench.absent(s)}?", ()) for s, _ in pairs[count // 2 :]]
    drawn = [bool(a.outputs) for t, items in zip(task, (here, here_box), strict=True) for a in bench.ask(t, items)]
    denied = [not a.outputs for t, items in zip(task, (gone, gone_box), strict=True) for a in bench.ask(t, items)]
    return {
        "recall of what is there": float(np.mean(drawn)),
        "'not there' accuracy": float(np.mean(denied)),
        "'not there' accuracy, floor: always there": 0.0,
    }


def counting(bench: Bench) -> dict[str, float]:
    items, truth = [], []
    for s, scene in enumerate(bench.scenes):
        counts = Counter(thing.concept for thing in scene.things)
        concept = int(bench.rng.choice(list(counts)))
        name = bench.names[concept]
        items.append((s, f"How many {plural(name)} are there?", ()))
        truth.append(counts[concept])
    said = [a.text.strip() for a in bench.ask("count", items)]
    right = np.array([s == str(t) for s, t in zip(said, truth, strict=True)])
    many = np.array(truth) >= 2
    return {
        "count accuracy": float(right.mean()),
        "count accuracy, two or more": float(right[many].mean()),
        "count accuracy, floor: always the commonest": Counter(truth).most_common(1)[0][1] / len(truth),
    }


def depth(bench: Bench) -> dict[str, float]:
    scenes = [s for s, scene in enumerate(bench.scenes) if scene.depth is not None]
    answers = bench.ask("depth", [(s, "Estimate the depth.", ()) for s in scenes])
    train = World("train", seed=7, size=_SIZE, count=500)
    maps = [train[k].scene.depth for k in range(len(train))]
    mean = np.exp(np.mean([np.log(values) for values in maps if values is not None], axis=0))
    close, floor, rmse, abs_rel = [], [], [], []
    for s, answer in zip(scenes, answers, strict=True):
        truth = bench.scenes[s].depth
        assert truth is not None
        map_ = np.full_like(truth, 1e-3) if answer.depth is None else answer.depth.values
        close.append(_within(map_, truth))
        floor.append(_within(mean, truth))
        rmse.append(float(np.sqrt(np.mean((map_ - truth) ** 2))))
        abs_rel.append(float(np.mean(np.abs(map_ - truth) / truth)))
    return {
        "depth d1": float(np.mean(close)),
        "depth d1, floor: mean image": float(np.mean(floor)),
        "depth RMSE m": float(np.mean(rmse)),
        "depth AbsRel": float(np.mean(abs_rel)),
    }


def _within(guess: np.ndarray, truth: np.ndarray) -> float:
    return float((np.maximum(guess / truth, truth / guess) < 1.25).mean())


def caption(bench: Bench) -> dict[str, float]:
    scenes = range(len(bench.scenes))
    answers = bench.ask("caption", [(s, "Describe the image.", ()) for s in scenes])
    named = [
        any(word in answer.text.lower() for word in (bench.names[c].lower(), plural(bench.names[c]).lower()))
        for s, answer in zip(scenes, answers, strict=True)
        for c in {thing.concept for thing in bench.scenes[s].things}
    ]
    return {"caption, recall of what is there": float(np.mean(named))}


def drawn_prompts(bench: Bench) -> dict[str, float]:
    results: dict[str, float] = {}
    everything = [(s, t) for s, scene in enumerate(bench.scenes) for t in range(len(scene.things))]
    commonest = Counter(bench.name(s, t) for s, t in everything).most_common(1)[0][1] / len(everything)
    for kind in ("box", "point", "mask", "scribble"):
        pairs = [(s, int(bench.rng.integers(len(scene.things)))) for s, scene in enumerate(bench.scenes)]
        shown = [draw_prompt(bench.rng, bench.scenes[s], Drawn(kind=kind, thing=t)) for s, t in pairs]  # type: ignore[arg-type]
        items = [(s, "What is this?", (d,)) for (s, _), d in zip(pairs, shown, strict=True)]
        said = [a.text.rstrip(".").lower() for a in bench.ask("chat", items)]
        right = [text == with_article(bench.name(s, t)).lower() for text, (s, t) in zip(said, pairs, strict=True)]
        results[f"what is this, {kind}"] = float(np.mean(right))
        items = [(s, "Segment this.", (d,)) for (s, _), d in zip(pairs, shown, strict=True)]
        answers = bench.ask("segment", items)
        ious = [mask_iou(mask_bitmap(a.masks[0]), bench.scenes[s].mask(t)) if a.masks else 0.0
                for a, (s, t) in zip(answers, pairs, strict=True)]  # fmt: skip
        results[f"segment this mIoU, {kind}"] = float(np.mean(ious))
    return {**results, "what is this, floor: the commonest name": commonest}


PARTS: dict[str, Callable[[Bench], dict[str, float]]] = {
    "box": refer_box,
    "mask": refer_mask,
    "detection": detection,
    "point": points,
    "there": there_or_not,
    "count": counting,
    "depth": depth,
    "caption": caption,
    "drawn": drawn_prompts,
}


def main(
    scenes: Annotated[int, typer.Option(min=1, max=1000)] = 300,
    split: Annotated[
        str, typer.Option(help=f"One of {', '.join(n for n, s in SPLITS.items() if s.size)}.")
    ] = "compositions",
    model: Annotated[str, typer.Option(help="A shipped name or a checkpoint folder.")] = "nano",
    parts: Annotated[str, typer.Option(help="Comma-separated names, or all of them.")] = ",".join(PARTS),
    out: Annotated[Path | None, typer.Option(help="Also write the figures here, as JSON.")] = None,
) -> None:
    """Measure a model on composed scenes."""
    world = World(split, size=_SIZE)
    bench = Bench(Generalist.from_pretrained(resolve_model(model)), world, test_scenes(world, scenes))
    shown = {thing.concept for scene in bench.scenes for thing in scene.things}
    results: dict[str, Any] = {"split": split, "scenes": len(bench.scenes), "concepts shown": len(shown)}
    print(results)
    for part in parts.split(","):
        bench.rng = np.random.default_rng(TEST_SEED)  # a part asks the same, whichever others run
        figures = PARTS[part](bench)
        results |= figures
        for name, value in figures.items():
            print(f"{name:50s} {value:.3f}")
    if out is not None:
        out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
