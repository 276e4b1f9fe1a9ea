"""The zoo's PyTorch house: modules and what they are saved as, served over HTTP and held against themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")

from bundled import DIGITS  # noqa: E402
from keeper import Keeper, Specimen, keeping  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*quantized.*deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Please use quant_min:UserWarning"),  # of PyTorch's own observers
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),  # TorchScript is what is packed here
]
nn = torch.nn
IMAGES = DIGITS.rows.reshape(-1, 1, 8, 8).astype(np.float32) / 16
TOKENS = np.random.default_rng(0).integers(0, 50, (12, 7))


class Digits(nn.Module):
    """A convolution and a classifier of 8x8 images."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.classify = nn.Linear(54, 10)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        h = torch.nn.functional.max_pool2d(torch.relu(self.norm(self.convolution(image))), 2)
        return self.classify(h.flatten(1))


class Sentence(nn.Module):
    """Tokens through an embedding and a recurrent layer; the length of a sentence is free."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 8)
        self.recurrent = nn.GRU(8, 8, batch_first=True)
        self.out = nn.Linear(8, 2)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        states, _ = self.recurrent(self.embedding(tokens))
        return self.out(states[:, -1]).softmax(-1)


class Pair(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(3, 4), nn.Linear(2, 4)

    def forward(self, wide: torch.Tensor, narrow: torch.Tensor) -> dict[str, torch.Tensor]:
        joined = self.left(wide) * self.right(narrow)
        return {"joined": joined, "total": joined.sum(1)}


def trained(module: Any, rows: np.ndarray, y: np.ndarray) -> Any:
    """A few steps, so that weights and running statistics are nobody's defaults."""
    optimizer = torch.optim.Adam(module.parameters(), 0.02)
    for _ in range(15):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(torch.from_numpy(rows)), torch.from_numpy(y)).backward()
        optimizer.step()
    return module.eval()


def outputs(module: Any, rows: Any, name: str = "output") -> dict[str, Any]:
    rows = rows if isinstance(rows, tuple) else (rows,)
    with torch.no_grad():
        answer = module(*map(torch.from_numpy, rows))
    return {k: v.numpy() for k, v in (answer if isinstance(answer, dict) else {name: answer}).items()}


def digits() -> Any:
    torch.manual_seed(0)
    return trained(Digits(), DIGITS.X.reshape(-1, 1, 8, 8).astype(np.float32) / 16, DIGITS.y)


def cnn(folder: Path) -> Specimen:
    module = digits()
    return Specimen(module, IMAGES, partial(outputs, module), example=torch.from_numpy(IMAGES[:3]))


def sentences(folder: Path) -> Specimen:
    torch.manual_seed(1)
    module = trained(Sentence(), TOKENS, TOKENS[:, 0] % 2)
    return Specimen(module, TOKENS, partial(outputs, module), example=torch.from_numpy(TOKENS[:4]))


def pair(folder: Path) -> Specimen:
    torch.manual_seed(2)
    module, rng = Pair().eval(), np.random.default_rng(1)
    rows = (rng.normal(size=(20, 3)).astype(np.float32), rng.normal(size=(20, 2)).astype(np.float32))
    return Specimen(module, rows, partial(outputs, module), example=rows)


def exported(folder: Path) -> Specimen:
    module = digits()
    batch = {0: torch.export.Dim.DYNAMIC}
    program = torch.export.export(module, (torch.from_numpy(IMAGES[:3]),), dynamic_shapes=(batch,))
    torch.export.save(program, str(folder / "digits.pt2"))
    return Specimen(folder / "digits.pt2", IMAGES, partial(outputs, module), trust=("pickle",))


def scripted(folder: Path, traced: bool) -> Specimen:
    module = digits()
    example = torch.from_numpy(IMAGES[:3])
    script = torch.jit.trace(module, example) if traced else torch.jit.script(module)
    script.save(str(folder / "digits.pt"))
    truth = partial(outputs, module)
    return Specimen(folder / "digits.pt", IMAGES, truth, example=IMAGES[:3], trust=("torchscript",))


FACTORY = """
import torch
def make():
    return torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))
"""


def weights(folder: Path) -> Specimen:
    from safetensors.torch import save_file

    torch.manual_seed(3)
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2)).eval()
    (folder / "network.py").write_text(FACTORY)
    save_file(module.state_dict(), folder / "network.safetensors")
    rows = np.random.default_rng(2).normal(size=(20, 4)).astype(np.float32)
    return Specimen(folder / "network.safetensors", rows, partial(outputs, module), example=rows[:4],
                    trust=("factory",), options={"factory": f"{folder / 'network.py'}:make"})  # fmt: skip


QUANTISED = """
import torch
from torch import nn
from torch.ao import quantization as aq

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.leave = aq.QuantStub(), aq.DeQuantStub()
        self.convolution, self.norm, self.relu = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()
        self.again, self.add = nn.Conv2d(8, 8, 3, padding=1), nn.quantized.FloatFunctional()
        self.classify = nn.Linear(8 * 16, 10)

    def forward(self, image):
        x = self.relu(self.norm(self.convolution(self.enter(image))))
        x = nn.functional.max_pool2d(self.add.add_relu(x, self.again(x)), 2)
        return self.leave(self.classify(torch.flatten(x, 1)))

def prepared(net):
    net.eval().qconfig = aq.get_default_qconfig(torch.backends.quantized.engine)
    return aq.prepare(aq.fuse_modules(net, [["convolution", "norm", "relu"]]))

def quantised():
    return aq.convert(prepared(Net()))
"""


def static(folder: Path) -> Specimen:
    """Weights of a net that was trained, calibrated and quantised, as a tutorial writes them."""
    (folder / "quantised_net.py").write_text(QUANTISED)
    names: dict[str, Any] = {}
    exec(QUANTISED, names)
    torch.manual_seed(5)
    net = trained(names["Net"](), DIGITS.X.reshape(-1, 1, 8, 8).astype(np.float32) / 16, DIGITS.y)
    ready = names["prepared"](net)
    ready(torch.from_numpy(IMAGES))
    module = torch.ao.quantization.convert(ready)
    torch.save(module.state_dict(), folder / "quantized_model.pth")
    truth = partial(outputs, module)
    return Specimen(folder / "quantized_model.pth", IMAGES, truth, example=IMAGES, trust=("factory",),
                    options={"factory": f"{folder / 'quantised_net.py'}:quantised"})  # fmt: skip


ZOO: Mapping[str, Callable[[Path], Specimen]] = {"cnn": cnn, "sentences": sentences, "pair": pair}
SLOW: Mapping[str, Callable[[Path], Specimen]] = {
    "pt2": exported,
    "torchscript-scripted": partial(scripted, traced=False),
    "torchscript-traced": partial(scripted, traced=True),
    "safetensors-factory": weights,
    "quantised-statically": static,
}


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    with keeping(tmp_path_factory.mktemp("zoo")) as made:
        yield made


@pytest.mark.parametrize("name", ZOO)
def test_served_as_trained(name: str, keeper: Keeper, tmp_path: Path) -> None:
    keeper.check(name, ZOO[name](tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_files_are_served_as_trained(name: str, keeper: Keeper, tmp_path: Path) -> None:
    keeper.check(name, SLOW[name](tmp_path))
