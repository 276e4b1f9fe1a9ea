"""Loading a directory with transformers: the model, and its tokenizer or image processor.

Nothing of the directory is run and no network is used. Weights that the directory lacks would be drawn at random by
transformers, with a warning only; here they are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
import transformers

from setsail.convert.torch.assembly import evaluating
from setsail.convert.transformers import images, words
from setsail.convert.transformers.directory import Directory
from setsail.convert.transformers.heads import Task
from setsail.convert.transformers.images import Pictures
from setsail.convert.transformers.pooling import Pooling, pooling
from setsail.convert.transformers.words import Words
from setsail.errors import SetsailError

__all__ = ["Parts", "load", "of_texts"]

_TRIED: Final = 1024  # tokens up to which we try whether the model can read as many as it says


@dataclass(frozen=True, slots=True)
class Parts:
    """A loaded model with what stands before it.

    Attributes:
        before: its tokenizer, or its image processor.
        pool: what modules.json says comes after it.
    """

    model: Any
    task: Task
    before: Words | Pictures
    pool: Pooling | None = None
    notes: tuple[str, ...] = ()

    @property
    def takes(self) -> str:
        return "text" if isinstance(self.before, Words) else "image"


def load(directory: Directory, task: Task) -> Parts:
    """A directory's model with its tokenizer or image processor: from its own files, no others.

    Raises:
        SetsailError: `source.load` for what transformers cannot load, or weights that are missing;
            `convert.unsupported` for a tokenizer or processor that cannot become steps.
    """
    cls: Any = getattr(transformers, directory.architecture, None)
    if transformers.PreTrainedModel not in getattr(cls, "__mro__", ()):
        raise SetsailError("convert.unsupported", f"this transformers has no model {directory.architecture}",
                           field="architectures", value=directory.architecture,
                           expected=f"a model of transformers {transformers.__version__}")  # fmt: skip
    place = str(directory.path)
    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    model, told = _opened(
        "the model", partial(cls.from_pretrained, place, dtype=torch.float32, use_safetensors=not directory.pickled,
                             attn_implementation="eager", output_loading_info=True, weights_only=True, **safe),
    )  # fmt: skip
    notes = _weights(directory, model, told)
    _refuse_inputs(model, task)
    if model.main_input_name == "pixel_values":
        lies = str(directory.apart.get("processor", directory.path))
        load = partial(transformers.AutoImageProcessor.from_pretrained, lies, backend="pil", **safe)
        before: Words | Pictures = images.pictures(_opened("the image processor", load), _channels(model.config))
    else:
        lies = str(directory.apart.get("tokenizer", directory.path))
        tokenizer = _opened("the tokenizer", partial(transformers.AutoTokenizer.from_pretrained, lies, **safe))
        pool = pooling(directory)
        before = of_texts(tokenizer, model, pool)
        return Parts(model, task, before, pool, notes)
    return Parts(model, task, before, None, notes)


def _refuse_inputs(model: Any, task: Task) -> None:
    """A model of sound, or of what must be told step by step, ends in a name of ours too."""
    if model.main_input_name not in ("input_ids", "pixel_values"):
        raise SetsailError("convert.unsupported", f"{type(model).__name__} takes neither texts nor pictures",
                           field="architectures", value=model.main_input_name, expected="input_ids or pixel_values",
                           todo="export it to ONNX, then pack the .onnx file")  # fmt: skip
    if task.name == "embeddings" and model.config.is_encoder_decoder:
        raise SetsailError("convert.unsupported", f"{type(model).__name__} is an encoder with a decoder",
                           field="architectures", value=type(model).__name__, expected="an encoder alone",
                           todo="save_pretrained its encoder, and pack that")  # fmt: skip


def _opened(what: str, load: Any) -> Any:
    try:
        return load()
    except SetsailError:
        raise
    except Exception as fault:  # damaged files raise anything
        lines = [line.strip() for line in str(fault).splitlines() if line.strip()] or [""]
        raise SetsailError("source.load", f"transformers cannot load {what}: {type(fault).__name__}", value=lines[0],
                           expected="a directory written by save_pretrained",
                           todo="load it in Python with the version it was saved with") from fault  # fmt: skip


def _weights(directory: Directory, model: Any, told: Mapping[str, Any]) -> tuple[str, ...]:
    """Weights that the directory lacks would be drawn at random: refused, but for the pooler nothing else needs."""
    missing = sorted(told.get("missing_keys") or ())
    bare = directory.architecture.endswith("Model") or directory.modules
    pooler = [name for name in missing if "pooler" in name.split(".")] if bare else []
    wrong = [n for n in missing if n not in pooler] + [str(n) for n in told.get("mismatched_keys") or ()]
    if wrong:
        raise SetsailError("source.load", "the weights are not those of the architecture", field="architectures",
                           value=wrong[:6], expected=f"all weights of {directory.architecture}",
                           todo="write the directory with save_pretrained of the trained model")  # fmt: skip
    notes: tuple[str, ...] = ()
    if pooler:
        owner = model if hasattr(model, "pooler") else None
        if owner is None:
            raise SetsailError("source.load", "the weights lack the pooler", value=pooler[:6])
        model.pooler = None
        notes = ("no pooler_output: the directory has no weights for it",)
    dtype = directory.config.get("dtype") or directory.config.get("torch_dtype")
    if dtype not in (None, "float32"):
        notes += (f"weights kept as {dtype} are computed with in float32",)
    return notes


def _channels(config: Any) -> int:
    return int(getattr(config, "num_channels", 3))


def of_texts(tokenizer: Any, model: Any, pool: Any) -> Words:
    """The tokenizer, with no more tokens than the model has positions for."""
    found = words.words(tokenizer, tuple(words.accepted(model)), pool.length if pool else None)
    if pool:
        found = Words(found.own, found.names, found.length, pool.lowercase, strip=True)
    most = getattr(model.config, "max_position_embeddings", None)
    if not isinstance(most, int) or most <= 0:
        return found
    padding = model.config.pad_token_id or 0
    for length in sorted({n for n in (found.length, most, most - padding - 1, most - 2) if n and n > 2}, reverse=True):
        if (found.length is None or length <= found.length) and _reads(model, found, length):
            return Words(found.own, found.names, length, found.lowercase, found.strip)
    raise SetsailError("convert.unsupported", "the model cannot read as many tokens as it says",
                       field="max_position_embeddings", value=most, expected="a model that does",
                       todo="set model_max_length in tokenizer_config.json")  # fmt: skip


def _reads(model: Any, found: Words, length: int) -> bool:
    if length > _TRIED:
        return True
    token = found.own.unk_token_id if found.own.unk_token_id is not None else 0
    ids = torch.full((1, length), token if token != found.own.pad_token_id else token + 1, dtype=torch.int64)
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "token_type_ids": torch.zeros_like(ids)}
    try:
        with torch.no_grad(), evaluating(model):
            model(**{name: given[name] for name in found.names})
    except (IndexError, RuntimeError):
        return False
    return True
