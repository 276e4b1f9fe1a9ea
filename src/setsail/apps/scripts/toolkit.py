"""What `sagemaker_inference` offers to scripts: content types, decoders, encoders, errors.

Scripts import it by that name; where the package is not installed they get this. Its functions are also the defaults of
hooks that a script leaves out. Unlike the original no pickle is read out of an .npy.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from io import BytesIO, StringIO
from types import ModuleType
from typing import Any, Final

import numpy as np

__all__ = ["BaseInferenceToolkitError", "GenericInferenceToolkitError", "UnsupportedFormatError", "decode", "encode",
           "offer"]  # fmt: skip

JSON, CSV, NPY = "application/json", "text/csv", "application/x-npy"
TEXTS: Final = (JSON, CSV)
_NAME: Final = "sagemaker_inference"


class BaseInferenceToolkitError(Exception):
    """What a script raises to choose the status of its answer."""

    def __init__(self, status_code: int, message: str, phrase: str = "") -> None:
        super().__init__(message)
        self.status_code, self.message, self.phrase = status_code, message, phrase


class GenericInferenceToolkitError(BaseInferenceToolkitError):
    def __init__(self, status_code: int, message: str | None = None, phrase: str | None = None) -> None:
        super().__init__(status_code, message or "Invalid Request", phrase or message or "Invalid Request")


class UnsupportedFormatError(BaseInferenceToolkitError):
    def __init__(self, content_type: str, **_: Any) -> None:
        text = f"Content type {content_type} is not supported by this framework."
        super().__init__(415, text, text)


def kind_of(content_type: str) -> str:
    """A media type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def _text(data: str | bytes) -> str:
    return data if isinstance(data, str) else bytes(data).decode()


def _from_npy(data: Any) -> Any:
    return np.load(BytesIO(data), allow_pickle=False)


_DECODERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    JSON: lambda data: np.array(json.loads(_text(data))),
    CSV: lambda data: np.genfromtxt(StringIO(_text(data)), delimiter=","),
    NPY: _from_npy,
}


def decode(obj: str | bytes, content_type: str) -> Any:
    """A body as a numpy array. Raises UnsupportedFormatError."""
    decoder = _DECODERS.get(kind_of(content_type))
    if decoder is None:
        raise UnsupportedFormatError(content_type)
    return decoder(obj)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON")


def _to_csv(value: Any) -> str:
    stream = StringIO()
    np.savetxt(stream, value, delimiter=",", fmt="%s")
    return stream.getvalue()


def _to_npy(value: Any) -> bytes:
    stream = BytesIO()
    np.save(stream, np.asarray(value), allow_pickle=False)
    return stream.getvalue()


_ENCODERS: Final[Mapping[str, Callable[[Any], str | bytes]]] = {
    JSON: lambda value: json.dumps(value, default=_plain), CSV: _to_csv, NPY: _to_npy,
}  # fmt: skip


def encode(array_like: Any, content_type: str) -> str | bytes:
    """An answer in a media type. Raises UnsupportedFormatError."""
    encoder = _ENCODERS.get(kind_of(content_type))
    if encoder is None:
        raise UnsupportedFormatError(content_type)
    return encoder(array_like)


def offer() -> None:
    """Let scripts import `sagemaker_inference`, where nobody else has it."""
    if _NAME in sys.modules or find_spec(_NAME) is not None:
        return
    parts: Mapping[str, Mapping[str, Any]] = {
        "content_types": {"JSON": JSON, "CSV": CSV, "NPY": NPY, "NPZ": "application/x-npz", "ANY": "*/*",
                          "OCTET_STREAM": "application/octet-stream", "UTF8_TYPES": [JSON, CSV]},
        "decoder": {"decode": decode}, "encoder": {"encode": encode},
        "errors": {cls.__name__: cls for cls in (
            BaseInferenceToolkitError, GenericInferenceToolkitError, UnsupportedFormatError)},
    }  # fmt: skip
    package = ModuleType(_NAME)
    package.__path__ = []
    sys.modules[_NAME] = package
    for name, content in parts.items():
        module = ModuleType(f"{_NAME}.{name}")
        vars(module).update(content)
        setattr(package, name, module)
        sys.modules[module.__name__] = module
