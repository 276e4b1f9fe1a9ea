"""Quantised checkpoints: the layers' own arithmetic, written out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from setsail.convert import recognise  # noqa: E402
from setsail.convert.conversion import Intent  # noqa: E402
from setsail.convert.torch import factory, pickled  # noqa: E402
from setsail.convert.torch.live import convert  # noqa: E402
from setsail.convert.torch.quantised import in_the_open, is_dynamic  # noqa: E402
from setsail.errors import SetsailError  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*quantized.*deprecated:DeprecationWarning"),
    pytest.mark.skipif("fbgemm" not in torch.backends.quantized.supported_engines, reason="this CPU has no fbgemm"),
]
nn = torch.nn
ROWS = np.random.default_rng(0).normal(size=(12, 20)).astype(np.float32) * 3
FACTORY = """
import torch

def plain():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(20, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3)).eval()

def quantised():
    return torch.ao.quantization.quantize_dynamic(plain(), {torch.nn.Linear}, dtype=torch.qint8)
"""


def plain() -> Any:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 3)).eval()


def quantised(dtype: Any = torch.qint8) -> Any:
    return torch.ao.quantization.quantize_dynamic(plain(), {nn.Linear}, dtype=dtype)


@pytest.mark.parametrize(
    "x",
    [torch.randn(40, 20), torch.randn(3, 4, 20) * 100, torch.zeros(2, 20), torch.rand(5, 20), -torch.rand(5, 20),
     torch.rand(3, 20) * 1e-4, torch.randn(3, 20) * 1e-6, torch.full((1, 20), 3e-39)],
    ids=["both signs", "three axes", "nothing", "positive", "negative", "small", "tiny", "subnormal"],
)  # fmt: skip
def test_the_arithmetic_is_fbgemms_to_the_bit(x: Any) -> None:
    module = quantised()
    expected = module[0](x)
    with in_the_open(module) as written:
        assert not is_dynamic(written)
        assert torch.equal(written[0](x), expected)
    assert is_dynamic(module)


def test_halves_as_weights() -> None:
    module, x = quantised(torch.float16), torch.randn(5, 20)
    expected = module(x)
    with in_the_open(module) as written:
        torch.testing.assert_close(written(x), expected, atol=1e-6, rtol=1e-6)


def test_a_checkpoint_as_it_is_usually_written_is_packed_with_its_factory(tmp_path: Path, agrees: Any) -> None:
    module = quantised()
    torch.save(module.state_dict(), tmp_path / "quantized_model.pth")
    (tmp_path / "net.py").write_text(FACTORY)
    source = recognise(tmp_path / "quantized_model.pth")
    assert (source.format, source.trust) == ("state-dict", "factory")
    conversion = factory.convert(source.path, Intent(factory=f"{tmp_path / 'net.py'}:quantised", example=ROWS))
    assert conversion.programs[0].variant.max_batch == 1
    assert "one at a time" in conversion.notes[0]
    with torch.no_grad():
        expected = np.concatenate([module(torch.from_numpy(row[None])).numpy() for row in ROWS])
    np.testing.assert_array_equal(conversion.probes[0].outputs["output"], expected)
    assert b"MatMulInteger" in conversion.programs[0].files["model.onnx"]
    agrees(conversion)


def test_a_factory_of_the_plain_module_is_told_apart(tmp_path: Path) -> None:
    torch.save(quantised().state_dict(), tmp_path / "q.pth")
    (tmp_path / "net_plain.py").write_text(FACTORY)
    with pytest.raises(SetsailError) as caught:
        factory.convert(tmp_path / "q.pth", Intent(factory=f"{tmp_path / 'net_plain.py'}:plain", example=ROWS))
    assert caught.value.code == "source.load"
    assert "quantize_dynamic" in caught.value.todo


@pytest.mark.slow
def test_a_whole_quantised_module(tmp_path: Path, agrees: Any) -> None:
    torch.save(quantised(), tmp_path / "quantized_model.pth")
    assert recognise(tmp_path / "quantized_model.pth").trust == "pickle"
    agrees(pickled.convert(tmp_path / "quantized_model.pth", Intent(example=ROWS)))


def test_what_is_quantised_otherwise_is_refused_by_name() -> None:
    module = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.LSTM(4, 4)), {nn.LSTM}, dtype=torch.qint8)
    with pytest.raises(SetsailError) as caught:
        convert(module[0], Intent(example=np.zeros((2, 3, 4), dtype=np.float32)))
    assert caught.value.code == "convert.unsupported"
    assert "LSTM" in str(caught.value)
