"""Archives of TorchServe: read by their manifest, in every form, and `image_classifier` as steps."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from archived import archive
from PIL import Image

import setsail
from setsail import convert, packing
from setsail.convert import mar
from setsail.convert.conversion import Intent
from setsail.errors import SetsailError
from setsail.packing import PackOptions

torch = pytest.importorskip("torch")
CLASSES = ("cat", "dog", "fox", "owl", "bee", "eel", "ant")


def refused(path: Path) -> SetsailError:
    with pytest.raises(SetsailError) as caught:
        mar.archive(path)
    assert caught.value.code == "source.damaged"
    return caught.value


@pytest.mark.parametrize("name", ["m.mar", "m.tar.gz", "m"])
def test_every_form_is_recognised_by_what_is_in_it(tmp_path: Path, name: str) -> None:
    path = archive(tmp_path / name, version="2.0", description="counts")
    found = convert.recognise(path)
    assert (found.format, found.trust, found.name, found.version) == ("mar-handler", "mar", "m", 2)
    about = mar.archive(path)
    assert (about.handler, about.built_in, sorted(about.members)) == (
        "handler.py", "", ["MAR-INF/MANIFEST.json", "handler.py", "numbers.json"],
    )  # fmt: skip
    folder = about.unpacked()
    assert json.loads((folder / "numbers.json").read_bytes()) == [1, 2]
    assert about.unpacked() == folder


@pytest.mark.parametrize(
    ("version", "ours"), [("1.0", 1), ("3", 3), ("2.7", 2), ("0.1", 1), ("", 1), ("x", 1), ("9" * 30, 1)]
)
def test_a_version_is_its_whole_part(tmp_path: Path, version: str, ours: int) -> None:
    assert mar.archive(archive(tmp_path / "m.mar", version=version)).version == ours


def test_what_the_manifest_names_must_be_there(tmp_path: Path) -> None:
    fault = refused(archive(tmp_path / "m.mar", serializedFile="gone.pt"))
    assert "'gone.pt'" in fault.what
    assert "no handler" in refused(archive(tmp_path / "n.mar", "")).what
    (tmp_path / "o.mar").write_bytes(b"PK\x03\x04 and no more")
    refused(tmp_path / "o.mar")


def test_trust_is_that_of_what_runs(tmp_path: Path) -> None:
    rows = {"net.pt": "torchscript", "net.onnx": None}
    for file, kind in rows.items():
        path = archive(tmp_path / f"{kind}.mar", "image_classifier", {file: b"x"}, serializedFile=file)
        assert (convert.recognise(path).format, convert.recognise(path).trust) == ("mar", kind)
    eager = archive(tmp_path / "e.mar", "image_classifier", {"w.pt": b"x", "net.py": ""}, serializedFile="w.pt",
                    modelFile="net.py")  # fmt: skip
    assert convert.recognise(eager).trust == "mar"
    own = archive(
        tmp_path / "o.mar", "image_classifier", {"w.pt": b"x", "image_classifier.py": ""}, serializedFile="w.pt"
    )
    assert convert.recognise(own).trust == "mar"  # a file of this name is its own handler


def test_a_handler_is_not_packed(tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        packing.pack(archive(tmp_path / "m.mar"), Intent(), PackOptions(trust=("mar",)))
    assert caught.value.code == "convert.unsupported"
    assert "setsail serve" in str(caught.value.todo)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 8, 7, stride=4), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    net = torch.nn.Sequential(*layers, torch.nn.Linear(8, len(CLASSES))).eval()
    file = tmp_path_factory.mktemp("net") / "net.pt"
    torch.jit.trace(net, torch.zeros(1, 3, 224, 224)).save(str(file))
    return file.read_bytes()


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_image_classifier_becomes_a_program_with_steps(tmp_path: Path, network: bytes) -> None:
    names = json.dumps({str(i): ["n0", name] for i, name in enumerate(CLASSES)})
    path = archive(tmp_path / "pets.mar", "image_classifier", {"net.pt": network, "index_to_name.json": names},
                   serializedFile="net.pt")  # fmt: skip
    with pytest.raises(SetsailError) as caught:
        packing.pack(path, Intent(), PackOptions(output=tmp_path / "pets.setsail"))
    assert (caught.value.code, caught.value.expected) == ("source.trust", "--trust torchscript")
    made = packing.pack(path, Intent(), PackOptions(output=tmp_path / "pets.setsail", trust=("torchscript",)))
    with made:
        assert made.parity.passed
        assert (made.name, made.kind) == ("pets", "top classes")
        assert [step.kind for step in made.processing.steps] == [
            "image.decode", "image.resize", "image.crop", "image.scale", "image.stack", "scores.softmax", "scores.top",
        ]  # fmt: skip
    buffer = io.BytesIO()
    Image.new("L", (259, 401), 77).save(buffer, "PNG")  # of one colour, so that the expected answer is short to say
    with setsail.load(tmp_path / "pets.setsail") as model:
        answer = model.predict({"image": np.array([buffer.getvalue()], dtype=object)})
    assert answer["scores"].shape == (1, 5)
    assert set(answer["classes"][0]) <= set(CLASSES)
    pixels = torch.full((1, 3, 224, 224), 77 / 255)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    module = torch.jit.load(io.BytesIO(network))
    expected = module((pixels - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)).softmax(1)[0]
    np.testing.assert_allclose(answer["scores"][0], expected.topk(5).values.detach().numpy(), rtol=1e-4)
