"""TorchServe's `image_classifier` as a program with steps: what the handler does around the model, as data.

The handler decodes an image, makes its shortest side 256, takes the middle 224 by 224, scales it as ImageNet's were,
runs the model, and answers the five most probable classes by the names of `index_to_name.json`. The probes' answers
are made with the model's own framework and the handler's arithmetic on Pillow, so parity holds the steps as well.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import numpy as np

from setsail.convert.conversion import Conversion, Intent, Probe
from setsail.convert.mar.archive import Archive, archive, handled
from setsail.convert.outputs import OUTPUTS
from setsail.errors import SetsailError
from setsail.signature import BATCH, Signature, TensorSpec
from setsail.steps import Processing, Step
from setsail.tensors import BY_NAME, Array

__all__ = ["convert"]

_KIND: Final = "top classes"
_NAMES: Final = "index_to_name.json"
_LARGEST: Final = 16 << 20
_SHORTEST, _SIDE, _TOP = 256, 224, 5
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_PICTURES: Final = 12
_BILINEAR: Final = 2  # Pillow's number
_INPUT: Final = f"input:float32[*,3,{_SIDE},{_SIDE}]"


def convert(path: Path, intent: Intent) -> Conversion:
    """Convert an archive with the handler `image_classifier` and a TorchScript or ONNX model. In a child process.

    Raises:
        SetsailError: `source.damaged`, `convert.unsupported` for a model that does not take images or give scores, and
            what the model's own converter raises.
    """
    found = archive(path)
    if not handled(found):
        raise SetsailError("convert.unsupported", f"the handler {found.handler!r} is code", field="handler",
                           value=found.handler, todo="serve it as it is: setsail serve FILE --trust mar")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        found.write(Path(folder), (found.serialized,))
        file = Path(folder, found.serialized)
        kind, run = ("onnx", _onnx(file)) if file.suffix == ".onnx" else ("torch", _torchscript(file))
        given = intent.inputs or (() if kind == "onnx" else (TensorSpec.parse(_INPUT),))
        module = "setsail.convert.onnx_file" if kind == "onnx" else "setsail.convert.torch.torchscript"
        inner: Conversion = import_module(module).convert(file, Intent(inputs=given, seed=intent.seed))
        size = _checked(inner.signature, found)
        labels = intent.labels or _labels(found, size)
        return _conversion(found, inner, labels, _probe(run, labels, intent.seed))


def _checked(signature: Signature, found: Archive) -> int:
    """The number of classes of a model that takes images of ImageNet's size and gives scores."""
    image, scores = signature.inputs[0], signature.outputs[0]
    takes = len(signature.inputs) == 1 and image.dtype.name == "float32" and len(image.shape) == 4
    sizes = all(isinstance(d, str) or d == s for d, s in zip(image.shape[1:], (3, _SIDE, _SIDE), strict=False))
    gives = len(signature.outputs) == 1 and scores.dtype.kind == "float" and len(scores.shape) == 2
    classes = scores.shape[-1] if scores.shape else None
    if not (takes and sizes and gives and signature.batched and isinstance(classes, int)):
        raise SetsailError(
            "convert.unsupported", f"the model of {found.path.name} is none for image_classifier", field="model",
            value=str(signature), expected=f"one input [N,3,{_SIDE},{_SIDE}] of float32, one output [N,classes]",
            todo="serve it with a handler of its own, or pack the model file and send tensors",
        )  # fmt: skip
    return classes


def _labels(found: Archive, size: int) -> tuple[str, ...]:
    """Names of the classes by number: of `index_to_name.json`, or the numbers themselves."""
    if _NAMES not in found.members:
        return tuple(map(str, range(size)))
    try:
        told = json.loads(found.read(_NAMES, _LARGEST))
        names = tuple(_name(told[str(i)] if isinstance(told, dict) else told[i]) for i in range(size))
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as fault:
        raise SetsailError("source.damaged", f"{_NAMES} of {found.path.name} does not name all {size} classes",
                           field=_NAMES, value=str(fault), expected='{"0": "name", …}') from fault  # fmt: skip
    return names


def _name(value: Any) -> str:
    """A name, also the last of several (ImageNet's are number and name)."""
    value = value[-1] if isinstance(value, list) else value
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no name")
    return value


def _conversion(found: Archive, inner: Conversion, labels: tuple[str, ...], probe: Probe) -> Conversion:
    (image,), (scores,) = inner.signature.inputs, inner.signature.outputs
    top = min(_TOP, len(labels))
    steps = (
        Step("image.decode", ("image",), options={"mode": "RGB"}),
        Step("image.resize", ("image",), options={"resample": "bilinear", "shortest": _SHORTEST}),
        Step("image.crop", ("image",), options={"height": _SIDE, "width": _SIDE, "middle": "even"}),
        Step("image.scale", ("image",), options={"factor": 1 / 255, "mean": list(_MEAN), "std": list(_STD)}),
        Step("image.stack", ("image",), (image.name,), {"layout": "NCHW", "dtype": "float32"}),
        Step("scores.softmax", (scores.name,)),
        Step("scores.top", (scores.name,), ("scores", "classes"), {"k": top, "labels": list(labels)}),
    )
    signature = Signature(
        (TensorSpec("image", BY_NAME["string"], (BATCH,), content="image"),),
        (
            TensorSpec("scores", scores.dtype, (BATCH, top)),
            TensorSpec("classes", BY_NAME["string"], (BATCH, top)),
        ),
        OUTPUTS[_KIND].defaults,
    )
    notes = (f"derived from TorchServe's handler {found.handler}: the steps around the model", *inner.notes)
    return replace(
        inner, estimator=f"{inner.estimator}, by {found.handler}", kind=_KIND, signature=signature, probes=(probe,),
        processing=Processing(steps, inner.signature), notes=notes,
    )  # fmt: skip


# -- the source's own answers ------------------------------------------------------------------------------------------

Run = Callable[[Array], Array]


def _torchscript(file: Path) -> Run:
    torch = import_module("torch")
    try:
        with import_module("setsail.convert.torch.exporting").quiet():
            model = torch.jit.load(str(file), map_location="cpu").eval()
    except (RuntimeError, ValueError) as fault:
        raise SetsailError("source.load", f"torch cannot load the TorchScript file {file.name!r}",
                           value=str(fault).strip().splitlines()[-1]) from fault  # fmt: skip

    def run(images: Array) -> Array:
        with torch.inference_mode():
            answer: Array = model(torch.from_numpy(images)).numpy()
        return answer

    return run


def _onnx(file: Path) -> Run:
    session: Any = None

    def run(images: Array) -> Array:
        nonlocal session  # made once the converter has looked at the file
        session = session or import_module("onnxruntime").InferenceSession(
            str(file), providers=["CPUExecutionProvider"]
        )
        (given,) = (one.name for one in session.get_inputs())
        rows = [session.run(None, {given: images[i : i + 1]})[0] for i in range(len(images))]
        return np.concatenate(rows)

    return run


def _probe(run: Run, labels: tuple[str, ...], seed: int) -> Probe:
    """Pictures that nobody took, with the five greatest probabilities and their classes."""
    files = import_module("setsail.convert.transformers.images").drawn(_PICTURES, _SIDE, seed)
    scores = run(np.stack([_prepared(raw) for raw in files.tolist()])).astype(np.float64)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    order = np.argsort(-shares, axis=1, kind="stable")[:, :_TOP]
    outputs: Mapping[str, Array] = {
        "scores": np.take_along_axis(shares, order, axis=1).astype(np.float32),
        "classes": np.array(labels, dtype=object)[order],
    }
    return Probe("synthetic", {"image": files}, outputs)


def _prepared(raw: bytes) -> Array:
    """What the handler makes of a file, as torchvision does it to a picture of Pillow's."""
    image = import_module("PIL.Image").open(io.BytesIO(raw)).convert("RGB")
    width, height = image.size
    other = int(_SHORTEST * max(width, height) / min(width, height))
    image = image.resize((_SHORTEST, other) if width <= height else (other, _SHORTEST), _BILINEAR)
    left, top = (round((edge - _SIDE) / 2) for edge in image.size)
    pixels = np.asarray(image.crop((left, top, left + _SIDE, top + _SIDE)), dtype=np.float32) / np.float32(255)
    scaled: Array = (pixels - np.array(_MEAN, np.float32)) / np.array(_STD, np.float32)
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))
