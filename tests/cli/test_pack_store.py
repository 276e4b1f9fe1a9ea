"""`setsail pack STORE/ -o REPO/`: directories of models, other servers' among them, become a repository that serves."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from archived import archive
from scaled import artifact, program
from shell import run

from setsail import artifact as artifacts
from setsail.catalog import Policy
from setsail.messages import ModelRef
from setsail.server import migration
from setsail.server.run import Server
from setsail.server.settings import Settings
from setsail.serving import declared

Given = Callable[..., None]


def _put(path: str, data: bytes | str) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    return file


def _states(document: Any) -> dict[tuple[str, int], str]:
    return {(one["name"], one["version"]): one["state"] for one in document["models"]}


def _doubled(server: Server, model: str, version: int | None = None) -> list[list[float]]:
    """What a model makes of [1, 2], over the wire."""
    at = f"{server.url}/v2/models/{model}" + (f"/versions/{version}" if version else "")
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}
    answer = httpx.post(f"{at}/infer", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    (y,) = (o["data"] for o in answer.json()["outputs"] if o["name"] == "y")
    return list(y)


def test_models_side_by_side_move_and_a_bad_one_is_named_and_costs_no_other(given: Given) -> None:
    given("iris.ubj")
    _put("models/net.onnx", program(2.0))
    _put("models/credit/1/model.onnx", program(3.0))
    _put("models/credit/2/model.onnx", program(4.0))
    _put("models/bad.onnx", b"\x08 garbage")
    _put("models/README.md", "what these are")
    shutil.move("iris.ubj", "models/iris.ubj")
    artifact(Path("models/old.setsail"), 5.0, name="old", version=7).close()
    found = run("pack", "models", "-o", "repo/")
    assert found.code == 1
    assert "1 of 6, bad: " not in found.err  # it never began
    assert "2 of 6, credit: comparing onnx with the source on " in found.err
    assert "writing repo/credit/1.setsail" in found.err
    assert "bad 1  FAILED  bad.onnx: [source.damaged] bad.onnx is no complete ONNX model" in found.out
    assert "5 of 6 versions are in repo" in found.out
    assert "README.md: left alone" in found.err
    assert found.err.endswith("next:\n  setsail serve repo\n")
    assert sorted(map(str, Path("repo").rglob("*.setsail"))) == [
        f"repo/{name}.setsail" for name in ("credit/1", "credit/2", "iris/1", "net/1", "old/7")
    ]
    assert not list(Path("repo").glob(".*"))  # nothing unfinished
    with artifacts.read(Path("repo/credit/2.setsail")) as opened:
        assert (opened.name, opened.version, opened.parity.passed) == ("credit", 2, True)
    with Server(Settings(port=0, admin_port=-1)) as server:
        server.open(Path("repo"))
        server.start()
        assert _doubled(server, "net") == [2, 4]
        assert _doubled(server, "credit") == [4, 8]
        assert _doubled(server, "credit", 1) == [3, 6]
        assert _doubled(server, "old") == [5, 10]


def test_a_second_run_keeps_what_is_there_and_force_makes_it_anew() -> None:
    _put("models/net.onnx", program(2.0))
    _put("models/bad.onnx", b"\x08 garbage")
    assert run("pack", "models", "-o", "repo/", "--json").document["packed"] == 1
    before = Path("repo/net/1.setsail").stat().st_mtime_ns
    _put("models/bad.onnx", program(3.0))  # mended
    found = run("pack", "models", "-o", "repo/", "--json")
    assert (found.code, found.err) == (0, "")
    assert _states(found.document) == {("bad", 1): "packed", ("net", 1): "kept"}
    assert Path("repo/net/1.setsail").stat().st_mtime_ns == before
    _put("models/net.onnx", program(5.0))
    assert _states(run("pack", "models", "-o", "repo/", "--force", "--json").document)["net", 1] == "packed"
    assert Path("repo/net/1.setsail").stat().st_mtime_ns > before


def test_a_model_store_of_torchserve_moves_with_its_code_and_serves() -> None:
    archive(Path("model_store/counts.mar"), version="2.0")
    archive(Path("model_store/reader.mar"), handler="text_classifier", files={"index.txt": "x"})
    _put("model_store/cut.mar", b"PK\x03\x04 cut off")
    found = run("pack", "model_store/", "-o", "repo/", "--json")
    assert found.code == 1
    told = {one["name"]: one for one in found.document["models"]}
    assert (told["counts"]["state"], told["counts"]["path"]) == ("copied", "repo/counts/2/counts.mar")
    assert told["counts"]["trust"] == "mar"
    assert told["cut"]["error"]["code"] == "source.damaged"
    assert told["reader"]["error"]["code"] == "convert.unsupported"  # served by nobody, so moved by nobody
    assert found.document["next"] == ["setsail serve repo --as torchserve --trust mar"]
    with Server(Settings(port=0, admin_port=-1, trust="mar")) as server:
        server.open(Path("repo"))
        server.start()
        answer = httpx.post(f"{server.url}/predictions/counts", content=b"abc", timeout=30)
        assert answer.json()["length"] == 3


def test_what_config_properties_names_is_called_so_and_another_default_is_said() -> None:
    archive(Path("store/counts.mar"), version="1.0")
    archive(Path("store/counts2.mar"), version="2.0")
    snapshot = {"models": {"counter": {"1.0": {"defaultVersion": True, "marName": "counts.mar"},
                                       "2.0": {"defaultVersion": False, "marName": "counts2.mar"}}}}  # fmt: skip
    text = f"model_snapshot={json.dumps(snapshot)}\ndefault_workers_per_model=4\n"
    _put("store/config.properties", text)
    first = run("pack", "store", "-o", "repo/", "--json")
    assert first.code == 0, first.out
    assert _states(first.document) == {("counter", 1): "copied", ("counter", 2): "copied"}
    notes = " ".join(first.document["notes"])
    assert "counter: default version 1: in repository.toml" in notes
    assert "default_workers_per_model: processes serve all models; --workers says how many" in notes
    with Server(Settings(port=0, admin_port=-1, trust="mar")) as server:
        server.open(Path("repo"))
        assert [s.version for s in server.house.table.status(ModelRef("counter")) if s.default] == [1]
    elsewhere = _put("config.properties", f"model_store={Path('store').resolve()}\n{text}")
    Path("store/config.properties").unlink()
    again = run("pack", elsewhere, "-o", "again/", "--json")
    assert _states(again.document) == _states(first.document)
    nowhere = run("pack", _put("other.properties", "model_store=/nowhere\n"), "-o", "x/", "--json")
    assert (nowhere.code, nowhere.error["code"], nowhere.error["field"]) == (2, "setting.value", "model_store")


TRITON = """
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 2 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" } ]
instance_group [ { count: 2 } ]
"""


def test_a_repository_of_tritons_moves_with_its_labels_and_what_disagrees_is_refused() -> None:
    _put("triton/scaled/config.pbtxt", TRITON)
    _put("triton/scaled/labels.txt", "low\nhigh\n")
    _put("triton/both/config.pbtxt", TRITON.replace(' label_filename: "labels.txt"', "")
         + "version_policy { latest { num_versions: 2 } }")  # fmt: skip
    _put("triton/both/1/model.onnx", program(1.0))
    _put("triton/both/2/model.onnx", program(2.0))
    _put("triton/scaled/1/model.onnx", program(2.0))
    _put("triton/scaled/3/model.onnx", program(6.0))
    _put("triton/other/config.pbtxt", TRITON.replace("FP32", "FP64").replace(' label_filename: "labels.txt"', ""))
    _put("triton/other/1/model.onnx", program(2.0))
    found = run("pack", "triton", "-o", "repo/", "--json")
    assert found.code == 1
    assert _states(found.document) == {
        ("both", 1): "packed", ("both", 2): "packed", ("other", 1): "failed", ("scaled", 3): "packed",
    }  # fmt: skip
    assert declared.read(Path("repo")) == {
        "both": declared.Declared(policy=Policy(latest=2))
    }  # unless told, the latest
    assert next(one for one in found.document["models"] if one["name"] == "other")["error"]["code"] == (
        "repository.config"
    )
    assert not Path("repo/other/1.setsail").exists()
    assert found.document["next"] == ["setsail serve repo --as triton"]
    assert "scaled: instance_group: processes serve all models; --workers says how many" in found.document["notes"]
    with artifacts.read(Path("repo/scaled/3.setsail")) as opened:
        assert opened.signature.output("y").labels == ("low", "high")


def test_mlservers_folders_move_under_their_own_names(given: Given) -> None:
    given("iris.ubj", "iris.joblib")
    for name, runtime, file in (("flowers", "mlserver_xgboost.XGBoostModel", "iris.ubj"),
                                ("linear", "mlserver_sklearn.SKLearnModel", "iris.joblib")):  # fmt: skip
        settings = {"name": name, "implementation": runtime, "parameters": {"uri": f"./{file}", "version": "4"}}
        _put(f"mlserver/{name}/model-settings.json", json.dumps(settings))
        shutil.copy(file, f"mlserver/{name}/{file}")
    found = run("pack", "mlserver", "-o", "repo/", "--json")
    assert _states(found.document) == {("flowers", 4): "packed", ("linear", 4): "failed"}
    assert found.document["models"][1]["error"]["code"] == "source.trust"
    found = run("pack", "mlserver", "-o", "repo/", "--trust", "pickle", "--json")
    assert (found.code, _states(found.document)) == (0, {("flowers", 4): "kept", ("linear", 4): "packed"})
    with Server(Settings(port=0, admin_port=-1)) as server:
        server.open(Path("repo"))
        assert [status.version for status in server.house.table.status(ModelRef("linear"))] == [4]
        rows = np.array([[5.1, 3.5, 1.4, 0.2]])
        assert server.predict(rows, "flowers").tolist() == server.predict(rows, "linear").tolist() == [0]


def test_tensorflow_servings_base_paths_and_models_config_move() -> None:
    _put("base/1/model.onnx", program(2.0))
    _put("base/2/model.onnx", program(3.0))
    assert _states(run("pack", "base", "-o", "all/", "--json").document) == {
        ("base", 1): "packed",
        ("base", 2): "packed",
    }
    config = f'model_config_list {{ config {{ name: "credit" base_path: "{Path("base").resolve()}" '
    config += 'model_platform: "tensorflow" version_labels { key: "stable" value: 2 } } }'
    found = run("pack", _put("models.config", config), "-o", "repo/", "--json")
    assert (found.code, _states(found.document)) == (0, {("credit", 2): "packed"})  # the latest, as there
    assert "credit: label stable for version 2: in repository.toml" in found.document["notes"]
    assert found.document["next"] == ["setsail serve repo --as tfserving"]


MODELS = """
model_config_list {{ config {{
  name: "credit" base_path: "{}" model_version_policy {{ specific {{ versions: 1 versions: 3 }} }}
  version_labels {{ key: "stable" value: 1 }} version_labels {{ key: "canary" value: 3 }}
}} }}
"""


def test_after_the_move_a_client_of_tensorflow_servings_finds_versions_by_their_labels() -> None:
    for version in (1, 2, 3):
        _put(f"base/{version}/model.onnx", program(float(version)))
    found = run("pack", _put("models.config", MODELS.format(Path("base").resolve())), "-o", "repo/", "--json")
    assert _states(found.document) == {("credit", 1): "packed", ("credit", 3): "packed"}
    artifact(Path("repo/credit/2.setsail"), 2.0, name="credit", version=2).close()  # which the policy leaves out
    with Server(Settings(port=0, admin_port=-1, as_="tfserving")) as server:
        server.open(Path("repo"))
        server.start()

        def asked(at: str) -> Any:
            answer = httpx.post(f"{server.url}/v1/models/credit{at}:predict", json={"instances": [[1, 2]]}, timeout=30)
            told = answer.json().get("predictions")
            return answer.status_code if told is None else told[0]["y"]

        assert asked("/labels/stable") == asked("/versions/1") == [1, 2]
        assert asked("/labels/canary") == asked("") == [3, 6]
        assert asked("/versions/2") == 404


def test_what_only_mlflow_can_run_is_copied_where_that_is_trusted(given: Given) -> None:
    pytest.importorskip("yaml", reason="needs PyYAML: pip install setsail[mlflow]")
    from mlmodel import columns, directory

    given("iris.ubj")
    names = ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)")
    flavours = {"xgboost": {"data": "model.ubj"}, "python_function": {"loader_module": "mlflow.xgboost"}}
    directory(Path("models/churn"), flavours, inputs=columns(**dict.fromkeys(names, "double")),
              outputs=columns(y="long"),
              params=[{"name": "k", "type": "long", "default": 1, "shape": None}])  # fmt: skip
    shutil.move("iris.ubj", "models/churn/model.ubj")
    _put("models/net.onnx", program(2.0))
    (refused, _) = run("pack", "models", "-o", "repo/", "--json").document["models"]
    assert refused["error"]["code"] == "convert.unsupported"
    assert "or serve it as it is with --trust pyfunc" in refused["error"]["todo"]
    found = run("pack", "models", "-o", "repo/", "--trust", "pyfunc", "--json")
    copied = found.document["models"][0]
    assert (found.code, copied["state"], copied["trust"]) == (0, "copied", "pyfunc")
    assert copied["note"].startswith("it cannot be packed: what MLflow answers depends on parameters")
    assert Path("repo/churn/1/churn/MLmodel").is_file()


def test_what_a_repository_says_of_other_models_stays() -> None:
    _put("base/1/model.onnx", program(1.0))
    _put("base/3/model.onnx", program(3.0))
    _put("repo/repository.toml", "[models.other]\ndefault = 2\n[models.credit]\nlabels = { old = 9 }\n")
    run("pack", _put("models.config", MODELS.format(Path("base").resolve())), "-o", "repo/", "--json")
    assert declared.read(Path("repo")) == {
        "other": declared.Declared(2),
        "credit": declared.Declared(None, {"stable": 1, "canary": 3}, Policy(specific=(1, 3))),
    }


def test_a_label_of_a_version_that_could_not_be_moved_is_said_and_left_out() -> None:
    _put("base/1/model.onnx", program(1.0))
    _put("base/3/model.onnx", b"\x08 garbage")
    found = run("pack", _put("models.config", MODELS.format(Path("base").resolve())), "-o", "repo/", "--json")
    assert "credit: label canary is of version 3, which is not here" in found.document["notes"]
    assert declared.read(Path("repo"))["credit"].labels == {"stable": 1}


@pytest.mark.parametrize("target", ["repo", "repo/"])
def test_a_folder_with_one_model_in_it_becomes_a_repository_too(target: str) -> None:
    """As it does with a second model beside it; a file is what `-o NAME.setsail` asks for."""
    _put("models/net.onnx", program(2.0))
    found = run("pack", "models", "-o", target, "--json")
    assert (found.code, _states(found.document)) == (0, {("net", 1): "packed"})
    assert Path("repo/net/1.setsail").is_file()
    assert run("pack", "models", "-o", "net.setsail", "--json").code == 0
    assert Path("net.setsail").is_file()


def test_one_model_goes_into_a_repository_under_its_name_and_version() -> None:
    _put("net.onnx", program(2.0))
    found = run("pack", "net.onnx", "-o", "repo/", "--name", "credit", "--version", 3, "--json")
    assert (found.code, [one["path"] for one in found.document["models"]]) == (0, ["repo/credit/3.setsail"])


def test_two_files_that_would_be_one_version_are_both_refused() -> None:
    _put("models/net.onnx", program(2.0))
    artifact(Path("models/other.setsail"), 3.0, name="net").close()
    found = run("pack", "models", "-o", "repo/", "--json")
    assert {one["error"]["code"] for one in found.document["models"]} == {"repository.layout"}
    assert not list(Path("repo").rglob("*.setsail"))


@pytest.mark.parametrize(
    ("args", "code", "field"),
    [
        (("pack", "models"), "command.usage", "-o"),
        (("pack", "models", "-o", "one.setsail"), "command.usage", "-o"),
        (("pack", "models", "-o", "models/repo/"), "command.usage", "-o"),
        (("pack", "models", "-o", "repo/", "--name", "n"), "command.usage", "--name"),
        (("pack", "models", "-o", "repo/", "--labels", "a,b"), "command.usage", "--labels"),
        (("pack", "empty", "-o", "repo/"), "repository.empty", None),
        (("pack", "nowhere", "-o", "repo/"), "source.missing", "SRC"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_packed(
    args: tuple[str, ...], code: str, field: str | None
) -> None:
    _put("models/a.onnx", program(2.0))
    _put("models/b.onnx", program(2.0))
    Path("empty").mkdir()
    found = run(*args, "--json")
    assert (found.code > 0, found.error["code"], found.error.get("field")) == (True, code, field)
    assert not Path("repo").exists()


def test_a_bug_in_the_way_of_one_model_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    _put("models/a.onnx", program(2.0))
    _put("models/b.onnx", program(2.0))
    pack = migration.packing.pack

    def falls(source: Path, *given: Any) -> Any:
        if source.name == "a.onnx":
            raise ZeroDivisionError("a bug")
        return pack(source, *given)

    monkeypatch.setattr(migration.packing, "pack", falls)
    found = run("pack", "models", "-o", "repo/", "--json")
    assert _states(found.document) == {("a", 1): "failed", ("b", 1): "packed"}
    assert found.document["models"][0]["error"]["code"] == "command.fault"
