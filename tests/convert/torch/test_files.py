"""PyTorch files: exported programs, TorchScript, weights with a factory, pickled modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
safetensors_torch = pytest.importorskip("safetensors.torch")

from setsail.convert.conversion import Intent  # noqa: E402
from setsail.convert.torch import factory, pickled, pt2, torchscript  # noqa: E402
from setsail.errors import SetsailError  # noqa: E402
from setsail.signature import TensorSpec  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),  # TorchScript is what is tested here
]
nn = torch.nn
ROWS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


@pytest.fixture
def module() -> Any:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)).eval()


def answers(module: Any, rows: Any = ROWS) -> Any:
    with torch.no_grad():
        return module(torch.from_numpy(rows)).numpy()


# -- .pt2 -------------------------------------------------------------------------------------------------------------


def saved_program(module: Any, example: Any, path: Path, dynamic: Any = None) -> Path:
    torch.export.save(torch.export.export(module, (example,), dynamic_shapes=dynamic), str(path))
    return path


def test_an_exported_program_knows_its_inputs(module: Any, tmp_path: Path, agrees: Any) -> None:
    path = saved_program(module, torch.from_numpy(ROWS), tmp_path / "m.pt2", ({0: torch.export.Dim.DYNAMIC},))
    conversion = pt2.convert(path, Intent())
    assert str(conversion.signature) == "(input:float32[N,3]) -> (output:float32[N,2])"
    assert conversion.probes[0].what == "example"  # stored at export
    np.testing.assert_allclose(conversion.probes[0].outputs["output"], answers(module), atol=1e-6)
    agrees(conversion)


@pytest.mark.slow
def test_a_batch_fixed_at_export_is_set_free(module: Any, tmp_path: Path, agrees: Any) -> None:
    conversion = pt2.convert(saved_program(module, torch.from_numpy(ROWS), tmp_path / "m.pt2"), Intent())
    assert str(conversion.signature) == "(input:float32[N,3]) -> (output:float32[N,2])"
    agrees(conversion)


class Accumulating(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.cumsum(0)


@pytest.mark.slow
def test_a_batch_that_cannot_be_free_stays_fixed(tmp_path: Path, agrees: Any) -> None:
    conversion = pt2.convert(saved_program(Accumulating(), torch.ones(4, 3), tmp_path / "m.pt2"), Intent())
    assert str(conversion.signature) == "(x:float32[4,3]) -> (output:float32[4,3])"
    assert not conversion.signature.batched
    agrees(conversion)


# -- TorchScript ------------------------------------------------------------------------------------------------------


class Looping(nn.Module):
    """Control flow that only a script keeps."""

    def forward(self, x: torch.Tensor, times: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        y = x
        for _ in range(x.shape[1]):
            y = y * 0.5 + x
        return y + times, y.argmax(1)


def test_a_script(tmp_path: Path, agrees: Any) -> None:
    torch.jit.script(Looping()).save(str(tmp_path / "m.pt"))
    intent = Intent(inputs=(TensorSpec.parse("x:float32[*,3]"), TensorSpec.parse("times:float32[*,1]")))
    conversion = torchscript.convert(tmp_path / "m.pt", intent)
    assert str(conversion.signature) == (
        "(x:float32[N,3], times:float32[N,1]) -> (output_0:float32[N,3], output_1:int64[N])"
    )
    agrees(conversion)


def test_a_trace(module: Any, tmp_path: Path, agrees: Any) -> None:
    torch.jit.trace(module, torch.from_numpy(ROWS)).save(str(tmp_path / "m.pt"))
    conversion = torchscript.convert(tmp_path / "m.pt", Intent(example=ROWS))
    assert str(conversion.signature) == "(input:float32[N,3]) -> (output:float32[N,2])"
    np.testing.assert_allclose(conversion.probes[0].outputs["output"], answers(module), atol=1e-6)
    assert (
        conversion.programs[0].files == torchscript.convert(tmp_path / "m.pt", Intent(example=ROWS)).programs[0].files
    )
    agrees(conversion)


# -- weights with a factory -------------------------------------------------------------------------------------------

FACTORY = """
import torch
def build():
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
def other():
    return torch.nn.Sequential(*build()[:2], torch.nn.Linear(4, 2, bias=False), torch.nn.PReLU())
def wider():
    return torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
def nothing():
    return 3
def broken():
    raise RuntimeError("no such thing")
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of the person's own, importable as `shop_models`."""
    (tmp_path / "shop_models.py").write_text(FACTORY)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "shop_models.py"


def test_safetensors_fill_what_the_factory_builds(module: Any, code: Path, tmp_path: Path, agrees: Any) -> None:
    safetensors_torch.save_file(module.state_dict(), str(tmp_path / "w.safetensors"))
    conversion = factory.convert(tmp_path / "w.safetensors", Intent(example=ROWS, factory="shop_models:build"))
    np.testing.assert_allclose(conversion.probes[0].outputs["output"], answers(module), atol=1e-6)
    agrees(conversion)


@pytest.mark.slow
def test_a_python_file_with_weights(module: Any, code: Path, tmp_path: Path) -> None:
    torch.save({"state_dict": module.state_dict(), "epoch": 3}, str(tmp_path / "w.pt"))
    intent = Intent(example=ROWS, factory="build", weights=str(tmp_path / "w.pt"))
    conversion = factory.convert(code, intent)
    np.testing.assert_allclose(conversion.probes[0].outputs["output"], answers(module), atol=1e-6)


def test_weights_alone_ask_for_their_factory(module: Any, tmp_path: Path) -> None:
    torch.save(module.state_dict(), str(tmp_path / "w.pt"))
    for convert in (factory.convert, pickled.convert):
        with pytest.raises(SetsailError) as caught:
            convert(tmp_path / "w.pt", Intent(example=ROWS))
        assert caught.value.code == "convert.example"
        assert "--factory" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shop_models:other", "missing 3.weight; unexpected 2.bias"),
        ("shop_models:wider", "other shapes"),
        ("shop_models:nothing", "no torch.nn.Module"),
        ("shop_models:broken", "no such thing"),
        ("shop_models:absent", "AttributeError"),
        ("no_such_package:build", "ModuleNotFoundError"),
        ("build", "pkg.mod:fn"),
    ],
)
def test_a_factory_that_does_not_fit_is_told_apart(
    module: Any, code: Path, tmp_path: Path, name: str, said: str
) -> None:
    torch.save(module.state_dict(), str(tmp_path / "w.pt"))
    with pytest.raises(SetsailError) as caught:
        factory.convert(tmp_path / "w.pt", Intent(example=ROWS, factory=name))
    assert caught.value.code == "source.load"
    assert said in str(caught.value)


def test_weights_are_never_unpickled(module: Any, code: Path, tmp_path: Path) -> None:
    torch.save(module, str(tmp_path / "whole.pt"))
    (tmp_path / "noise.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0not json at all.")
    for name in ("whole.pt", "noise.safetensors"):
        with pytest.raises(SetsailError) as caught:
            factory.convert(tmp_path / name, Intent(example=ROWS, factory="shop_models:build"))
        assert caught.value.code == "source.load"
    with pytest.raises(SetsailError) as caught:
        factory.convert(code, Intent(example=ROWS, factory="build", weights=str(tmp_path / "gone.pt")))
    assert caught.value.code == "source.missing"


# -- pickled modules, damaged files -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_whole_module(module: Any, tmp_path: Path, agrees: Any) -> None:
    torch.save(module, str(tmp_path / "m.pt"))
    conversion = pickled.convert(tmp_path / "m.pt", Intent(example=ROWS))
    np.testing.assert_allclose(conversion.probes[0].outputs["output"], answers(module), atol=1e-6)
    agrees(conversion)


@pytest.mark.parametrize("convert", [pt2.convert, torchscript.convert, pickled.convert])
def test_a_file_torch_cannot_load(convert: Any, tmp_path: Path) -> None:
    (tmp_path / "m.pt2").write_bytes(b"PK\x03\x04 not a zip")
    with pytest.raises(SetsailError) as caught:
        convert(tmp_path / "m.pt2", Intent(example=ROWS))
    assert caught.value.code == "source.load"


def test_a_pickle_of_something_else(tmp_path: Path) -> None:
    torch.save([1, 2], str(tmp_path / "m.pt"))
    with pytest.raises(SetsailError) as caught:
        pickled.convert(tmp_path / "m.pt", Intent(example=ROWS))
    assert caught.value.code == "source.load"
