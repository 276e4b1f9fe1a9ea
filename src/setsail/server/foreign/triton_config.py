"""`config.pbtxt`, Triton's configuration of one model, in our terms.

Every field that Triton's documentation has is a row here: it is read, it is noted as something that does not carry
over, or the model is refused because it would answer otherwise than there. What is in none of the rows is refused too,
as Triton does, so that nothing of a file is dropped in silence. Numbers and names: `model_config.proto` of Triton.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from setsail.catalog import Policy
from setsail.errors import SetsailError
from setsail.server.foreign.text_format import Message, Word, parsed
from setsail.tensors import BY_OIP, DType

__all__ = ["FILE", "Config", "Filled", "Tensor", "WarmUp", "read", "refused"]

FILE: Final = "config.pbtxt"


class Tensor(Struct, frozen=True):
    """An input or output as clients see it: `dims` without the batch where there is one, -1 for a free size."""

    name: str
    dtype: DType
    dims: tuple[int, ...]
    labels: str = ""  # of an output: the file beside config.pbtxt that has them, a line each


class Filled(Struct, frozen=True):
    """An input of a warm-up request: `how` is `zero_data`, `random_data` or `input_data_file`."""

    name: str
    dtype: DType
    dims: tuple[int, ...]
    how: str
    file: str = ""


class WarmUp(Struct, frozen=True):
    """A warm-up request, answered `count` times."""

    name: str
    batch: int
    count: int
    inputs: tuple[Filled, ...]


class Config(Struct, frozen=True):
    """A model of a repository.

    Attributes:
        batched: whether `dims` are without a batch that stands before them.
        file: name of the model's file in a version's folder.
        notes: what was understood and does not carry over, a sentence each.
    """

    batched: bool
    file: str
    policy: Policy
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    warm_ups: tuple[WarmUp, ...]
    notes: tuple[str, ...]


def read(folder: Path) -> Config:
    """What the configuration in a model's folder says.

    Raises:
        SetsailError: `repository.config`, naming the field that cannot be read or is not done here.
    """
    path = folder / FILE
    try:
        body = parsed(path.read_text(encoding="utf-8"), f"{folder.name}/{FILE}")
    except OSError as fault:
        raise refused(folder.name, FILE, fault.strerror, "a file that can be read") from fault
    except UnicodeDecodeError as fault:
        raise refused(folder.name, FILE, None, "UTF-8") from fault
    return _Reading(folder.name, body).config()


def refused(model: str, field: str, value: object, expected: str, todo: str | None = None) -> SetsailError:
    return SetsailError("repository.config", f"{model}/{FILE}: {field} is not what can be served", field=field,
                        value=value, expected=expected, todo=todo, model=model)  # fmt: skip


# Asks for what would be answered otherwise, or not at all, and what can be done about it.
_REFUSED: Final[Mapping[str, str]] = {
    "ensemble_scheduling": "ask the models one after the other, or export them as one ONNX graph",
    "sequence_batching": "keep the state in the client: requests are answered each by itself",
    "batch_input": "put what the batch says into the graph",
    "batch_output": "put what the batch says into the graph",
    "model_operations": "export without custom operators",
    "model_repository_agents": "do what the agent does when the model is put into the repository",
}
_WORKERS: Final = "processes serve all models; --workers says how many"
_PROVIDER: Final = "onnxruntime runs it on the processor, with its own optimisations"
_NOTED: Final[Mapping[str, str]] = {
    "instance_group": _WORKERS,
    "optimization": _PROVIDER,
    "cc_model_filenames": "the file for all devices is taken",
    "metric_tags": "metrics have the model and its version",
    "model_metrics": "histograms have the bounds of docs/metrics.md",
    "runtime": "the runtime is onnxruntime",
    "response_cache": "--cache-bytes keeps answers, for all models or those of --cache-models",
    "parameters": "onnxruntime is set by --threads",
}
_READ: Final = ("name", "platform", "backend", "max_batch_size", "input", "output", "version_policy",
                "default_model_filename", "dynamic_batching", "model_warmup", "model_transaction_policy")  # fmt: skip
_TENSOR: Final = ("name", "data_type", "dims", "reshape", "format", "label_filename", "is_shape_tensor",
                  "allow_ragged_batch", "optional", "is_non_linear_format_io")  # fmt: skip
_FORBIDDEN: Final = ("is_shape_tensor", "allow_ragged_batch", "optional", "is_non_linear_format_io")
_FILLED: Final = ("zero_data", "random_data", "input_data_file")
_PLATFORMS: Final[Mapping[str, str]] = {
    "onnxruntime_onnx": "onnxruntime", "tensorrt_plan": "tensorrt", "tensorflow_savedmodel": "tensorflow",
    "tensorflow_graphdef": "tensorflow", "pytorch_libtorch": "pytorch", "ensemble": "ensemble",
}  # fmt: skip
_ELSEWHERE: Final[Mapping[str, str]] = {
    "python": "serve the function: setsail serve app.py:predict --trust app",
    "pytorch": "setsail pack model.pt --trust torchscript, and put the artifact into the version's folder",
    "tensorflow": "setsail pack model.savedmodel, and put the artifact into the version's folder",
    "fil": "pack the booster's file: setsail pack FILE, and put the artifact into the version's folder",
    "tensorrt": "keep the ONNX file that the plan was built from",
    "openvino": "keep the ONNX file that the IR was made from",
    "ensemble": _REFUSED["ensemble_scheduling"],
}


class _Reading:
    """A file on its way to a Config."""

    def __init__(self, model: str, body: Message) -> None:
        self.model, self.body = model, body
        self.notes: list[str] = []

    def config(self) -> Config:
        for field in self.body:
            if field in _REFUSED:
                raise self.refused(field, None, "a model that is answered by one ONNX graph", _REFUSED[field])
            if field in _NOTED:
                self.notes.append(f"{self.model}: {field}: {_NOTED[field]}")
            elif field not in _READ:
                raise self.refused(field, None, "a field of Triton's ModelConfig")
        if (name := self.text(self.body, "name")) and name != self.model:
            raise self.refused("name", name, f"{self.model!r}, the folder's own name")
        self._backend()
        self._scheduling()
        largest = self.number(self.body, "max_batch_size", 0)
        return Config(
            batched=largest > 0,
            file=self._file(),
            policy=self._policy(),
            inputs=tuple(self._tensor(one, "input") for one in self.messages(self.body, "input")),
            outputs=tuple(self._tensor(one, "output") for one in self.messages(self.body, "output")),
            warm_ups=tuple(self._warm_up(one, largest) for one in self.messages(self.body, "model_warmup")),
            notes=tuple(self.notes),
        )

    def refused(self, field: str, value: object, expected: str, todo: str | None = None) -> SetsailError:
        return refused(self.model, field, value, expected, todo)

    # -- what fields say -----------------------------------------------------------------------------------------

    def _backend(self) -> None:
        platform, backend = self.text(self.body, "platform"), self.text(self.body, "backend")
        found = backend or _PLATFORMS.get(platform, platform) or "onnxruntime"
        if found != "onnxruntime":
            field = "backend" if backend else "platform"
            raise self.refused(field, backend or platform, "onnxruntime (platform onnxruntime_onnx)",
                               _ELSEWHERE.get(found))  # fmt: skip

    def _scheduling(self) -> None:
        for one in self.messages(self.body, "dynamic_batching"):
            delay = self.number(one, "max_queue_delay_microseconds", 0)
            told = f"; --max-delay {delay / 1e6:g} waits as long, for all models" if delay else ""
            self.notes.append(f"{self.model}: dynamic_batching: requests that come together run together{told}")
        for one in self.messages(self.body, "model_transaction_policy"):
            if self.flag(one, "decoupled"):
                raise self.refused("model_transaction_policy.decoupled", True, "one answer for each request")

    def _file(self) -> str:
        name = self.text(self.body, "default_model_filename") or "model.onnx"
        if name != Path(name).name or name.startswith("."):
            raise self.refused("default_model_filename", name, "the name of a file in the version's folder")
        return name

    def _policy(self) -> Policy:
        """Triton serves the latest version unless it is told otherwise."""
        for policy in self.messages(self.body, "version_policy"):
            for kind in policy:
                choices = self.messages(policy, kind)
                if kind == "all":
                    return Policy()
                if kind == "latest" and choices:
                    return Policy(latest=max(1, self.number(choices[-1], "num_versions", 1)))
                if kind == "specific" and choices:
                    return Policy(specific=self.numbers(choices[-1], "versions"))
                raise self.refused(f"version_policy.{kind}", None, "latest, all or specific")
        return Policy(latest=1)

    def _tensor(self, body: Message, what: str) -> Tensor:
        for field in body:
            if field not in _TENSOR:
                raise self.refused(f"{what}.{field}", None, ", ".join(_TENSOR))
        name = self.text(body, "name")
        for field in _FORBIDDEN:
            if self.flag(body, field):
                raise self.refused(f"{what}.{field}", name, f"an {what} without")
        dims = self.numbers(body, "dims")
        for reshape in self.messages(body, "reshape"):
            if (shape := self.numbers(reshape, "shape")) != dims:
                raise self.refused(f"{what}.reshape", list(shape), f"{list(dims)}, the dims of {name!r}",
                                   "put a Reshape into the graph, and leave it out here")  # fmt: skip
        return Tensor(name, self._dtype(body, what), dims, self._plain(body, "label_filename"))

    def _dtype(self, body: Message, what: str) -> DType:
        written = self.text(body, "data_type")
        found = BY_OIP.get("BYTES" if written == "TYPE_STRING" else written.removeprefix("TYPE_"))
        if found is None:
            raise self.refused(f"{what}.data_type", written, "one of " + ", ".join(f"TYPE_{n}" for n in BY_OIP))
        return found

    def _plain(self, body: Message, field: str) -> str:
        """A file's name; a way out of the model's folder is none."""
        name = self.text(body, field)
        if name and (name.startswith("/") or ".." in Path(name).parts):
            raise self.refused(field, name, "a file in the model's folder")
        return name

    def _warm_up(self, body: Message, largest: int) -> WarmUp:
        batch = self.number(body, "batch_size", 1)
        if not 1 <= batch <= max(1, largest):
            raise self.refused("model_warmup.batch_size", batch, f"1 to {max(1, largest)}, as max_batch_size has it")
        inputs = []
        for pair in self.messages(body, "inputs"):
            (value,) = self.messages(pair, "value") or ({},)
            how = [kind for kind in _FILLED if kind in value]
            if len(how) != 1:
                raise self.refused("model_warmup.inputs.value", how, "one of " + ", ".join(_FILLED))
            dims = self.numbers(value, "dims")
            if any(size < 1 for size in dims):
                raise self.refused("model_warmup.inputs.value.dims", list(dims), "sizes of one request")
            file = self._plain(value, how[0]) if how[0] == "input_data_file" else ""
            dtype = self._dtype(value, "model_warmup.inputs.value")
            inputs.append(Filled(self.text(pair, "key"), dtype, dims, how[0], file))
        return WarmUp(self.text(body, "name"), batch, max(1, self.number(body, "count", 1)), tuple(inputs))

    # -- values ----------------------------------------------------------------------------------------------------

    def messages(self, body: Message, field: str) -> Sequence[Message]:
        found = body.get(field, ())
        if not all(isinstance(one, Mapping) for one in found):
            raise self.refused(field, found[0], f"{field} {{ … }}")
        return found

    def text(self, body: Message, field: str) -> str:
        return str(self._last(body, field, str, ""))

    def number(self, body: Message, field: str, default: int) -> int:
        return int(self._last(body, field, int, default))

    def numbers(self, body: Message, field: str) -> tuple[int, ...]:
        found = body.get(field, ())
        if not all(type(one) is int for one in found):
            raise self.refused(field, list(found), "whole numbers")
        return tuple(found)

    def flag(self, body: Message, field: str) -> bool:
        value = self._last(body, field, (Word, int), Word("false"))
        return str(value).lower() in ("true", "t", "1")

    def _last(self, body: Message, field: str, kind: Any, default: Any) -> Any:
        """The value of a field that may be there once; of two the last counts, as protobuf has it."""
        found = body.get(field, ())
        if found and not isinstance(found[-1], kind):
            raise self.refused(field, found[-1], getattr(kind, "__name__", "a value"))
        return found[-1] if found else default
