"""The weights of a base, and the low-rank updates (LoRA: Hu et al. 2021) that it learns for one index.

An update is a folder in PEFT's format. It changes the linear layers of the language model, not its head, and is merged
into the weights when it is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generalist.documents.bases import BaseModel
from generalist.types import GeneralistError

if TYPE_CHECKING:
    import torch

    from generalist.model import Checkpoint

_WEIGHTS = "adapter_model.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Network:
    """``model`` is one of transformers with a head; ``checkpoint`` is None for a causal language model.

    ``tuner`` is peft's wrapper of the model while it learns.
    """

    base: BaseModel
    model: Any
    checkpoint: Checkpoint | None = None
    tuner: Any = None

    @property
    def decoder(self) -> Any:
        """The language model without its head; it takes token ids."""
        return self.model.get_decoder()

    @property
    def longest(self) -> int:
        """Positions that it can read."""
        config = getattr(self.model.config, "text_config", None) or self.model.config
        return int(getattr(config, "max_position_embeddings", None) or 2**31)


def load_network(
    base: BaseModel, device: str = "auto", *, adapter: Path | None = None, dtype: torch.dtype | None = None
) -> Network:
    """The model of a base in this process, with the update in the folder ``adapter`` merged into it.

    ``dtype``: by default float32 on a CPU and bfloat16 elsewhere. Raises :class:`GeneralistError` when something
    cannot be loaded.
    """
    import torch

    from generalist.model import load_checkpoint

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = dtype or (torch.float32 if device == "cpu" else torch.bfloat16)
    if base.vocabulary is None:
        network = Network(base=base, model=_load_causal(base.folder, device, dtype))
    else:
        checkpoint = load_checkpoint(base.folder, device=device, dtype=dtype)
        network = Network(base=base, model=checkpoint.model, checkpoint=checkpoint)
    if adapter is not None:
        _merge(network, adapter)
    return network


def _load_causal(folder: Path, device: str, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True, use_safetensors=True
        )
        return model.to(device).eval()
    except (OSError, ValueError, KeyError, RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise GeneralistError(f"{folder}: cannot load a causal language model ({reason}); use another") from error


def learning_dtype(device: str) -> torch.dtype:
    """bfloat16 where this machine computes in it, else float32."""
    import torch

    if device != "cpu":
        return torch.bfloat16
    able = torch.cpu.get_capabilities()
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32


# --- updates -------------------------------------------------------------------------------------------


def with_update(network: Network, rank: int, seed: int) -> Network:
    """``network`` with an update of all linear layers of its decoder, in float32; as yet it changes nothing."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers.pytorch_utils import Conv1D

    inside = {id(module) for module in network.decoder.modules()}
    layers = [
        name
        for name, module in network.model.named_modules()
        if id(module) in inside and isinstance(module, torch.nn.Linear | Conv1D)
    ]
    if not layers:
        raise GeneralistError(f"{network.base.folder}: this model has no linear layers to adapt; use another base")
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=layers, task_type="CAUSAL_LM")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tuner: Any = get_peft_model(network.model, config)
    return Network(base=network.base, model=network.model, checkpoint=network.checkpoint, tuner=tuner)


def trained(network: Network) -> dict[str, torch.nn.Parameter]:
    """The parameters of the update."""
    return {name: one for name, one in network.tuner.named_parameters() if one.requires_grad}


def save_update(network: Network, folder: Path) -> None:
    """Write it in PEFT's format into an empty folder."""
    network.tuner.peft_config["default"].base_model_name_or_path = network.base.base.name
    network.tuner.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)


def _merge(network: Network, folder: Path) -> None:
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config: Any = LoraConfig.from_pretrained(str(folder))
        config.base_model_name_or_path = None  # the index says whose it is, and the base may have moved
        tuner: Any = get_peft_model(network.model, config)
        given = load_file(folder / _WEIGHTS)
        found: Any = set_peft_model_state_dict(tuner, given)
        if found.unexpected_keys or any(".lora_" in name for name in found.missing_keys):
            raise ValueError("it is that of another model")
        tuner.merge_and_unload()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise GeneralistError(f"{folder}: cannot use this adapter ({reason}); train the index anew") from error
