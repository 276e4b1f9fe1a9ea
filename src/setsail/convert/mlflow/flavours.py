"""The flavours that are packed: which file of the directory is the model, of which formats, and what MLflow answers.

A row names an option of the flavour, or a fixed place, and the formats that may be found there; the file itself is
recognised like any other, so that a pickle behind an `onnx` flavour is not loaded as one. Everything that MLflow knows
and that is not in FLAVOURS is only its `python_function`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from setsail.convert.conversion import Conversion
from setsail.convert.mlflow import pipelines
from setsail.convert.mlflow.document import PYFUNC, Document, damaged, inside, read
from setsail.errors import SetsailError

__all__ = ["FLAVOURS", "SECOND", "Flavour", "Inner", "answer", "find"]


@dataclass(frozen=True, slots=True)
class Flavour:
    """One flavour.

    Attributes:
        option: of the flavour, that names the model's file or folder; `places` are tried where it names a folder (or,
            without an option, in the directory itself).
        formats: keys of `convert.formats.FORMATS` that may be there.
        params: whether MLflow hands the parameters of a request to the model: then what it answers depends on them.
        told: whether the converter takes `Intent.inputs` from the schema: "never", "without example", "always", or the
            "dtype" of a table alone, whose columns the model knows better.
    """

    option: str
    formats: tuple[str, ...]
    places: tuple[str, ...] = ()
    params: bool = False
    told: str = "without example"


_PICKLES: Final = ("pickle", "joblib", "skops", "skops-types")
_KERAS: Final = ("keras", "keras-code", "saved-model", "saved-model-code")
_TENSORFLOW: Final = (*_KERAS, "hdf5", "hdf5-code")

FLAVOURS: Final[Mapping[str, Flavour]] = {
    "onnx": Flavour("data", ("onnx",), told="never"),
    "xgboost": Flavour("data", ("xgboost-ubj", "xgboost-json", "xgboost-binary"), params=True, told="dtype"),
    "lightgbm": Flavour("data", ("lightgbm-text", *_PICKLES), told="dtype"),
    "catboost": Flavour("data", ("catboost",), told="dtype"),
    "keras": Flavour("data", _KERAS, ("model.keras", "model"), told="never"),
    "tensorflow": Flavour("data", _TENSORFLOW, ("model.keras", "model.h5", "model"), told="never"),
    "transformers": Flavour("model_binary", ("transformers", "transformers-bin"), params=True, told="never"),
    "sklearn": Flavour("pickled_model", _PICKLES),
    "pytorch": Flavour("model_data", ("torch-module", "torchscript", "pt2"), ("model.pth", "model.pt2"), params=True,
                       told="always"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Inner:
    """The model inside a directory."""

    flavour: str
    path: Path
    document: Document

    @property
    def row(self) -> Flavour:
        return FLAVOURS[self.flavour]


def find(folder: Path) -> tuple[Document, Inner | None]:
    """What a directory holds: the first flavour of FLAVOURS, in its order; None where none of them can be packed.

    Raises:
        SetsailError: `source.damaged`, `dependency.missing`.
    """
    document = read(folder)
    for name, row in FLAVOURS.items():
        if name in document.flavours and (name != pipelines.FLAVOUR or pipelines.is_packed(document)):
            return document, Inner(name, _path(document, name, row), document)
    return document, None


def _path(document: Document, name: str, row: Flavour) -> Path:
    option = row.option
    if name == "tensorflow" and document.flavours[name].get("saved_model_dir"):
        option = "saved_model_dir"
    path = inside(document.folder, document.option(name, option, "data" if row.places else ""))
    if row.places and path.is_dir() and option == row.option:
        for place in row.places:
            if (path / place).exists():
                return inside(document.folder, str((path / place).relative_to(document.folder)))
        raise damaged(f"there is no model of flavour {name} where it says", path.name)
    return path


# -- what MLflow answers -----------------------------------------------------------------------------------------------

SECOND: Final = "the probability of the second class"  # of what `answer` says; no output of ours is called so

# Of scikit-learn's `pyfunc_predict_fn`: our output by MLflow's method, in order of preference.
_METHODS: Final[Mapping[str, tuple[str, ...]]] = {
    "predict": ("label", "prediction", "cluster", "score"),
    "predict_proba": ("probabilities", "scores"),
}
# A bare booster answers its scores; what those are, by the beginning of its objective.
_SCORES: Final = (
    ("multi:softmax", "label"), ("multi", "probabilities"), ("binary:hinge", "label"), ("binary:logitraw", "decision"),
    ("binary", SECOND),
)  # fmt: skip


def answer(inner: Inner, made: Conversion) -> str:
    """Which output of a converted model is what MLflow answers: "" for its own default, or SECOND.

    Raises:
        SetsailError: `convert.unsupported` for an answer that is none of ours.
    """
    known = _ANSWERS.get(inner.flavour)
    return "" if known is None else known(inner, made)


def _sklearn(inner: Inner, made: Conversion) -> str:
    document = inner.document
    method = document.option(PYFUNC, "predict_fn", "predict") if document.pyfunc else "predict"
    names = [spec.name for spec in made.signature.outputs]
    found = next((name for name in _METHODS.get(method, ()) if name in names), None)
    if found is None and (method != "predict" or made.kind != "transformer"):
        raise _no_answer(method, made.kind, "predict_fn")
    return found or ""


def _booster(inner: Inner, made: Conversion) -> str:
    """`predict` of a wrapper is our default; of a bare booster, its scores."""
    if not inner.document.option(inner.flavour, "model_class", "Booster").endswith("Booster"):
        return ""
    objective = str(made.hyperparameters.get("objective", ""))
    if not made.kind.startswith("classifier"):
        return ""
    return next((output for begin, output in _SCORES if objective.startswith(begin)), SECOND)


def _catboost(inner: Inner, made: Conversion) -> str:
    if inner.document.option(inner.flavour, "model_type") == "CatBoost" and made.kind.startswith("classifier"):
        raise _no_answer("predict of a plain CatBoost, its raw values,", made.kind, "model_type")
    return ""


_ANSWERS: Final[Mapping[str, Callable[[Inner, Conversion], str]]] = {
    "sklearn": _sklearn, "xgboost": _booster, "lightgbm": _booster, "catboost": _catboost,
}  # fmt: skip


def _no_answer(method: str, kind: str, field: str) -> SetsailError:
    return SetsailError(
        "convert.unsupported", f"MLflow answers this model with {method}, which a {kind} does not give here",
        field=field, value=method, expected=", ".join(_METHODS),
        todo="pack the model file inside the directory, or serve the directory as it is with --trust pyfunc",
    )  # fmt: skip
