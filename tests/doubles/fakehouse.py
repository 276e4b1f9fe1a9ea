"""A house without runtime: models are Python functions behind the real signature check."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from setsail.binding import bind
from setsail.catalog import (
    Ask,
    Card,
    Index,
    IsLive,
    IsReady,
    Load,
    Metadata,
    ModelMetadata,
    ServerInfo,
    Statistics,
    Status,
    Unload,
    VersionStatistics,
    VersionStatus,
)
from setsail.errors import SetsailError
from setsail.messages import TOGETHER, ModelRef, Request, Response
from setsail.routing import Routes
from setsail.signature import Signature, TensorSpec
from setsail.tensors import DTYPES, NULL, Array, DType

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]


@dataclass
class FakeModel:
    name: str
    signature: Signature
    run: Run
    example: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    state: str = "ready"
    reason: str = ""
    others: Mapping[str, FakeModel] = field(default_factory=dict)  # the other signatures, and further names

    def status(self) -> VersionStatus:
        return VersionStatus(self.name, self.version, self.state, self.reason, default=True, labels=("stable",))

    def metadata(self) -> ModelMetadata:
        others = {
            name: (replace(other, others={}) if other is self else other).metadata()
            for name, other in self.others.items()
        }
        versions = (self.version,)
        return ModelMetadata(self.name, self.version, versions, self.signature, "fake 1.0", None, self.example, others)


class FakeHouse:
    """Answers every ask as `serving/house.py` does, for one version a model."""

    def __init__(self, *models: FakeModel) -> None:
        self.models = {m.name: m for m in models}
        self.asks: list[Request | Ask] = []

    def answer(self, ask: Request | Ask, *, control: bool = False) -> Any:
        self.asks.append(ask)
        match ask:
            case Request():
                return self._predict(ask)
            case IsLive():
                return True
            case IsReady(model=None):
                return all(m.state == "ready" for m in self.models.values())
            case IsReady(model=ref, lenient=True) if ref.name not in self.models:
                return False
            case IsReady(model=ref):
                return self._find(ref).state == "ready"
            case Routes():
                return ()
            case Card(model=ref):
                return (("parity", (f"{self._find(ref).name}: <passed> on 64 rows",)), ("inputs", ("told above",)))
            case Status(model=ref):
                return (self._find(ref).status(),)
            case Metadata(model=ref):
                return self._ready(ref).metadata()
            case Index(ready_only=ready_only):
                return tuple(m.status() for m in self.models.values() if m.state == "ready" or not ready_only)
            case Statistics(model=None):
                return tuple(VersionStatistics(m.name, m.version) for m in self.models.values() if m.state == "ready")
            case Statistics(model=ref):
                return (VersionStatistics(self._ready(ref).name, self._find(ref).version),)
            case Load(name=name) | Unload(name=name):
                if not control:
                    raise SetsailError("control.refused", "model control is off here")
                self._find(ModelRef(name)).state = "ready" if isinstance(ask, Load) else "gone"
                return None
            case ServerInfo():
                return None

    def _find(self, ref: ModelRef) -> FakeModel:
        model = self.models.get(ref.name)
        if model is None:
            raise SetsailError("model.unknown", f"there is no model {ref.name!r}", field="model", value=ref.name,
                               model=ref.name)  # fmt: skip
        if ref.label not in (None, "stable"):
            raise SetsailError("model.label", f"there is no label {ref.label!r}", field="label", value=ref.label)
        if ref.version not in (None, model.version):
            raise SetsailError("model.version", f"there is no version {ref.version}", value=ref.version, model=ref.name)
        return model

    def _ready(self, ref: ModelRef) -> FakeModel:
        model = self._find(ref)
        if model.state != "ready":
            raise SetsailError("model.not_ready", f"model {ref} is {model.state}", model=ref.name)
        return model

    def _predict(self, ask: Request) -> Response:
        model = self._ready(ask.model)
        named = ask.signature in model.others
        model = model.others.get(ask.signature, model)
        signature, defaults, names = model.signature, model.signature.defaults, ask.outputs
        if ask.signature != "serving_default" and not named and TOGETHER not in ask.signature:
            if ask.signature not in {s.name for s in signature.outputs}:
                raise SetsailError("model.signature", f"there is no signature {ask.signature!r}", value=ask.signature)
            names = defaults = (ask.signature,)
        for name in names or ():
            signature.output(name)
        outputs = model.run(bind(signature, ask.body))
        kept = {s.name: outputs[s.name] for s in signature.outputs if names is None or s.name in names}
        defaults = tuple(n for n in defaults if n in kept) or tuple(kept)
        return Response(model.name, model.version, kept, defaults, signature, ask.id)


# -- models ------------------------------------------------------------------------------------------------------------


def echo(dtype: DType, name: str = "") -> FakeModel:
    """Answers its one `[N, 2]` input; floats and text may be missing."""
    nullable = dtype.kind in ("float", "string")
    spec = TensorSpec("x", dtype, ("N", 2), nullable=nullable)
    sample: dict[str, Any] = {"string": ["a", "b"], "bool": [True, False], "float": [0.1, 2.5]}
    return FakeModel(
        name or f"echo-{dtype.name}",
        Signature((spec,), (TensorSpec("y", dtype, ("N", 2)),), ("y",)),
        lambda inputs: {"y": inputs["x"]},
        {"x": sample.get(dtype.kind, [1, 2])},
    )


def iris() -> FakeModel:
    """A homogeneous table and a classifier's two outputs."""
    columns = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    table = TensorSpec("input", _dtype("float64"), ("N", 4), columns=columns)
    labels = ("setosa", "versicolor", "virginica")
    outputs = (
        TensorSpec("label", _dtype("string"), ("N",), labels=labels),
        TensorSpec("probabilities", _dtype("float32"), ("N", 3), labels=labels),
    )

    def run(inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        x = inputs["input"]
        p = np.exp(x[:, :3] - x[:, :3].max(1, keepdims=True))
        p = (p / p.sum(1, keepdims=True)).astype(np.float32)
        return {"label": np.array(labels, dtype=object)[p.argmax(1)], "probabilities": p}

    signature = Signature((table,), outputs, ("probabilities",))
    return FakeModel("iris", signature, run, {"input": [5.1, 3.5, 1.4, 0.2]})


def people() -> FakeModel:
    """Mixed columns, text that may be missing, a closed category, a regressor's one output."""
    inputs = (
        TensorSpec("age", _dtype("float64"), ("N",), nullable=True),
        TensorSpec("city", _dtype("string"), ("N",), categories=("Rome", "Oslo"), closed=True, nullable=True),
        TensorSpec("children", _dtype("int64"), ("N",)),
        TensorSpec("member", _dtype("bool"), ("N",)),
    )

    def run(x: Mapping[str, Array]) -> Mapping[str, Array]:
        known = np.array([0.0 if c == NULL else 1.0 for c in x["city"]])
        return {"prediction": np.nan_to_num(x["age"]) + x["children"] + known + x["member"]}

    signature = Signature(inputs, (TensorSpec("prediction", _dtype("float64"), ("N",)),), ("prediction",))
    return FakeModel("people", signature, run, {"age": 42.0, "city": "Rome", "children": 2, "member": True})


def review() -> FakeModel:
    """The text classifier of TensorFlow's slides: a record of scores and classes for each text."""
    outputs = (TensorSpec("scores", _dtype("float32"), ("N", 2)), TensorSpec("classes", _dtype("string"), ("N", 2)))

    def run(x: Mapping[str, Array]) -> Mapping[str, Array]:
        good = np.array(["good" in t for t in x["text"]], dtype=np.float32) * np.float32(0.8) + np.float32(0.1)
        classes = np.array([["neg", "pos"]] * len(good), dtype=object)
        return {"scores": np.stack([1 - good, good], axis=1), "classes": classes}

    text = TensorSpec("text", _dtype("string"), ("N",))
    return FakeModel(
        "review", Signature((text,), outputs, ("scores", "classes")), run, {"text": "a good film, it's true"}
    )


def image() -> FakeModel:
    """One tensor of rank 3."""
    spec = TensorSpec("pixels", _dtype("float32"), ("N", 2, 3))
    out = TensorSpec("sum", _dtype("float32"), ("N",))
    return FakeModel(
        "image",
        Signature((spec,), (out,), ("sum",)),
        lambda x: {"sum": x["pixels"].sum((1, 2))},
        {"pixels": [[0.0, 0.25, 0.5], [1.0, 0.75, 0.5]]},
    )


def two(version: int = 1, factor: float = 0.5) -> FakeModel:
    """A model of several signatures: the default one adds a row's three numbers up, `classify` scores two (times the
    factor), and `prediction`, called like the default one's output, is the sum's negative; `serve` and `sort` are
    further names of the first two."""
    x, z = (TensorSpec(n, _dtype("float32"), ("N", size)) for n, size in (("x", 3), ("z", 2)))
    told = TensorSpec("prediction", _dtype("float32"), ("N",))
    scores = TensorSpec("scores", _dtype("float32"), ("N", 2), labels=("cat", "dog"))

    def one(given: TensorSpec, out: TensorSpec, run: Callable[[Array], Array], row: list[float]) -> FakeModel:
        signature = Signature((given,), (out,), (out.name,))
        return FakeModel("two", signature, lambda i: {out.name: run(i[given.name])}, {given.name: row}, version)

    made = one(x, told, lambda rows: rows.sum(1), [1.0, 2.0, 3.0])
    classify = one(z, scores, lambda rows: rows * np.float32(factor), [2.0, 4.0])
    negative = one(x, told, lambda rows: -rows.sum(1), [1.0, 2.0, 3.0])
    made.others = {"classify": classify, "prediction": negative, "serve": made, "sort": classify}
    return made


def gallery() -> FakeHouse:
    """Every model above; one more is still loading."""
    sleepy = echo(_dtype("float32"), "sleepy")
    sleepy.state = "loading"
    return FakeHouse(*(echo(d) for d in DTYPES), iris(), people(), review(), image(), sleepy)


def _dtype(name: str) -> DType:
    return next(d for d in DTYPES if d.name == name)
