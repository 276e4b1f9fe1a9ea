"""Every model format we can name: what it is, who reads it, whether reading it can run code.

One literal table. `sniff.py` finds the row of a file, `registry.py` follows its strings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from setsail.convert.pickles import Findings

__all__ = ["EXTRAS", "FORMATS", "FRAMEWORKS", "Format", "Source"]


@dataclass(frozen=True, slots=True)
class Format:
    """One model format.

    Attributes:
        title: for people.
        framework: whose format it is; "" where the file itself must tell (pickles).
        trust: the `--trust` kind where loading can run code (`contract.md` §2).
        loader: `module:function`, path -> live model; "" where the converter reads the file itself.
        converter: `module:function`, (live model, or path without a loader; intent) -> Conversion; "" where the live
            model's own class must tell.
        later: set for what is recognised but not converted by this version: what to do instead.
        served: set for code that is served as it is and never packed: the advice for who tries to.
        whole: whether the converter takes the Source, for a file or folder in which other formats lie.
    """

    title: str
    framework: str = ""
    trust: str | None = None
    loader: str = ""
    converter: str = ""
    later: str = ""
    served: str = ""
    whole: bool = False


_TORCH: Final = "setsail.convert.torch"
_TENSORFLOW: Final = "setsail.convert.tensorflow"
_LOADERS: Final = "setsail.convert.loaders"
_ONNX: Final = "export it to ONNX with its own framework, then pack the .onnx file"

# fmt: off
FORMATS: Final[Mapping[str, Format]] = {
    "onnx": Format("ONNX model", "onnx", converter="setsail.convert.onnx_file:convert"),
    "xgboost-ubj": Format("XGBoost model (UBJSON)", "xgboost", loader="setsail.convert.xgboost:load", converter="setsail.convert.xgboost:convert"),
    "xgboost-json": Format("XGBoost model (JSON)", "xgboost", loader="setsail.convert.xgboost:load", converter="setsail.convert.xgboost:convert"),
    "lightgbm-text": Format("LightGBM model (text)", "lightgbm", loader="setsail.convert.lightgbm:load", converter="setsail.convert.lightgbm:convert"),
    "catboost": Format("CatBoost model (.cbm)", "catboost", loader="setsail.convert.catboost:load", converter="setsail.convert.catboost:convert"),
    # torch.export.load unpickles where weights_only fails, and hands texts of the file to sympify, which evaluates them
    "pt2": Format("PyTorch exported program (.pt2)", "torch", "pickle", converter=f"{_TORCH}.pt2:convert"),
    "torchscript": Format("TorchScript model", "torch", "torchscript", converter=f"{_TORCH}.torchscript:convert"),
    "torch-module": Format("pickled PyTorch module", "torch", "pickle", converter=f"{_TORCH}.pickled:convert"),
    "state-dict": Format("PyTorch weights (a state dict; needs --factory pkg.mod:fn)", "torch", "factory", converter=f"{_TORCH}.factory:convert"),
    "safetensors": Format("safetensors weights (needs --factory pkg.mod:fn)", "torch", "factory", converter=f"{_TORCH}.factory:convert"),
    "factory": Format("Python file with a model factory", "torch", "factory", converter=f"{_TORCH}.factory:convert"),
    "transformers": Format("Hugging Face transformers directory", "transformers", converter="setsail.convert.transformers.directory:convert"),
    "transformers-bin": Format("Hugging Face transformers directory with pickled weights", "transformers", "pickle", converter="setsail.convert.transformers.directory:convert_pickled"),
    # what their configuration or graph names beyond their own data decides on trust: `sniff.py` scans both
    "keras": Format("Keras model (.keras)", "tensorflow", converter=f"{_TENSORFLOW}.keras:convert_file"),
    "keras-code": Format("Keras model with code of its own (.keras)", "tensorflow", "pickle", converter=f"{_TENSORFLOW}.keras:convert_trusted"),
    "hdf5": Format("Keras model (.h5)", "tensorflow", converter=f"{_TENSORFLOW}.keras:convert_file"),
    "hdf5-code": Format("Keras model with code of its own (.h5)", "tensorflow", "pickle", converter=f"{_TENSORFLOW}.keras:convert_trusted"),
    "saved-model": Format("TensorFlow SavedModel", "tensorflow", converter=f"{_TENSORFLOW}.saved_model:convert_directory"),
    "saved-model-code": Format("TensorFlow SavedModel whose graph reaches beyond it", "tensorflow", "pickle", converter=f"{_TENSORFLOW}.saved_model:convert_trusted"),
    "tflite": Format("TensorFlow Lite model", "tensorflow", converter=f"{_TENSORFLOW}.lite:convert"),
    "pickle": Format("pickle", "", "pickle", f"{_LOADERS}:joblib_file"),
    "joblib": Format("joblib file", "", "pickle", f"{_LOADERS}:joblib_file"),
    "skops": Format("skops file", "sklearn", None, f"{_LOADERS}:skops_file"),
    "skops-types": Format("skops file with types beyond scikit-learn's", "sklearn", "pickle", f"{_LOADERS}:skops_file_trusted"),
    "mlflow": Format("MLflow model directory", converter="setsail.convert.mlflow.directory:convert", whole=True),
    "mlflow-pyfunc": Format("MLflow model directory (python_function)", trust="pyfunc", served="serve it as it is: setsail serve DIR --trust pyfunc"),
    # trust is that of the model inside: `sniff.py` says which
    "mar": Format("TorchServe archive (.mar)", "torch", converter="setsail.convert.mar.vision:convert"),
    "mar-handler": Format("TorchServe archive with code that handles requests", "torch", "mar", served="serve it as it is: setsail serve FILE --trust mar"),
    "sagemaker-script": Format("SageMaker inference script", trust="app", served="serve it as it is: setsail serve PATH --trust app"),
    "azure-script": Format("Azure ML scoring script", trust="app", served="serve it as it is: setsail serve PATH --trust app"),
    "setsail": Format("setsail artifact", later="it is packed already: setsail serve FILE, setsail inspect FILE"),
    # -- recognised, not yet converted -------------------------------------------------------------------------
    "pmml": Format("PMML document", later=_ONNX),
    "r": Format("R data file", trust="r", later=_ONNX),
    "torch-legacy": Format("PyTorch file of the format before 1.6", later="load it in PyTorch and torch.save it again"),
    "xgboost-binary": Format("XGBoost model in the old binary format", later="load it with the XGBoost that wrote it and save it as .ubj"),
}
# fmt: on

FRAMEWORKS: Final = ("onnx", "sklearn", "xgboost", "lightgbm", "catboost", "torch", "tensorflow", "transformers")

# Package -> the extra that installs it.
EXTRAS: Final[Mapping[str, str]] = {
    "onnx": "onnx", "sklearn": "sklearn", "skl2onnx": "sklearn", "joblib": "sklearn", "scipy": "sklearn", "xgboost":
    "xgboost", "lightgbm": "lightgbm", "catboost": "catboost", "torch": "torch", "onnxscript": "torch", "skops": "skops",
    "pandas": "pandas",
    "pyarrow": "parquet",
    "tensorflow": "tensorflow", "keras": "tensorflow", "tf2onnx": "tensorflow", "h5py": "tensorflow", "ai_edge_litert": "litert",
    "transformers": "transformers", "tokenizers": "transformers", "PIL": "transformers",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Source:
    """A recognised model file.

    Attributes:
        path: the file (of a directory with one model file in it, that file).
        format: a key of FORMATS.
        framework: a name of FRAMEWORKS, or None where only loading the file will tell.
        trust: the `--trust` kind it takes to load it, None where loading runs no code.
        files: all files that belong to it, for a directory.
        findings: what a scan saw inside, where there is something to scan.
        inner: the model inside, for a directory or archive that is the packaging of another.
        name, version: of the model, where its packaging says them.
    """

    path: Path
    format: str
    framework: str | None
    trust: str | None = None
    files: tuple[Path, ...] = ()
    findings: Findings | None = None
    inner: Source | None = None
    name: str = ""
    version: int = 1

    @property
    def innermost(self) -> Source:
        """The model itself."""
        return self if self.inner is None else self.inner.innermost

    def describe(self) -> str:
        """One clause for people: `pickle of sklearn, model.pkl`."""
        title = FORMATS[self.format].title
        if self.inner is not None:
            return f"{title} {self.path.name} with a {self.inner.describe()}"
        if self.framework and not FORMATS[self.format].framework:
            title += f" of {self.framework}"
        return f"{title}, {self.path.name}"

    def to_json(self) -> dict[str, Any]:
        return {"path": str(self.path), "format": self.format, "framework": self.framework, "trust": self.trust}
