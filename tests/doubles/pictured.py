"""A model that takes pictures and answers the mean of each colour: ONNX behind the steps on images, as an artifact."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from setsail.artifact import Artifact, Draft, write
from setsail.parity import Check, ParityReport
from setsail.signature import Signature, TensorSpec
from setsail.steps import Processing, Step
from setsail.tensors import BY_NAME, Array
from setsail.variants import Variant

__all__ = ["SIDE", "SIGNATURE", "artifact", "means", "picture", "png"]

SIDE = 6
SIGNATURE = Signature(
    (TensorSpec("picture", BY_NAME["string"], ("N",), content="image"),),
    (TensorSpec("label", BY_NAME["string"], ("N",)), TensorSpec("means", BY_NAME["float32"], ("N", 3))),
    ("means",),
)
INNER = Signature((TensorSpec.parse(f"pixels:float32[N,3,{SIDE},{SIDE}]"),), SIGNATURE.outputs[1:], ("means",))
STEPS = (
    Step("image.decode", ("picture",), ("image",), {"mode": "RGB", "max_pixels": 10_000}),
    Step("image.resize", ("image",), (), {"shortest": SIDE, "resample": "box"}),
    Step("image.crop", ("image",), (), {"height": SIDE, "width": SIDE}),
    Step("image.scale", ("image",), (), {"factor": 1 / 255}),
    Step("image.stack", ("image",), ("pixels",), {"layout": "NCHW"}),
    Step("scores.label", ("means",), ("label",), {"labels": ["red", "green", "blue"]}),
)


def picture(red: int, green: int, blue: int, side: int = 2 * SIDE) -> Array:
    """One colour, but for a corner."""
    made = np.full((side, side, 3), (red, green, blue), dtype=np.uint8)
    made[: side // 2, : side // 2] //= 2
    return made


def png(pixels: Array) -> bytes:
    from PIL import Image

    out = BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def means(*pictures: Array) -> Array:
    """What the model answers, by numpy alone: the boxes of a resize by halves are its pixels' means."""
    small = [p.reshape(SIDE, 2, SIDE, 2, 3).astype(np.float64).mean(axis=(1, 3)).round() for p in pictures]
    return (np.stack(small) / 255).mean(axis=(1, 2)).astype(np.float32)


def program() -> bytes:
    shape = ["N", 3, SIDE, SIDE]
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["pixels", "axes"], ["means"], keepdims=0)], "means",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("means", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(np.array([2, 3], dtype=np.int64), "axes")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    return bytes(model.SerializeToString())


def artifact(path: Path, name: str = "colours") -> Artifact:
    pictures = [picture(200, 40, 60), picture(20, 220, 60), picture(20, 40, 250)]
    files = np.empty(3, dtype=object)
    files[:] = [png(p) for p in pictures]
    outputs = {"label": np.array(["red", "green", "blue"], dtype=object), "means": means(*pictures)}
    draft = Draft(
        name=name, version=1, framework="onnx", versions={"onnx": "1.0"}, estimator="Means", kind="tensors",
        hyperparameters={}, signature=SIGNATURE, environment={}, notes=(), processing=Processing(STEPS, INNER),
        variants=((Variant("onnx", "onnx", "float32", "model.onnx"), {"model.onnx": program()}),),
        parity=ParityReport("onnx", "float32", 1.0, (Check("synthetic", 0, 3, 0, 0.0, "", 0),)),
        samples={"synthetic": ({"picture": files}, outputs)},
    )  # fmt: skip
    return write(draft, path, force=True)
