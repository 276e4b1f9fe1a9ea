"""Taking ZipMap off a classifier.

Converters of scikit-learn-like models end in ZipMap, which turns `probabilities` [N, classes] into a list of maps.
No wire carries those, and they are slow. The tensor beneath is the answer; the labels go to the signature.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from setsail.tensors import Array

__all__ = ["as_tensor", "remove"]


def remove(model: Any) -> dict[str, tuple[Any, ...]]:
    """Replace every ZipMap whose list of maps is an output by its input tensor, under the output's name.

    Returns:
        Output name -> class labels in the tensor's order.
    """
    graph = model.graph
    outputs = {o.name: o for o in graph.output}
    labels: dict[str, tuple[Any, ...]] = {}
    for node in graph.node:
        if node.op_type == "ZipMap" and node.output[0] in outputs:
            name = node.output[0]
            found = {a.name: tuple(s.decode() for s in a.strings) or tuple(a.ints) for a in node.attribute}
            labels[name] = found.get("classlabels_strings") or found.get("classlabels_int64s") or ()
            node.op_type, node.domain = "Identity", ""
            node.ClearField("attribute")
            outputs[name].ClearField("type")  # the signature declares it when the program is sealed
    if labels and not any(o.domain in ("", "ai.onnx") for o in model.opset_import):
        model.opset_import.add(domain="", version=13)
    return labels


def as_tensor(maps: list[dict[Any, float]], labels: tuple[Any, ...]) -> Array:
    """A source's own list of maps as the tensor it was made of."""
    return np.array([[row[label] for label in labels] for row in maps], dtype=np.float32)
