"""Statically quantised modules: PyTorch's own whole numbers, to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from torch.ao.quantization import quantize_fx  # noqa: E402

from setsail.convert.conversion import Intent  # noqa: E402
from setsail.convert.torch import factory, torchscript  # noqa: E402
from setsail.convert.torch.live import convert  # noqa: E402
from setsail.convert.torch.static import has_static, opened  # noqa: E402
from setsail.convert.torch.unscripted import unscripted  # noqa: E402
from setsail.errors import SetsailError  # noqa: E402

ENGINES = [engine for engine in ("fbgemm", "qnnpack") if engine in torch.backends.quantized.supported_engines]
pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*deprecated.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Converting a tensor to a Python"),  # of scales, while a module is traced
    pytest.mark.filterwarnings("ignore:Please use quant_min:UserWarning"),  # of PyTorch's own observers
    pytest.mark.filterwarnings("ignore:All inputs of this cat operator:UserWarning"),
    pytest.mark.filterwarnings("ignore:must run observer before:UserWarning"),
    pytest.mark.skipif(not ENGINES, reason="this build of PyTorch has no quantised kernels"),
]
nn, F, aq = torch.nn, torch.nn.functional, torch.ao.quantization
UNIFORM = torch.rand(64, 3, 12, 12, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = request.param
    yield request.param
    torch.backends.quantized.engine = before


class Picture(nn.Module):
    """Every layer of a small image classifier between one quantising and one dequantising."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = aq.QuantStub(), aq.DeQuantStub()
        self.first, self.norm, self.relu = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()
        self.depth, self.point = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.Conv2d(16, 11, 1)
        self.skip = nn.Conv2d(3, 11, 1, bias=False)
        self.add, self.cat = nn.quantized.FloatFunctional(), nn.quantized.FloatFunctional()
        self.out = nn.Linear(22, 5)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.enter(image)
        y = self.point(F.relu(self.depth(self.relu(self.norm(self.first(x)))), inplace=True))
        z = self.add.add_relu(y, self.skip(x))
        both = F.max_pool2d(self.cat.cat([z, y], dim=1), 2)
        pooled = F.adaptive_avg_pool2d(F.avg_pool2d(both, 2), (1, 1))
        return self.leave(self.out(torch.flatten(pooled, 1)))


def quantised(module: Any, engine: str, rows: Any = UNIFORM) -> Any:
    module.qconfig = aq.get_default_qconfig(engine)
    return aq.convert(observed(module, rows))


def observed(module: Any, rows: Any) -> Any:
    prepared = aq.prepare(module)
    prepared(rows)
    return prepared


def picture(engine: str) -> Any:
    torch.manual_seed(0)
    module = Picture().eval()
    nn.init.normal_(module.norm.running_mean)
    return quantised(aq.fuse_modules(module, [["first", "norm", "relu"]]), engine)


def same(module: Any, rows: Any) -> list[str]:
    """Hold a module in the open against itself, on rows that the rehearsal did not see; what it told."""
    expected = module(rows)
    with torch.no_grad(), opened(module) as plain:
        told = plain.rehearse(rows[:3])
        assert torch.equal(plain(rows), expected)
    assert torch.equal(module(rows), expected)  # left as it was
    return told


def test_the_numbers_are_pytorchs_to_the_bit(engine: str) -> None:
    assert same(picture(engine), UNIFORM) == []


class Around(nn.Module):
    """One function of quantised tensors."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.enter, self.leave, self.function = aq.QuantStub(), aq.DeQuantStub(), function

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.leave(self.function(self.enter(x)))


FUNCTIONS = {
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "clamp": lambda x: torch.clamp(x, -0.3, 0.4),
    "relu6": F.relu6, "leaky relu": lambda x: F.leaky_relu(x, 0.1), "hardtanh in place": lambda x: F.hardtanh(
        x, -0.2, 0.2, inplace=True),
    "plus a number": lambda x: torch.ops.quantized.add_scalar(x, 0.7) if x.is_quantized else x,
    "product": lambda x: torch.ops.quantized.mul(x, x, 0.01, 3) if x.is_quantized else x,
    "cat": lambda x: torch.cat([x, torch.sigmoid(x)], 1),
    "permuted": lambda x: x.permute(0, 2, 3, 1)[:, 1:].reshape(x.shape[0], -1), "chunks": lambda x: x.chunk(3, 1)[1],
    "uneven pool": lambda x: F.avg_pool2d(x, (3, 2), padding=1), "pool of all": lambda x: F.adaptive_avg_pool2d(x, 1),
    "pool to 4": lambda x: F.adaptive_avg_pool2d(x, 4), "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "reflected": lambda x: F.pad(x, (1, 1, 2, 0), mode="reflect"), "mean": lambda x: x.mean([2, 3]),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_quantised_tensors(name: str, engine: str) -> None:
    assert same(quantised(Around(FUNCTIONS[name]), engine), UNIFORM) == []


@pytest.mark.parametrize("last", [torch.contiguous_format, torch.channels_last], ids=["channels first", "last"])
@pytest.mark.parametrize("channels", [3, 16, 35])
def test_pooling_rounds_ties_as_its_layout_does(channels: int, last: Any, engine: str) -> None:
    """fbgemm adds an odd zero point before it rounds, or after, by channel and layout of memory."""
    rows = torch.rand(9, channels, 8, 8, generator=torch.Generator().manual_seed(2)) - 0.3
    module = quantised(Around(lambda x: F.avg_pool2d(x.contiguous(memory_format=last), 2)), engine, rows)
    module.enter.zero_point.fill_(61)
    assert same(module, rows) == []


LAYERS = {
    "conv1d": (lambda: nn.Conv1d(3, 7, 3, stride=2), (3, 20)), "conv3d": (lambda: nn.Conv3d(2, 5, 2), (2, 5, 6, 7)),
    "reflected": (lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), (3, 8, 8)),
    "groups": (lambda: nn.Conv2d(8, 12, 3, groups=4, dilation=2), (8, 9, 9)),
    "linear of three axes": (lambda: nn.Linear(6, 5), (4, 6)), "norm": (lambda: nn.BatchNorm2d(5), (5, 4, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str, engine: str) -> None:
    make, shape = LAYERS[name]
    torch.manual_seed(3)
    rows = torch.rand(16, *shape) * 2 - 1
    module = quantised(Around(make()).eval(), engine, rows)
    if (name, engine) == ("conv3d", "qnnpack"):  # which gives back no weights of these
        with pytest.raises(SetsailError, match="Conv3d"):
            same(module, rows)
        return
    assert same(module, rows) == []


def test_transposed_convolutions_are_held_against_themselves_first(engine: str) -> None:
    """fbgemm's answers for some of them are not those of its weights; such a layer is refused, by its name."""
    torch.manual_seed(4)
    layer = nn.ConvTranspose2d(32, 8, 2, stride=2)
    layer.qconfig = aq.QConfig(aq.default_observer, aq.default_weight_observer)
    rows = torch.rand(4, 32, 5, 5)
    module = Around(layer).eval()
    module.qconfig = layer.qconfig
    module = aq.convert(observed(module, rows))
    if engine == "qnnpack":
        assert same(module, rows) == []
        return
    with pytest.raises(SetsailError, match="ConvTranspose2d answers other numbers than its weights give") as caught:
        same(module, rows)
    assert caught.value.code == "convert.unsupported"


def test_sums_that_pass_what_floats_hold_are_taken_in_parts(engine: str) -> None:
    torch.manual_seed(5)
    wide, deep = nn.Linear(1500, 3), nn.Conv2d(700, 2, 1)
    for layer, shape in ((wide, (1500,)), (deep, (700, 2, 2))):
        nn.init.uniform_(layer.weight, 0.9, 1.0)  # all of one sign, as large as they can be
        rows = torch.rand(6, *shape)
        module = quantised(Around(layer).eval(), engine, rows)
        with torch.no_grad(), opened(module) as plain:
            plain.rehearse(rows[:2])
            assert max(v for (_, what), v in plain.arithmetic.kept.items() if what == "parts") > 1
        assert same(module, rows) == []


def test_graphs_by_fx_with_functional_layers(engine: str) -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.weight = nn.Conv2d(3, 8, 3), nn.Parameter(torch.rand(4, 8) - 0.5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = F.hardswish(torch.relu(self.conv(x)) * 2.0).mean([2, 3])
            return torch.softmax(F.linear(h, self.weight), 1)

    torch.manual_seed(6)
    prepared = quantize_fx.prepare_fx(Functional().eval(), aq.get_default_qconfig_mapping(engine), (UNIFORM,))
    prepared(UNIFORM)
    module = quantize_fx.convert_fx(prepared)
    assert has_static(module)
    told = same(module, UNIFORM[:8])
    assert all("mean" in line for line in told)


def test_what_is_no_number_is_the_highest_as_it_is_in_pytorch(engine: str) -> None:
    rows = UNIFORM.clone()
    rows[0, 0, 0, :3] = torch.tensor([float("nan"), float("inf"), -float("inf")])
    module = quantised(Around(nn.Identity()), engine)
    assert same(module, rows) == []


@pytest.mark.parametrize(
    ("module", "name"),
    [(Around(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear")), "interpolate, bilinear"),
     (Around(lambda x: x.sort(-1)[0]), "sort"), (Around(nn.InstanceNorm2d(3)), "InstanceNorm2d")],
    ids=["a mode", "a function", "a layer"],
)  # fmt: skip
def test_what_has_no_arithmetic_is_refused_by_name(module: Any, name: str) -> None:
    torch.backends.quantized.engine = ENGINES[0]
    with pytest.raises(SetsailError) as caught, opened(quantised(module.eval(), ENGINES[0])) as plain:
        plain.rehearse(UNIFORM[:2])
    assert (caught.value.code, caught.value.field) == ("convert.unsupported", name)


@pytest.mark.parametrize("engine", [ENGINES[0], *(pytest.param(e, marks=pytest.mark.slow) for e in ENGINES[1:])],
                         indirect=True)  # fmt: skip
def test_a_program_answers_the_same_with_all_optimisations_on(engine: str, agrees: Any) -> None:
    """Runtimes fuse what stands beside a convolution into its weights, where it would be exact no longer."""
    import onnxruntime

    module = picture(engine)
    conversion = convert(module, Intent(example=UNIFORM.numpy()))
    assert conversion.notes == ()
    assert conversion.programs[0].variant.max_batch is None
    session = onnxruntime.InferenceSession(conversion.programs[0].files["model.onnx"])
    (got,) = session.run(None, {"image": UNIFORM.numpy()})
    np.testing.assert_array_equal(got, module(UNIFORM).numpy())
    agrees(conversion)


@pytest.mark.parametrize("form", ["traced", "scripted"])
def test_torchscript_is_made_straight_first(form: str, engine: str) -> None:
    module = picture(engine)
    script = torch.jit.trace(module, UNIFORM[:3]) if form == "traced" else torch.jit.script(module)
    graph = unscripted(script)
    assert graph is not None
    assert has_static(graph)
    assert same(graph, UNIFORM) == []


def test_torchscript_of_floats_and_what_branches_is_left_to_the_translator() -> None:
    class Branching(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            q = torch.quantize_per_tensor(x, 0.1, 3, torch.quint8)
            return torch.ops.quantized.add(q, q, 0.2, 0).dequantize() if x.sum() > 0 else x

    assert unscripted(torch.jit.script(nn.Linear(2, 3))) is None
    assert unscripted(torch.jit.script(Branching())) is None


@pytest.mark.slow
def test_a_torchscript_file_is_packed_to_the_bit(engine: str, tmp_path: Path, agrees: Any) -> None:
    module = picture(engine)
    torch.jit.script(module).save(str(tmp_path / "quantised.pt"))
    conversion = torchscript.convert(tmp_path / "quantised.pt", Intent(example=UNIFORM.numpy()))
    assert conversion.notes == ()
    assert (conversion.estimator, conversion.programs[0].variant.max_batch) == ("Picture", None)
    np.testing.assert_array_equal(conversion.probes[0].outputs["output"], module(UNIFORM).numpy())
    agrees(conversion)


FACTORY = """
import torch
from torch import nn
from torch.ao import quantization as aq

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.leave = aq.QuantStub(), aq.DeQuantStub()
        self.net = nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x):
        return self.leave(self.net(self.enter(x)))

def quantised():
    net = Net().eval()
    net.qconfig = aq.get_default_qconfig("{engine}")
    return aq.convert(aq.prepare(net))
"""


@pytest.mark.slow
def test_a_checkpoint_as_it_is_usually_written_is_packed_with_its_factory(
    engine: str, tmp_path: Path, agrees: Any
) -> None:
    rows = torch.randn(200, 20, generator=torch.Generator().manual_seed(7))
    (tmp_path / f"net_{engine}.py").write_text(FACTORY.replace("{engine}", engine))
    names: dict[str, Any] = {}
    exec(FACTORY.replace("{engine}", engine), names)
    torch.manual_seed(8)
    net = names["Net"]().eval()
    net.qconfig = aq.get_default_qconfig(engine)
    module = aq.convert(observed(net, rows))
    torch.save(module.state_dict(), tmp_path / "quantized_model.pth")
    intent = Intent(factory=f"{tmp_path / f'net_{engine}.py'}:quantised", example=rows[:50].numpy())
    conversion = factory.convert(tmp_path / "quantized_model.pth", intent)
    np.testing.assert_array_equal(conversion.probes[0].outputs["output"], module(rows[:50]).numpy())
    agrees(conversion)
