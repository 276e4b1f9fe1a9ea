"""Exported programs quantised by `convert_pt2e`: what it writes, written here, for torchao is not installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from setsail.convert.conversion import Intent  # noqa: E402
from setsail.convert.torch import decomposed, pt2  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*deprecated.*:DeprecationWarning"),
]


class Quantised(torch.nn.Module):
    """A convolution of rounded images with weights of one scale a channel, rounded again."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("weight", torch.randint(-127, 128, (4, 3, 3, 3), dtype=torch.int8))
        self.register_buffer("scales", torch.rand(4) * 0.01 + 0.005)
        self.register_buffer("zeros", torch.zeros(4, dtype=torch.int64))
        self.bias = torch.nn.Parameter(torch.randn(4))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        ops = torch.ops.quantized_decomposed
        x = ops.quantize_per_tensor(image, 0.0213, 7, -128, 127, torch.int8)
        x = ops.dequantize_per_tensor(x, 0.0213, 7, -128, 127, torch.int8)
        weight = ops.dequantize_per_channel(self.weight, self.scales, self.zeros, 0, -127, 127, torch.int8)
        y = torch.relu(torch.nn.functional.conv2d(x, weight, self.bias))
        y = ops.quantize_per_tensor(y, 0.11, -128, -128, 127, torch.int8)
        return ops.dequantize_per_tensor(y, 0.11, -128, -128, 127, torch.int8).mean((2, 3))


def test_a_program_is_followed_through_the_definitions_of_its_operators(tmp_path: Path, agrees: Any) -> None:
    decomposed.register()
    images = torch.randn(20, 3, 6, 6, generator=torch.Generator().manual_seed(1))
    program = torch.export.export(Quantised().eval(), (images,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    assert decomposed.is_decomposed(program.module())
    torch.export.save(program, str(tmp_path / "quantised.pt2"))
    conversion = pt2.convert(tmp_path / "quantised.pt2", Intent(example=images.numpy()))
    np.testing.assert_array_equal(conversion.probes[0].outputs["output"], program.module()(images).detach().numpy())
    assert b"quantized_decomposed" not in conversion.programs[0].files["model.onnx"]
    agrees(conversion)
