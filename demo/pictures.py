"""The demo's model of pictures: a perceptron on 8x8 pixels, and as steps what a web application would do before it.

`answers` is such an application's own code, on Pillow and scikit-learn. The steps that travel with the model say the
same as data; the demo holds one against the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from setsail.artifact import Artifact, Draft, write
from setsail.signature import Signature, TensorSpec
from setsail.steps import Processing, Step
from setsail.tensors import BY_NAME

__all__ = ["SIDE", "answers", "around", "files", "program"]

SIDE, DRAWN = 8, 28  # pixels of the model, and of the files
STEPS = (
    Step("image.decode", ("drawing",), ("image",), {"mode": "L", "max_pixels": 1_000_000}),
    Step("image.resize", ("image",), (), {"height": SIDE, "width": SIDE, "resample": "bilinear"}),
    Step("image.scale", ("image",), (), {"factor": 1 / 255}),
    Step("image.stack", ("image",), ("pixels",), {"layout": "NHW"}),
)


def files(images: np.ndarray) -> np.ndarray:
    """Drawings as PNG files, larger than the model wants them."""
    made = np.empty(len(images), dtype=object)
    for row, image in enumerate(images):
        out = BytesIO()
        Image.fromarray(np.uint8(image * 255)).resize((DRAWN, DRAWN), Image.Resampling.BICUBIC).save(out, "PNG")
        made[row] = out.getvalue()
    return made


def answers(perceptron: Any, drawings: np.ndarray) -> np.ndarray:
    """What the perceptron says of PNG files."""
    opened = [Image.open(BytesIO(drawing)).convert("L") for drawing in drawings]
    pixels = [np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)) / 255 for image in opened]
    return np.asarray(perceptron.predict_proba(np.stack(pixels).reshape(-1, SIDE * SIDE)), dtype=np.float32)


def program(perceptron: Any, folder: Path) -> Path:
    """The perceptron as ONNX, with pictures instead of tables in front."""
    (first, second), (one, two) = perceptron.coefs_, perceptron.intercepts_
    weights = {"first": first, "one": one, "second": second, "two": two}
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["pixels"], ["flat"]),
         helper.make_node("Gemm", ["flat", "first", "one"], ["hidden"]),
         helper.make_node("Relu", ["hidden"], ["raised"]),
         helper.make_node("Gemm", ["raised", "second", "two"], ["scores"]),
         helper.make_node("Softmax", ["scores"], ["probabilities"])],
        "perceptron",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", SIDE, SIDE])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", len(two)])],
        [numpy_helper.from_array(np.float32(array), name) for name, array in weights.items()],
    )  # fmt: skip
    path = folder / "perceptron.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def around(packed: Artifact, output: Path, labels: Sequence[str], drawings: np.ndarray, truth: np.ndarray) -> Artifact:
    """The packed program with the steps around it. A server runs the drawings before it answers anybody."""
    signature = Signature(
        (TensorSpec("drawing", BY_NAME["string"], ("N",), content="image"),),
        (TensorSpec("label", BY_NAME["string"], ("N",), labels=tuple(labels)),
         TensorSpec("probabilities", BY_NAME["float32"], ("N", len(labels)), labels=tuple(labels))),
        ("label",),
    )  # fmt: skip
    steps = (*STEPS, Step("scores.label", ("probabilities",), ("label",), {"labels": list(labels)}))
    label = np.array([labels[best] for best in truth.argmax(axis=1)], dtype=object)
    draft = Draft(
        name=packed.name, version=packed.version, framework=packed.framework, versions=packed.versions,
        estimator=packed.estimator, kind="classifier", hyperparameters={}, signature=signature,
        variants=tuple((v, {n: bytes(c) for n, c in packed.files(v.id).items()}) for v in packed.variants),
        parity=packed.parity, samples={"synthetic": ({"drawing": drawings}, {"label": label, "probabilities": truth})},
        environment={}, notes=("steps added by the demo",), processing=Processing(steps, packed.signature),
    )  # fmt: skip
    packed.close()
    return write(draft, output, force=True)
