"""The archive for TorchServe: its handler, called as TorchServe calls it, with every form of body."""

from __future__ import annotations

import ast
import io
import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scaled import artifact
from sklearn.linear_model import Ridge

from setsail import convert, packing
from setsail.artifact import Artifact
from setsail.errors import SetsailError
from setsail.packing import export, mar, mar_handler
from setsail.packing.mar_handler import SetsailHandler

Pack = Callable[..., Artifact]


def initialised(path: Path, folder: Path) -> SetsailHandler:
    with zipfile.ZipFile(path) as opened:
        opened.extractall(folder)
    handler = SetsailHandler()
    handler.initialize(SimpleNamespace(system_properties={"model_dir": str(folder)}))
    return handler


@pytest.fixture
def scaled(tmp_path: Path) -> SetsailHandler:
    """y = 2 x over [N, 2]."""
    with artifact(tmp_path / "m.setsail", 2.0) as opened:
        (path,) = export(opened, "mar", tmp_path / "out").files
    return initialised(path, tmp_path / "unpacked")


@pytest.mark.parametrize(
    "body",
    [[[1, 2], [3, 4]], {"x": [[1, 2], [3, 4]]}, {"instances": [[1, 2], [3, 4]]}, {"data": {"x": [[1, 2], [3, 4]]}},
     [{"x": [1, 2]}, {"x": [3, 4]}], b"[[1, 2], [3, 4]]", bytearray(b'{"inputs": [[1.0, 2], [3, 4]]}')],
)  # fmt: skip
def test_many_rows_in_every_form(scaled: SetsailHandler, body: Any) -> None:
    assert scaled.handle([{"body": body}, {"data": body}], None) == [[[2.0, 4.0], [6.0, 8.0]]] * 2


@pytest.mark.parametrize("body", [[1, 2], {"x": [1, 2]}, {"data": [1, 2]}, [[1, 2]], b'{"x": [1, 2]}'])
def test_one_row_in_every_form(scaled: SetsailHandler, body: Any) -> None:
    assert scaled.handle([{"body": body}], None) == [[[2.0, 4.0]]]


@pytest.mark.parametrize("body", [[[1, 2, 3]], {"z": [1, 2]}, [[1, "a"]], {}, 5, b"{"])
def test_what_is_no_rows_is_a_fault(scaled: SetsailHandler, body: Any) -> None:
    with pytest.raises((ValueError, KeyError)):
        scaled.handle([{"body": body}], None)


def test_columns_by_their_names_and_text(packed: Pack, mixed: Any, tmp_path: Path) -> None:
    model, frame = mixed
    (path,) = export(packed(model, frame), "mar", tmp_path / "out").files
    handler = initialised(path, tmp_path / "unpacked")
    rows = frame.head(2).to_dict("records")
    whole = handler.answer(json.loads(json.dumps(rows)))
    np.testing.assert_allclose(whole, model.predict(frame.head(2)), rtol=1e-5)
    np.testing.assert_allclose(handler.answer(frame.head(2).to_dict("list")), whole)
    assert handler.answer(rows[0]) == [whole[0]]


def test_an_archive_is_the_same_each_time_and_runs_without_setsail(packed: Pack, ridge: Ridge, diabetes: Any) -> None:
    made = packed(ridge, diabetes[0])
    once, again = (mar.archive(made, made.variants[0]) for _ in range(2))
    assert once == again
    tree = ast.parse(Path(mar_handler.__file__).read_text(encoding="utf-8"))
    named = {a.name.partition(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    named |= {str(n.module).partition(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert named - {"numpy"} <= sys.stdlib_module_names
    with zipfile.ZipFile(io.BytesIO(once)) as opened:
        manifest = json.loads(opened.read("MAR-INF/MANIFEST.json"))
        assert set(opened.namelist()) >= {manifest["model"][key] for key in ("serializedFile", "handler")}
    assert "createdOn" not in manifest


def test_a_model_with_steps_is_refused_by_their_names(packed: Pack, ridge: Ridge, diabetes: Any) -> None:
    made = packed(ridge, diabetes[0])
    stepped = SimpleNamespace(
        name="m", processing=SimpleNamespace(steps=[SimpleNamespace(kind="image.decode")], __bool__=lambda: True)
    )
    with pytest.raises(SetsailError, match=r"image\.decode") as caught:
        mar.archive(stepped, made.variants[0])  # type: ignore[arg-type]
    assert caught.value.code == "convert.unsupported"


def test_it_is_an_archive_that_is_recognised(packed: Pack, ridge: Ridge, diabetes: Any, tmp_path: Path) -> None:
    (path,) = packing.export(packed(ridge, diabetes[0]), "mar", tmp_path / "out").files
    assert convert.recognise(path).format.startswith("mar")
