"""The models that every server serves: one ONNX file each, with one output, and what it answers to known inputs.

They are made once into a folder. What scikit-learn and XGBoost trained is asked itself for the right answers; networks
have random weights of a fixed seed, and their own in-process run is the answer. ResNet-18 and the encoder are written
here as graphs, so that no PyTorch is needed: the shapes are those of the papers, batch normalisation folded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["MODELS", "Case", "Made", "made"]

Tensors = Mapping[str, NDArray[Any]]
LENGTHS: Final = (7, 12, 18, 25, 31, 40, 52, 64, 80, 96, 112, 128)  # of texts in tokens: what mixed traffic looks like


@dataclass(frozen=True, eq=False)
class Case:
    """One request's tensors and the source model's answer to them."""

    inputs: Tensors
    answer: NDArray[Any]


@dataclass(frozen=True, eq=False)
class Made:
    """A model on disk, and the requests that are sent to it in turn."""

    name: str
    path: Path
    cases: tuple[Case, ...]


def made(name: str, folder: Path, *, full_size: bool = False) -> Made:
    """The model `name` in `folder`, made there when it is missing."""
    kind = f"{name}-full" if full_size and name == "encoder" else name
    home = folder / kind
    path, answers = home / "model.onnx", home / "cases.npz"
    if not answers.exists():
        home.mkdir(parents=True, exist_ok=True)
        proto, inputs, source = MODELS[name](full_size)
        path.write_bytes(proto.SerializeToString())
        stored: dict[str, Any] = {}
        for number, tensors in enumerate(inputs):
            stored |= {f"{number}/{key}": value for key, value in tensors.items()}
            stored[f"{number}/="] = (source or _run(path))(tensors)
        np.savez(answers.with_suffix(".part.npz"), **stored)
        answers.with_suffix(".part.npz").rename(answers)
    cases: dict[int, dict[str, NDArray[Any]]] = {}
    with np.load(answers) as archive:
        for entry in archive.files:
            number, _, key = entry.partition("/")
            cases.setdefault(int(number), {})[key] = archive[entry]
    return Made(
        name,
        path,
        tuple(Case({k: v for k, v in case.items() if k != "="}, case["="]) for _, case in sorted(cases.items())),
    )


def _run(path: Path) -> Callable[[Tensors], NDArray[Any]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda tensors: session.run(None, dict(tensors))[0]


# -- trained -------------------------------------------------------------------------------------------------------

Source = tuple[Any, Sequence[Tensors], Callable[[Tensors], Any] | None]


def iris(full_size: bool) -> Source:
    """scikit-learn's logistic regression on the iris data: 4 numbers in, 3 probabilities out."""
    from skl2onnx import to_onnx
    from sklearn.datasets import load_iris
    from sklearn.linear_model import LogisticRegression

    X, y = load_iris(return_X_y=True)
    X = X.astype(np.float32)
    model = LogisticRegression(max_iter=1000).fit(X, y)
    proto = to_onnx(model, X[:1], options={"zipmap": False}, target_opset=17)
    rows = [{"input": X[i : i + 1]} for i in range(0, 150, 3)]
    return _probabilities(proto), rows, lambda tensors: model.predict_proba(tensors["input"])


def xgboost(full_size: bool) -> Source:
    """200 trees of depth 6 on the breast-cancer data: 30 numbers in, 2 probabilities out."""
    from onnx import load_from_string
    from sklearn.datasets import load_breast_cancer
    from xgboost import XGBClassifier

    import setsail

    X, y = load_breast_cancer(return_X_y=True)
    X = X.astype(np.float32)
    model = XGBClassifier(n_estimators=200, max_depth=6, n_jobs=1, random_state=0).fit(X, y)
    with setsail.pack(model, example=X[:50], name="xgboost") as artifact:
        (variant,) = artifact.variants
        proto = load_from_string(bytes(artifact.files(variant.id)[variant.entry]))
    rows = [{"input": X[i : i + 1]} for i in range(0, 500, 10)]
    return _probabilities(proto), rows, lambda tensors: model.predict_proba(tensors["input"])


def _probabilities(proto: Any) -> Any:
    """The program without its label output, which not every server could send, with the input named `input`."""
    from onnx.utils import Extractor

    (given,) = (value.name for value in proto.graph.input)
    found = next(value.name for value in proto.graph.output if value.name.startswith("prob"))
    proto = Extractor(proto).extract_model([given], [found])
    for node in proto.graph.node:
        node.input[:] = ["input" if name == given else name for name in node.input]
    proto.graph.input[0].name = "input"
    return proto


# -- networks ------------------------------------------------------------------------------------------------------


class Graph:
    """An ONNX graph in the making, with random weights."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def weight(self, *shape: int, scale: float | None = None) -> str:
        fan_in = int(np.prod(shape[1:])) if len(shape) > 1 else 0
        if scale is None:
            scale = (2.0 / fan_in) ** 0.5 if fan_in else 0.01
        return self.constant((self.random.standard_normal(shape) * scale).astype(np.float32))

    def constant(self, value: Any) -> str:
        from onnx import numpy_helper

        self.weights.append(numpy_helper.from_array(value, f"w{len(self.weights)}"))
        return str(self.weights[-1].name)

    def add(self, op: str, *inputs: str, out: str = "", **attributes: Any) -> str:
        from onnx import helper

        out = out or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def conv(self, x: str, before: int, after: int, size: int, stride: int = 1, relu: bool = True) -> str:
        pad = [size // 2] * 4
        x = self.add(
            "Conv", x, self.weight(after, before, size, size), self.weight(after), strides=[stride] * 2, pads=pad
        )
        return self.add("Relu", x) if relu else x

    def linear(self, x: str, before: int, after: int) -> str:
        return self.add(
            "Add", self.add("MatMul", x, self.weight(before, after, scale=before**-0.5)), self.weight(after)
        )

    def finished(self, inputs: Mapping[str, tuple[Any, list[Any]]], output: str, shape: list[Any]) -> Any:
        from onnx import TensorProto, helper

        given = [helper.make_tensor_value_info(name, kind, dims) for name, (kind, dims) in inputs.items()]
        wanted = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
        graph = helper.make_graph(self.nodes, "benchmark", given, wanted, self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def digits(full_size: bool) -> Source:
    """A small convolutional network on 8 x 8 digits: two convolutions and two layers, 13,000 weights."""
    from onnx import TensorProto
    from sklearn.datasets import load_digits

    g = Graph()
    x = g.conv(g.conv("pixels", 1, 16, 3), 16, 32, 3)
    x = g.add("Flatten", g.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]))
    x = g.linear(g.add("Relu", g.linear(x, 512, 16)), 16, 10)
    g.add("Softmax", x, out="probabilities", axis=-1)
    proto = g.finished({"pixels": (TensorProto.FLOAT, ["N", 1, 8, 8])}, "probabilities", ["N", 10])
    images = (load_digits().images[:50, None, None] / 16).astype(np.float32)
    return proto, [{"pixels": image} for image in images], None


def resnet18(full_size: bool) -> Source:
    """ResNet-18 (He et al. 2015) on one 3 x 224 x 224 image: 11.7 million weights, 602 KB an image."""
    from onnx import TensorProto

    g = Graph()
    x = g.conv("image", 3, 64, 7, stride=2)
    x = g.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, width in enumerate((64, 128, 256, 512)):
        for block in range(2):
            stride = 2 if stage and not block else 1
            y = g.conv(g.conv(x, channels, width, 3, stride), width, width, 3, relu=False)
            shortcut = x if channels == width else g.conv(x, channels, width, 1, stride, relu=False)
            x = g.add("Relu", g.add("Add", g.add("Mul", y, g.constant(np.float32(0.3).reshape(()))), shortcut))
            channels = width
    x = g.linear(g.add("Flatten", g.add("GlobalAveragePool", x)), 512, 1000)
    g.add("Softmax", x, out="scores", axis=-1)
    proto = g.finished({"image": (TensorProto.FLOAT, ["N", 3, 224, 224])}, "scores", ["N", 1000])
    images = np.random.default_rng(1).standard_normal((4, 1, 3, 224, 224), dtype=np.float32)
    return proto, [{"image": image} for image in images], None


def encoder(full_size: bool) -> Source:
    """A BERT-shaped encoder (Devlin et al. 2018) over texts of 7 to 128 tokens, and two classes from its first token.

    4 layers of 256; `--full-size` gives BERT-base's 12 layers of 768 and its vocabulary.
    """
    from onnx import TensorProto

    layers, width, heads, words = (12, 768, 12, 30522) if full_size else (4, 256, 4, 8000)
    g = Graph()
    mask = g.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    mask = g.add("Unsqueeze", mask, g.constant(np.array([1, 2], dtype=np.int64)))
    far = g.add(
        "Mul", g.add("Sub", g.constant(np.float32(1).reshape(())), mask), g.constant(np.float32(-1e9).reshape(()))
    )
    # the first L of 512 position vectors
    length = g.add("Gather", g.add("Shape", "input_ids"), g.constant(np.array([1], dtype=np.int64)))
    zero, first = g.constant(np.array([0], dtype=np.int64)), g.constant(np.array([0], dtype=np.int64))
    positions = g.add("Slice", g.weight(512, width, scale=0.1), zero, length, first)
    x = g.add("Add", g.add("Gather", g.weight(words, width, scale=0.5), "input_ids"), positions)
    x = _normed(g, x, width)
    for _ in range(layers):
        x = _normed(g, g.add("Add", x, _attention(g, x, far, width, heads)), width)
        h = g.linear(x, width, 4 * width)
        half = g.add("Mul", h, g.constant(np.float32(0.5).reshape(())))
        erf = g.add("Erf", g.add("Div", h, g.constant(np.float32(2**0.5).reshape(()))))
        h = g.add("Mul", half, g.add("Add", erf, g.constant(np.float32(1).reshape(()))))
        x = _normed(g, g.add("Add", x, g.linear(h, 4 * width, width)), width)
    x = g.add("Gather", x, g.constant(np.array(0, dtype=np.int64)), axis=1)
    g.add("Softmax", g.linear(x, width, 2), out="scores", axis=-1)
    free = (TensorProto.INT64, ["N", "L"])
    proto = g.finished({"input_ids": free, "attention_mask": free}, "scores", ["N", 2])
    random = np.random.default_rng(2)
    texts = [random.integers(1, words, (1, n), dtype=np.int64) for n in random.permutation(LENGTHS * 2)]
    return proto, [{"input_ids": text, "attention_mask": np.ones_like(text)} for text in texts], None


def _normed(g: Graph, x: str, width: int) -> str:
    return g.add("LayerNormalization", x, g.constant(np.ones(width, np.float32)), g.weight(width), axis=-1)


def _attention(g: Graph, x: str, far: str, width: int, heads: int) -> str:
    split = g.constant(np.array([0, 0, heads, width // heads], dtype=np.int64))
    q, k, v = (g.add("Reshape", g.linear(x, width, width), split) for _ in range(3))
    q, v = (g.add("Transpose", t, perm=[0, 2, 1, 3]) for t in (q, v))
    k = g.add("Transpose", k, perm=[0, 2, 3, 1])
    scores = g.add("Div", g.add("MatMul", q, k), g.constant(np.float32((width // heads) ** 0.5).reshape(())))
    share = g.add("Softmax", g.add("Add", scores, far), axis=-1)
    joined = g.add("Transpose", g.add("MatMul", share, v), perm=[0, 2, 1, 3])
    return g.linear(g.add("Reshape", joined, g.constant(np.array([0, 0, width], dtype=np.int64))), width, width)


MODELS: Final[Mapping[str, Callable[[bool], Source]]] = {
    "iris": iris, "xgboost": xgboost, "digits": digits, "resnet18": resnet18, "encoder": encoder,
}  # fmt: skip
