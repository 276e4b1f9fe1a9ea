"""What a file is, by its bytes: real files of each framework, and look-alikes of each."""

import bz2
import gzip
import json
import lzma
import pickle
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from safetensors.numpy import save_file

from setsail.convert import FORMATS, recognise
from setsail.errors import SetsailError


def refused(path: Path, code: str = "source.unknown", **settings: Any) -> SetsailError:
    with pytest.raises(SetsailError) as caught:
        recognise(path, **settings)
    assert caught.value.code == code
    return caught.value


def zipped(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A small ONNX file under a name that says nothing."""
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["N"]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [x], [y])
    onnx.save(helper.make_model(graph), tmp_path / "m.bin")
    return tmp_path / "m.bin"


# -- formats that are converted --------------------------------------------------------------------------------------


def test_onnx_is_known_whatever_its_name(program: Path) -> None:
    found = recognise(program)
    assert (found.format, found.framework, found.trust) == ("onnx", "onnx", None)


def test_catboost_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"CBM1....")
    found = recognise(tmp_path / "model.bin")
    assert (found.format, found.framework, found.trust) == ("catboost", "catboost", None)


def test_a_cut_onnx_file_is_damaged_by_name_and_unknown_without(program: Path) -> None:
    data = program.read_bytes()
    for size in range(1, len(data)):
        program.write_bytes(data[:size])
        refused(program)
    named = program.with_suffix(".onnx")
    named.write_bytes(data[: len(data) // 2])
    refused(named, "source.damaged")


def test_xgboost_files(tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost")
    data = xgboost.DMatrix(np.arange(20.0).reshape(10, 2), np.arange(10) % 2)
    booster = xgboost.train({"max_depth": 1, "nthread": 1}, data, 1)
    for suffix, name in ((".ubj", "xgboost-ubj"), (".json", "xgboost-json")):
        booster.save_model(tmp_path / f"m{suffix}")
        plain = (tmp_path / f"m{suffix}").rename(tmp_path / "model.anything")
        assert (recognise(plain).format, recognise(plain).trust) == (name, None)


def test_lightgbm_text(tmp_path: Path) -> None:
    lightgbm = pytest.importorskip("lightgbm")
    settings = {"verbose": -1, "min_data_in_leaf": 1, "num_threads": 1, "min_data_in_bin": 1}
    data = lightgbm.Dataset(np.arange(20.0).reshape(10, 2), np.arange(10) % 2, params=settings)
    lightgbm.train(settings, data, 1).save_model(tmp_path / "m.model")
    assert recognise(tmp_path / "m.model").format == "lightgbm-text"


def test_safetensors_need_a_factory(tmp_path: Path) -> None:
    save_file({"w": np.zeros(3)}, tmp_path / "m.weights")
    found = recognise(tmp_path / "m.weights")
    assert (found.format, found.framework, found.trust) == ("safetensors", "torch", "factory")
    assert "--factory" in found.describe()


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_pytorch_files_are_told_apart(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(3, 2)
    torch.save(module.state_dict(), tmp_path / "a")
    torch.save(module, tmp_path / "b")
    torch.jit.trace(module, torch.zeros(1, 3)).save(tmp_path / "c")
    torch.save(module.state_dict(), tmp_path / "d", _use_new_zipfile_serialization=False)
    expected = {"a": ("state-dict", "factory"), "b": ("torch-module", "pickle"), "c": ("torchscript", "torchscript")}
    assert {n: (recognise(tmp_path / n).format, recognise(tmp_path / n).trust) for n in "abc"} == expected
    assert "1.6" in str(refused(tmp_path / "d"))


@pytest.mark.parametrize(
    ("members", "expected", "trust"),
    [
        (["m/data.pkl", "m/constants.pkl", "m/code/__torch__/a.py"], "torchscript", "torchscript"),
        (["m/archive_format", "m/models/model.json"], "pt2", "pickle"),
        (["manifest.json", "seal.json"], "setsail", None),
    ],
)
def test_zips_by_their_members(tmp_path: Path, members: list[str], expected: str, trust: str | None) -> None:
    found = recognise(zipped(tmp_path / "m.zip", dict.fromkeys(members, b"")))
    assert (found.format, found.trust) == (expected, trust)


def test_weights_with_anything_but_tensors_are_a_pickle(tmp_path: Path) -> None:
    class Sly:
        def __reduce__(self) -> Any:
            return print, ("ran",)

    found = recognise(zipped(tmp_path / "m.pt", {"m/data.pkl": pickle.dumps({"w": Sly()}, 2), "m/version": b"3"}))
    assert (found.format, found.trust) == ("torch-module", "pickle")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_pickles_of_every_protocol(tmp_path: Path, protocol: int) -> None:
    from sklearn.linear_model import LinearRegression

    (tmp_path / "m").write_bytes(pickle.dumps(LinearRegression(), protocol))
    found = recognise(tmp_path / "m")
    assert (found.format, found.framework, found.trust) == ("pickle", "sklearn", "pickle")
    assert found.describe() == "pickle of sklearn, m"


@pytest.mark.parametrize("compress", [zlib.compress, gzip.compress, bz2.compress, lzma.compress])
def test_compressed_pickles_are_joblib_files(tmp_path: Path, compress: Any) -> None:
    (tmp_path / "m").write_bytes(compress(pickle.dumps({"x": np.zeros(3)})))
    assert (recognise(tmp_path / "m").format, recognise(tmp_path / "m").trust) == ("joblib", "pickle")


def test_joblib_and_skops_files(tmp_path: Path) -> None:
    import joblib
    import skops.io
    from sklearn.linear_model import LinearRegression
    from sklearn.preprocessing import FunctionTransformer

    model = LinearRegression().fit(np.arange(6.0).reshape(3, 2), [0, 1, 2])
    joblib.dump(model, tmp_path / "m")
    skops.io.dump(model, tmp_path / "s")
    skops.io.dump(FunctionTransformer(np.log), tmp_path / "f")
    assert (recognise(tmp_path / "m").format, recognise(tmp_path / "m").framework) == ("joblib", "sklearn")
    assert (recognise(tmp_path / "s").format, recognise(tmp_path / "s").trust) == ("skops", None)
    assert (recognise(tmp_path / "f").format, recognise(tmp_path / "f").trust) == ("skops-types", "pickle")


def test_a_python_file_is_a_factory(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("def make(): ...\n")
    assert (recognise(tmp_path / "m.py").format, recognise(tmp_path / "m.py").trust) == ("factory", "factory")


# -- formats of later versions, and none at all ----------------------------------------------------------------------

LATER: list[tuple[str, bytes, str]] = [
    ("m.model", b"binf....", "XGBoost model in the old binary"),
    ("m.rds", gzip.compress(b"X\n\0\0\0\3", mtime=0), "R data"),
    ("m.rda", b"RDX3\n", "R data"),
    ("m.xml", b'<?xml version="1.0"?><PMML version="4.4">', "PMML"),
]


@pytest.mark.parametrize(("name", "data", "title"), LATER, ids=[r[0] for r in LATER])
def test_later_formats_are_named_with_a_way_out(tmp_path: Path, name: str, data: bytes, title: str) -> None:
    (tmp_path / name).write_bytes(data)
    fault = refused(tmp_path / name)
    assert title in fault.what
    assert "this version does not convert" in fault.what
    assert fault.todo in {f.later for f in FORMATS.values()}


def test_packagings_that_hold_no_model(tmp_path: Path) -> None:
    (tmp_path / "mlflow").mkdir()
    (tmp_path / "mlflow/MLmodel").write_text("flavors: {}")
    mar = zipped(tmp_path / "m.mar", {"MAR-INF/MANIFEST.json": b"{}"})
    for path, word in ((mar, "manifest"), (tmp_path / "mlflow", "MLmodel")):
        assert word in refused(path, "source.damaged").what


def test_tensorflow_formats(tmp_path: Path) -> None:
    """What is inside Keras archives and SavedModels is looked at in `tensorflow/`."""
    lite = tmp_path / "m"
    lite.write_bytes(b"\x1c\0\0\0TFL3....")
    keras = zipped(tmp_path / "m.keras", {"config.json": b"{}", "metadata.json": b"{}", "model.weights.h5": b""})
    (tmp_path / "m.h5").write_bytes(b"\x89HDF\r\n\x1a\n....")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/saved_model.pb").write_bytes(b"\x08\x01\x12\x02\x12\0")
    (tmp_path / "saved/fingerprint.pb").write_bytes(b"x")
    paths = (lite, keras, tmp_path / "m.h5", tmp_path / "saved", tmp_path / "saved/saved_model.pb")
    assert [recognise(p).format for p in paths] == ["tflite", "keras", "hdf5", "saved-model", "saved-model"]
    assert {(recognise(p).framework, recognise(p).trust) for p in paths} == {("tensorflow", None)}


def test_large_language_models_are_sent_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF\3\0\0\0")
    folder = tmp_path / "hf"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}))
    for path in (tmp_path / "m.gguf", folder):
        assert "vLLM" in str(refused(path, "source.llm"))
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
    save_file({"w": np.zeros(3)}, folder / "model.safetensors")
    assert recognise(folder).format == "transformers"


def test_a_transformers_directory_with_pickled_weights_needs_trust(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "architectures": ["BertModel"]}))
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"w": 1}))
    assert recognise(tmp_path).trust == "pickle"
    save_file({"w": np.zeros(3)}, tmp_path / "model.safetensors")  # which are read in their place
    assert recognise(tmp_path).trust is None


@pytest.mark.parametrize(
    "data",
    [b"hello", b"x^2 + 1", b"\0" * 100, b"{}", b'{"a": 1}', b"PK\x05\x06" + b"\0" * 18, b"(lambda: 1)", b"\x08\x07",
     struct.pack("<Q", 2) + b"[]", b"\x80\x09abc"],
)  # fmt: skip
def test_what_is_no_model_is_unknown_and_the_formats_are_listed(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m.dat").write_bytes(data)
    fault = refused(tmp_path / "m.dat")
    assert "XGBoost model" in str(fault.expected)


def test_rows_files_are_no_models(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    assert "--example" in str(refused(tmp_path / "x.npy"))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no zip", b"\x1f\x8b no gzip"])
def test_damaged_files(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "m").write_bytes(data)
    refused(tmp_path / "m", "source.damaged")


def test_damage_anywhere_gives_an_answer_or_an_error_never_a_crash(tmp_path: Path, program: Path) -> None:
    files = [
        program.read_bytes(), zlib.compress(pickle.dumps([np.zeros(3)])), pickle.dumps({"a": [1, "x"]}),
        zipped(tmp_path / "z", {"m/data.pkl": pickle.dumps({"w": 1}, 2), "m/ä": b"x"}).read_bytes(),
        zipped(tmp_path / "s", {"schema.json": b'{"__loader__": "DictNode", "content": []}'}).read_bytes(),
    ]  # fmt: skip
    rng = np.random.default_rng(0)
    for number in range(600):
        data = bytearray(files[number % len(files)])
        for _ in range(number % 4 + 1):
            data[rng.integers(len(data))] = rng.integers(256)
        (tmp_path / "m").write_bytes(data[: rng.integers(1, len(data))] if number % 3 == 0 else data)
        try:
            assert recognise(tmp_path / "m").format in FORMATS
        except SetsailError as fault:
            assert fault.code.startswith("source.")  # noqa: PT017


def test_a_missing_file(tmp_path: Path) -> None:
    refused(tmp_path / "no", "source.missing")


# -- --framework, directories ----------------------------------------------------------------------------------------


def test_framework_must_agree_with_the_file(program: Path, tmp_path: Path) -> None:
    assert recognise(program, "onnx").framework == "onnx"
    assert refused(program, framework="torch").expected == "onnx"
    refused(program, framework="fortran")
    (tmp_path / "p").write_bytes(pickle.dumps([1]))
    assert recognise(tmp_path / "p").framework is None
    assert recognise(tmp_path / "p", "sklearn").framework == "sklearn"


def test_a_directory_with_one_model_is_that_model(program: Path, tmp_path: Path) -> None:
    folder = tmp_path / "version"
    folder.mkdir()
    (folder / "notes.txt").write_text("hello")
    (folder / "m.onnx").write_bytes(program.read_bytes())
    found = recognise(folder)
    assert (found.path.name, found.format, len(found.files)) == ("m.onnx", "onnx", 2)
    (folder / "other.onnx").write_bytes(program.read_bytes())
    refused(folder)
    (folder / "other.onnx").rename(folder / "model.onnx")
    assert recognise(folder).path.name == "model.onnx"


def test_a_directory_of_directories_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "a" / "1").mkdir(parents=True)
    refused(tmp_path)
