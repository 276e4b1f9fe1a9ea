"""Sentence embeddings as a directory of sentence-transformers describes them.

`modules.json` lists what is done in turn: the transformer, pooling over its tokens, dense layers, normalising. Only
these four are known; the folders they lie in hold their settings, and weights as safetensors. The formulas are
sentence-transformers' own; a prompt that it would put before every text is refused, for we could not tell whether the
person wants it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import safetensors.torch
import torch

from setsail.convert.transformers.directory import Directory, settings
from setsail.errors import SetsailError

__all__ = ["Pooling", "pooling"]

_PACKAGE: Final = "sentence_transformers."
_SMALL: Final = 1e-9

# The mask comes as floats [N, T, 1].
Pool = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (states * mask).sum(1) / mask.sum(1).clamp(min=_SMALL)


def _mean_sqrt(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (states * mask).sum(1) / mask.sum(1).clamp(min=_SMALL).sqrt()


def _max(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return states.masked_fill(mask == 0, -1e9).amax(1)


def _weighted(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """A mean in which later tokens weigh more: 1, 2, 3, …"""
    weights = mask * torch.arange(1, states.shape[1] + 1, dtype=states.dtype).reshape(1, -1, 1)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=_SMALL)


# `pooling_mode_…` of the settings, in the order in which sentence-transformers joins what they give.
_POOLS: Final[Mapping[str, Pool]] = {
    "cls_token": lambda states, _: states[:, 0],
    "max_tokens": _max,
    "mean_tokens": _mean,
    "mean_sqrt_len_tokens": _mean_sqrt,
    "weightedmean_tokens": _weighted,
}
# `pooling_mode` of newer directories
_NAMES: Final = {"cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens",
                 "mean_sqrt_len_tokens": "mean_sqrt_len_tokens", "weightedmean": "weightedmean_tokens"}  # fmt: skip
_ACTIVATIONS: Final[Mapping[str, Callable[[torch.Tensor], torch.Tensor]]] = {
    "torch.nn.modules.activation.Tanh": torch.tanh,
    "torch.nn.modules.activation.ReLU": torch.relu,
    "torch.nn.modules.activation.Sigmoid": torch.sigmoid,
    "torch.nn.modules.activation.GELU": torch.nn.functional.gelu,
    "torch.nn.modules.linear.Identity": lambda x: x,
}
# what it does -> a layer on [N, width]
Layer = Callable[[torch.Tensor], torch.Tensor]


class Pooling:
    """What follows a transformer.

    Attributes:
        length: `max_seq_length`, of how many tokens it reads; None where it does not say.
        lowercase: whether texts are lower-cased first.
        width: of what comes out.
    """

    def __init__(self, pools: Sequence[str], layers: Sequence[tuple[str, torch.nn.Module]], width: int,
                 length: int | None, lowercase: bool) -> None:  # fmt: skip
        self.pools, self.layers, self.width = tuple(pools), tuple(layers), width
        self.length, self.lowercase = length, lowercase

    @property
    def note(self) -> str:
        done = [name.replace("_", " ").removesuffix(" tokens") + " pooling" for name in self.pools]
        return "as modules.json says: " + ", then ".join(["+".join(done), *(name for name, _ in self.layers)])

    def around(self, model: Any) -> torch.nn.Module:
        return _Pooled(model, self)


class _Pooled(torch.nn.Module):  # type: ignore[misc]  # torch is not typed here
    def __init__(self, model: Any, pooling: Pooling) -> None:
        super().__init__()
        self.model, self.pools = model, pooling.pools
        self.layers = torch.nn.ModuleList(layer for _, layer in pooling.layers)

    def forward(self, **tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        states = self.model(**tensors, return_dict=True)["last_hidden_state"]
        mask = tensors["attention_mask"].unsqueeze(-1).to(states.dtype)
        found = torch.cat([_POOLS[name](states, mask) for name in self.pools], 1)
        for layer in self.layers:
            found = layer(found)
        return {"sentence_embedding": found}


class _Normalize(torch.nn.Module):  # type: ignore[misc]
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(x, p=2.0, dim=1)


class _Dense(torch.nn.Module):  # type: ignore[misc]
    def __init__(self, weights: Mapping[str, torch.Tensor], activation: str) -> None:
        super().__init__()
        weight, bias = weights["linear.weight"].float(), weights.get("linear.bias")
        self.register_buffer("weight", weight)
        self.register_buffer("bias", None if bias is None else bias.float())
        self.activation = _ACTIVATIONS[activation]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.activation(torch.nn.functional.linear(x, self.weight, self.bias))


def pooling(directory: Directory) -> Pooling | None:
    """What `modules.json` says, None without one. Raises `convert.unsupported` for what is not known, by name."""
    if not directory.modules:
        return None
    kinds = [_kind(module) for module in directory.modules]
    if kinds[0] != "Transformer" or kinds[1:2] != ["Pooling"] or _place(directory, 0) != directory.path:
        raise SetsailError("convert.unsupported", "modules.json does not begin as a directory of sentence-transformers",
                           field="modules.json", value=kinds, expected="Transformer at the top, then Pooling",
        )  # fmt: skip
    _refuse_prompt(directory.path)
    told = settings(directory.path / "sentence_bert_config.json") or {}
    place = _place(directory, 1)
    pools = _pools(settings(place / "config.json") or {})
    width = len(pools) * int(directory.config.get("hidden_size") or directory.config.get("dim") or 0)
    layers: list[tuple[str, torch.nn.Module]] = []
    for index, kind in enumerate(kinds[2:], 2):
        if kind == "Normalize":
            layers.append(("normalising", _Normalize()))
        elif kind == "Dense":
            dense, width = _dense(_place(directory, index))
            layers.append(("a dense layer", dense))
        else:
            raise SetsailError("convert.unsupported", f"modules.json lists a module {kind!r}", field="modules.json",
                               value=kind, expected="Transformer, Pooling, Dense, Normalize")  # fmt: skip
    return Pooling(pools, layers, width, told.get("max_seq_length"), bool(told.get("do_lower_case")))


def _kind(module: Any) -> str:
    """`Pooling` of `sentence_transformers.models.Pooling`; a class of another package stays as it is."""
    name = str(module.get("type")) if isinstance(module, dict) else ""
    return name.rpartition(".")[2] if name.startswith(_PACKAGE) else name


def _place(directory: Directory, index: int) -> Path:
    """A module's folder, which must lie in the directory."""
    place = (directory.path / str(directory.modules[index].get("path", ""))).resolve()
    if not place.is_relative_to(directory.path.resolve()):
        raise SetsailError("convert.unsupported", "modules.json leads out of the directory", field="modules.json",
                           value=directory.modules[index].get("path"), expected="a folder inside it")  # fmt: skip
    return directory.path if place == directory.path.resolve() else place


def _refuse_prompt(path: Path) -> None:
    told = settings(path / "config_sentence_transformers.json") or {}
    name = told.get("default_prompt_name")
    if name and (told.get("prompts") or {}).get(name):
        raise SetsailError("convert.unsupported", "the model puts a prompt before every text",
                           field="default_prompt_name",
                           value=name, expected="none", todo="set default_prompt_name to null in "
                           "config_sentence_transformers.json and send texts with their prompt")  # fmt: skip


def _pools(told: Mapping[str, Any]) -> list[str]:
    if isinstance(told.get("pooling_mode"), str):
        chosen = [_NAMES.get(told["pooling_mode"], told["pooling_mode"])]
    else:
        asked = [k.removeprefix("pooling_mode_") for k, v in told.items() if k.startswith("pooling_mode_") and v]
        chosen = [*(name for name in _POOLS if name in asked), *(name for name in asked if name not in _POOLS)]
    if not chosen or any(name not in _POOLS for name in chosen):
        raise SetsailError("convert.unsupported", "the directory pools its tokens in a way we do not have",
                           field="pooling_mode", value=chosen, expected=", ".join(_POOLS))  # fmt: skip
    return chosen


def _dense(place: Path) -> tuple[torch.nn.Module, int]:
    told = settings(place / "config.json") or {}
    activation = str(told.get("activation_function", "torch.nn.modules.activation.Tanh"))
    weights = place / "model.safetensors"
    if activation not in _ACTIVATIONS or not weights.is_file():
        raise SetsailError("convert.unsupported", "a dense layer that we cannot read", field=place.name,
                           value=activation, expected="model.safetensors, and one of " + ", ".join(_ACTIVATIONS),
        )  # fmt: skip
    dense = _Dense(safetensors.torch.load_file(str(weights)), activation)
    return dense, int(dense.weight.shape[0])
