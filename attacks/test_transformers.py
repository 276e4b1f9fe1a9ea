"""transformers directories that bring code, or lead elsewhere: refused by name, and nothing of theirs runs.

A canary file would be written by whatever ran. README.md has the table.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from setsail.convert import recognise
from setsail.convert.conversion import Intent
from setsail.convert.transformers import directory
from setsail.errors import SetsailError
from setsail.packing import PackOptions, pack

CONFIG: dict[str, Any] = {"model_type": "bert", "architectures": ["BertForSequenceClassification"]}
CODE = "from pathlib import Path\nPath({!r}).write_text('it ran')\n"


class Bomb:
    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return (Path.touch, (self.canary,))


def written(folder: Path, canary: Path, **files: Any) -> Path:
    for name, body in {"config": CONFIG, **files}.items():
        (folder / f"{name}.json").write_text(body if isinstance(body, str) else json.dumps(body))
    for name in ("modeling_mine.py", "tokenization_mine.py", "__init__.py"):
        (folder / name).write_text(CODE.format(str(canary)))
    (folder / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    return folder


MINE = {"auto_map": {"AutoModel": "modeling_mine.Mine", "AutoTokenizer": ["tokenization_mine.Mine", None]}}
ATTACKS: dict[str, tuple[str, dict[str, Any]]] = {
    "code for the model": ("convert.unsupported", {"config": CONFIG | MINE}),
    "code for the tokenizer": ("convert.unsupported", {"tokenizer_config": MINE}),
    "code for the processor": ("convert.unsupported", {"preprocessor_config": MINE}),
    "code of another repository": (
        "convert.unsupported", {"config": CONFIG | {"auto_map": {"AutoModel": "someone/else--modeling_mine.Mine"}}},
    ),
    "an adapter of weights elsewhere": ("convert.unsupported", {"adapter_config": {"base_model_name_or_path": "a/b"}}),
    "weights another library unpacks": ("convert.unsupported", {"config": CONFIG | {"quantization_config": {}} | {
        "quantization_config": {"quant_method": "mine"}}}),
    "a class that is no model": ("convert.unsupported", {"config": CONFIG | {"architectures": ["pipelineModel"]}}),
    "deep nesting": ("source.damaged", {"tokenizer_config": "[" * 100_000}),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTACKS)
def test_hostile_directory(name: str, tmp_path: Path) -> None:
    if name == "a class that is no model":
        pytest.importorskip("transformers")
    code, files = ATTACKS[name]
    folder, canary = tmp_path / "model", tmp_path / "canary"
    folder.mkdir()
    with pytest.raises(SetsailError) as caught:
        directory.convert(written(folder, canary, **files), Intent())
    assert caught.value.code == code
    assert not canary.exists()


def test_pickled_weights_are_not_touched_without_trust_and_are_read_as_data_with_it(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder, canary = tmp_path / "model", tmp_path / "canary"
    folder.mkdir()
    written(folder, canary)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(canary)))
    assert recognise(folder).trust == "pickle"
    with pytest.raises(SetsailError) as caught:
        pack(folder, Intent(), PackOptions(output=tmp_path / "out.setsail"))
    assert caught.value.code == "source.trust"
    with pytest.raises(SetsailError) as caught:
        directory.convert_pickled(folder, Intent())
    assert caught.value.code == "source.load"
    assert not canary.exists()
