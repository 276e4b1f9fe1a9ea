"""What a directory may ask for and never gets: found before transformers sees it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from setsail.convert.transformers.directory import read
from setsail.errors import SetsailError

CONFIG: dict[str, Any] = {"model_type": "bert", "architectures": ["BertForSequenceClassification"]}


def directory(path: Path, **files: Any) -> Path:
    for name, body in {"config": CONFIG, **files}.items():
        (path / f"{name}.json").write_text(body if isinstance(body, str) else json.dumps(body))
    (path / "model.safetensors").write_bytes(b"")
    return path


def refused(path: Path) -> SetsailError:
    with pytest.raises(SetsailError) as caught:
        read(path)
    return caught.value


def test_a_plain_directory(tmp_path: Path) -> None:
    found = read(directory(tmp_path))
    assert (found.architecture, found.pickled, found.modules) == ("BertForSequenceClassification", False, ())


@pytest.mark.parametrize("name", ["config", "tokenizer_config", "preprocessor_config"])
def test_code_of_its_own_is_refused_by_name(name: str, tmp_path: Path) -> None:
    body = CONFIG | {"auto_map": {"AutoModel": "modeling_mine.Mine"}}
    fault = refused(directory(tmp_path, **{name: body}))
    assert fault.code == "convert.unsupported"
    assert (fault.field, "modeling_mine" in str(fault.value)) == ("auto_map", True)


@pytest.mark.parametrize(
    ("more", "field"),
    [({"quantization_config": {"quant_method": "gptq"}}, "quantization_config"),
     ({"use_timm_backbone": True}, "model_type"), ({"model_type": "timm_wrapper"}, "model_type"),
     ({"architectures": []}, "architectures"), ({"architectures": ["A", "B"]}, "architectures")],
)  # fmt: skip
def test_what_another_library_would_read(more: dict[str, Any], field: str, tmp_path: Path) -> None:
    fault = refused(directory(tmp_path, config=CONFIG | more))
    assert (fault.code, fault.field) == ("convert.unsupported", field)


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    assert "adapter" in refused(directory(tmp_path, adapter_config={"base_model_name_or_path": "elsewhere/model"})).what


@pytest.mark.parametrize("text", ["{", "[]", "[" * 200_000])
def test_settings_that_are_none(text: str, tmp_path: Path) -> None:
    assert refused(directory(tmp_path, tokenizer_config=text)).code == "source.damaged"


def test_safetensors_before_pickles_and_nothing_at_all(tmp_path: Path) -> None:
    directory(tmp_path)
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    assert not read(tmp_path).pickled
    (tmp_path / "model.safetensors").unlink()
    assert read(tmp_path).pickled
    (tmp_path / "pytorch_model.bin").unlink()
    assert refused(tmp_path).code == "source.missing"
