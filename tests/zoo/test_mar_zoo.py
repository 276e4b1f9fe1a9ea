"""The zoo's house of TorchServe archives: `image_classifier` with TorchScript, with ONNX, with and without names.

What is asked are picture files; the truth is TorchServe's arithmetic by hand on Pillow (shortest side 256, the middle
224, ImageNet's mean and deviation, softmax, the five greatest) around the module itself. An archive with a handler of
its own is no artifact and has no row in the table: it is served from the repository that a model store becomes.
"""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
Image = pytest.importorskip("PIL.Image")

import requests  # noqa: E402
from archived import archive  # noqa: E402
from keeper import Keeper, Specimen, keeping  # noqa: E402
from shell import run  # noqa: E402

from setsail.server.run import Server  # noqa: E402
from setsail.server.settings import Settings  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
]
NAMES = ("tabby", "beagle", "otter", "wren", "newt", "carp", "wasp")
MEAN, STD = (np.array(v, np.float32)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))


def picture(row: int) -> bytes:
    """A drawn picture, upright or lying, of a side that is scaled up or down."""
    y, x = np.mgrid[0 : 231 + 40 * row, 0 : 301 - 13 * row]
    plane = np.stack([np.sin((x + row * 7) / 9) + np.cos(y / (5 + row)), np.cos(x / 11), np.sin((x + y) / 13)], -1)
    buffer = io.BytesIO()
    Image.fromarray(((plane + 2) * 63).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = np.array([picture(row) for row in range(5)], dtype=object)


def network(classes: int) -> Any:
    torch.manual_seed(classes)
    layers = torch.nn.Conv2d(3, 8, 7, stride=4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    module = torch.nn.Sequential(*layers, torch.nn.Linear(8, classes)).eval()
    with torch.no_grad():
        module[-1].weight.mul_(9)  # scores that are apart
    return module


def prepared(file: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(file)).convert("RGB")
    width, height = image.size
    scale = 256 / min(width, height)
    size = (256, int(256 * height / width)) if width <= height else (int(256 * width / height), 256)
    assert min(size) == 256, scale
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32).transpose(2, 0, 1) / 255
    return np.asarray((pixels - MEAN) / STD, np.float32)


def truth(module: Any, names: tuple[str, ...]) -> Callable[[Any], dict[str, Any]]:
    def answers(files: Any) -> dict[str, Any]:
        with torch.no_grad():
            scores = module(torch.from_numpy(np.stack([prepared(file) for file in files]))).softmax(1).numpy()
        order = np.argsort(-scores, axis=1, kind="stable")[:, :5]
        return {"scores": np.take_along_axis(scores, order, 1), "classes": np.array(names, dtype=object)[order]}

    return answers


def scripted(module: Any) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(module, torch.zeros(1, 3, 224, 224)), buffer)
    return buffer.getvalue()


def exported(module: Any) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():  # the older exporter, as people's archives have it, says so
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(module, (torch.zeros(2, 3, 224, 224),), buffer, dynamo=False, input_names=["image"],
                          output_names=["logits"], dynamic_axes={"image": {0: "n"}, "logits": {0: "n"}})  # fmt: skip
    return buffer.getvalue()


def pets(file: str, write: Callable[[Any], bytes], *, named: bool = True) -> Callable[[Path], Specimen]:
    def make(folder: Path) -> Specimen:
        module = network(len(NAMES))
        names = NAMES if named else tuple(str(i) for i in range(len(NAMES)))
        files: dict[str, bytes | str] = {file: write(module)}
        if named:
            files["index_to_name.json"] = json.dumps({str(i): ["n0", name] for i, name in enumerate(NAMES)})
        path = archive(folder / "pets.mar", "image_classifier", files, serializedFile=file)
        return Specimen(path, PICTURES, truth(module, names), trust=("torchscript",) if file.endswith(".pt") else ())

    return make


ZOO: Mapping[str, Callable[[Path], Specimen]] = {
    "pets-torchscript": pets("net.pt", scripted), "pets-onnx": pets("net.onnx", exported),
    "pets-unnamed": pets("net.pt", scripted, named=False),
}  # fmt: skip


@pytest.fixture(scope="module")
def keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    with keeping(tmp_path_factory.mktemp("zoo")) as made:
        yield made


@pytest.mark.parametrize("name", ZOO)
def test_served_as_the_handler_answers(name: str, keeper: Keeper, tmp_path: Path) -> None:
    keeper.check(name, ZOO[name](tmp_path))


HANDLER = """
import json
import torch
from ts.torch_handler.base_handler import BaseHandler

class Sums(BaseHandler):
    def preprocess(self, data):
        return torch.tensor([row.get("body") or row.get("data") for row in data], dtype=torch.float32)

    def postprocess(self, data):
        return [{"sum": value} for value in data.sum(1).tolist()]
"""


def test_a_model_store_is_moved_and_its_handler_answers_as_before(tmp_path: Path) -> None:
    pytest.importorskip("yaml", reason="model-config.yaml is YAML")
    store, module = tmp_path / "store", torch.nn.Linear(3, 2).eval()
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(module, torch.zeros(1, 3)), buffer)
    archive(store / "sums.mar", "sums.py", {"sums.py": HANDLER, "net.pt": buffer.getvalue()}, serializedFile="net.pt")
    pets("net.onnx", exported)(store)
    found = run("pack", store, "-o", f"{tmp_path}/repo/", "--json")
    assert found.code == 0, found.out
    assert {one["name"]: one["state"] for one in found.document["models"]} == {"pets": "packed", "sums": "copied"}
    with Server(Settings(port=0, admin_port=-1, trust="mar")) as server:
        server.open(tmp_path / "repo")
        server.start()
        rows = [[1.0, 2.0, 3.0]]
        answer = requests.post(f"{server.url}/predictions/sums", json=rows[0], timeout=60)
        with torch.no_grad():
            assert answer.json()["sum"] == pytest.approx(float(module(torch.tensor(rows)).sum()), abs=1e-4)
        best = requests.post(f"{server.url}/predictions/pets", data=PICTURES[0], timeout=60).json()
        wanted = truth(network(len(NAMES)), NAMES)(PICTURES[:1])
        assert next(iter(best)) == wanted["classes"][0, 0]
        assert best == pytest.approx(
            dict(zip(wanted["classes"][0], wanted["scores"][0].tolist(), strict=True)), abs=1e-4
        )
