"""`BaseHandler`: loads the model of an archive, and answers in three parts that a handler may replace."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import time
from typing import Any

from ..utils.util import list_classes_from_module, load_label_mapping

__all__ = ["BaseHandler"]

logger = logging.getLogger(__name__)


class BaseHandler:
    """A model in the archive: TorchScript, ONNX, `.pt2`, or weights with the class of `modelFile`.

    Attributes:
        model, device, mapping, manifest, context, initialized: as handlers know them. `mapping` is
            `index_to_name.json`.
    """

    def __init__(self) -> None:
        self.model: Any = None
        self.mapping: dict[str, str] | None = None
        self.device: Any = None
        self.initialized = False
        self.context: Any = None
        self.model_pt_path: str | None = None
        self.manifest: Any = None
        self.map_location = "cpu"
        self.explain = False
        self.target = 0

    # -- loading ------------------------------------------------------------------------------------------------------

    def initialize(self, context: Any) -> None:
        """Load the model. Raises RuntimeError for a missing file."""
        torch = importlib.import_module("torch")
        self.context, self.manifest = context, context.manifest
        self.device = torch.device("cpu")
        told, folder = self.manifest["model"], context.system_properties["model_dir"]
        path = told.get("serializedFile") and os.path.join(folder, told["serializedFile"])
        self.model_pt_path = path
        if path and not os.path.isfile(path):
            raise RuntimeError(f"Missing the model file {told['serializedFile']}")
        if told.get("modelFile"):
            self.model = self._load_pickled_model(folder, told["modelFile"], path)
        elif path and path.endswith(".onnx"):
            self.model = importlib.import_module("onnxruntime").InferenceSession(path)
        elif path and path.endswith(".pt2"):
            self.model = torch.export.load(path).module()
        elif path:
            self.model = self._load_torchscript_model(path)
        if callable(getattr(self.model, "eval", None)) and not (path and path.endswith(".pt2")):
            self.model.eval()
        self.mapping = load_label_mapping(os.path.join(folder, "index_to_name.json"))
        self.initialized = True

    def _load_torchscript_model(self, model_pt_path: str) -> Any:
        return importlib.import_module("torch").jit.load(model_pt_path, map_location="cpu")

    def _load_pickled_model(self, model_dir: str, model_file: str, model_pt_path: str | None) -> Any:
        """The one class of `modelFile`, with the weights of `serializedFile`."""
        torch = importlib.import_module("torch")
        path = os.path.join(model_dir, model_file)
        if not os.path.isfile(path):
            raise RuntimeError(f"Missing the model.py file {model_file}")
        module = importlib.import_module(os.path.splitext(os.path.basename(model_file))[0])
        classes = list_classes_from_module(module)
        if len(classes) != 1:
            raise ValueError(f"Expected only one class as model definition. {classes}")
        model = classes[0]()
        if model_pt_path:
            model.load_state_dict(torch.load(model_pt_path, map_location="cpu", weights_only=True))
        return model

    # -- answering ----------------------------------------------------------------------------------------------------

    def preprocess(self, data: Any) -> Any:
        """Requests -> the model's input: here a tensor of what they hold."""
        torch = importlib.import_module("torch")
        rows = [row if not isinstance(row, dict) else row.get("data", row.get("body")) for row in data]
        return torch.as_tensor(rows, device=self.device)

    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Run the model."""
        if type(self.model).__module__.startswith("onnxruntime"):
            (given,) = (one.name for one in self.model.get_inputs())
            return self.model.run(None, {given: data.numpy() if hasattr(data, "numpy") else data})[0]
        torch = importlib.import_module("torch")
        with torch.inference_mode():
            return self.model(data.to(self.device) if hasattr(data, "to") else data, *args, **kwargs)

    def postprocess(self, data: Any) -> Any:
        """The model's output -> a list with an answer a request."""
        return data.tolist()

    def handle(self, data: Any, context: Any) -> Any:
        """preprocess, inference, postprocess; or what `explain_handle` says where an explanation was asked for."""
        begun = time.perf_counter()
        self.context = context
        prepared = self.preprocess(data)
        if self._is_explain():
            output = self.explain_handle(prepared, data)
        else:
            output = self.postprocess(self.inference(prepared))
        context.metrics.add_time("HandlerTime", round((time.perf_counter() - begun) * 1e3, 2))
        return output

    def explain_handle(self, data_preprocess: Any, raw_data: Any) -> Any:
        inputs = raw_data[0].get("data") or raw_data[0].get("body") if isinstance(raw_data[0], dict) else raw_data[0]
        target = inputs.get("target", 0) if isinstance(inputs, dict) else 0
        return self.get_insights(data_preprocess, inputs, target)  # type: ignore[attr-defined]

    def _is_explain(self) -> bool:
        return bool(self.context is not None and self.context.get_request_header(0, "explain") == "True")

    def describe_handle(self) -> None:
        """Nothing more than the manifest."""
