"""SageMaker's hooks and Azure ML's scripts: what a hook gets, what stands for a missing one, what an answer becomes."""

from __future__ import annotations

import json
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import requests
from scaled import program
from shell import run
from tiny_wheel import WORD, tiny_wheel

from setsail.apps.code import WrongAnswerError
from setsail.apps.scripts import azure, toolkit
from setsail.apps.scripts.entry import entry
from setsail.apps.scripts.sagemaker import Hooks
from setsail.convert import recognise
from setsail.errors import SetsailError
from setsail.letters import Field, Letter, Reply
from setsail.server.apps import app
from setsail.server.run import Server
from setsail.server.settings import Settings

JSON = {"content-type": "application/json"}


def ask(code: Any, body: bytes, headers: Mapping[str, str] = JSON) -> Reply:
    letter = Letter((Field("body", body),), headers)
    answer = code.run({"request": np.array([letter.sealed()], dtype=object)})
    return Reply.of(answer["output"][0], answer["headers"][0])


class Doubling:
    def predict(self, rows: Any) -> Any:
        return np.asarray(rows) * 2


def hooks(**given: Any) -> Hooks:
    return Hooks({"model_fn": lambda folder: Doubling()} | given, "inference.py", "/opt/ml/model")


# -- SageMaker ---------------------------------------------------------------------------------------------------------


def test_only_model_fn_is_needed() -> None:
    said = ask(hooks(), b"[[1, 2], [3, 4]]")
    assert json.loads(said.body) == [[2, 4], [6, 8]]
    assert (said.status, said.headers["content-type"]) == (200, "application/json")


def test_defaults_read_and_write_json_csv_and_npy(monkeypatch: pytest.MonkeyPatch) -> None:
    said = ask(hooks(), b"1,2\n3,4\n", {"content-type": "text/csv; charset=utf-8", "accept": "text/csv"})
    assert said.body == b"2.0,4.0\n6.0,8.0\n"
    array = toolkit.encode(np.array([[1.5]]), "application/x-npy")
    said = ask(hooks(), array, {"content-type": "application/x-npy", "accept": "application/x-npy"})
    np.testing.assert_array_equal(toolkit.decode(said.body, "application/x-npy"), [[3.0]])
    assert said.headers["content-type"] == "application/x-npy"
    monkeypatch.setenv("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv")
    assert ask(hooks(), b"[1]", JSON | {"accept": "*/*"}).body == b"2\n"


def test_hooks_get_what_the_toolkit_gives_them() -> None:
    seen: list[Any] = []

    def input_fn(body: Any, kind: str) -> Any:
        seen.append((body, kind))
        return "data"

    def predict_fn(data: Any, model: Any) -> Any:
        seen.append((data, type(model).__name__))
        return "prediction"

    def output_fn(prediction: Any, accept: str) -> Any:
        seen.append((prediction, accept))
        return b"\xff\x00", "image/png"

    code = hooks(input_fn=input_fn, predict_fn=predict_fn, output_fn=output_fn)
    said = ask(code, b"\x89PNG", {"content-type": "image/png", "accept": "image/png"})
    assert seen == [(b"\x89PNG", "image/png"), ("data", "Doubling"), ("prediction", "image/png")]
    assert (said.body, said.headers["content-type"]) == (b"\xff\x00", "image/png")
    ask(code, b"1", JSON)
    assert seen[3] == ("1", "application/json")  # JSON and CSV are texts


def test_transform_fn_stands_alone_and_context_is_given_to_whom_takes_it() -> None:
    def model_fn(folder: str, context: Any) -> Any:
        return context.system_properties["model_dir"]

    def transform_fn(model: Any, body: Any, kind: str, accept: str) -> Any:
        return f"{model} {body} {kind} {accept}"

    said = ask(hooks(model_fn=model_fn, transform_fn=transform_fn), b"x")
    assert said.body == b"/opt/ml/model x application/json application/json"
    with pytest.raises(SetsailError, match="transform_fn and output_fn") as told:
        hooks(transform_fn=transform_fn, output_fn=lambda p, a: p)
    assert told.value.code == "app.hints"


def test_a_type_that_nobody_decodes_is_415_and_other_faults_are_the_scripts() -> None:
    assert ask(hooks(), b"x", {"content-type": "text/weird"}).status == 415
    assert ask(hooks(), b"[1]", JSON | {"accept": "text/weird"}).status == 415

    def refusing(body: Any, kind: str) -> Any:
        raise toolkit.GenericInferenceToolkitError(422, "no rows")

    said = ask(hooks(input_fn=refusing), b"[]")
    assert (said.status, said.body) == (422, b"no rows")
    with pytest.raises(json.JSONDecodeError):
        ask(hooks(), b"[1,")
    with pytest.raises(WrongAnswerError):
        ask(hooks(output_fn=lambda p, a: 3), b"[1]")


def test_scripts_import_the_toolkit_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in sys.modules if n.partition(".")[0] == "sagemaker_inference"]:
        monkeypatch.delitem(sys.modules, name)
    toolkit.offer()
    from sagemaker_inference import content_types, decoder, encoder, errors  # type: ignore[import-not-found]

    assert decoder.decode(b"[1]", content_types.JSON).tolist() == [1]
    assert encoder.encode([1], content_types.JSON) == "[1]"
    with pytest.raises(errors.UnsupportedFormatError):
        decoder.decode(b"", "image/png")
    for name in [n for n in sys.modules if n.partition(".")[0] == "sagemaker_inference"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("names", [{}, {"handler": print}, {"predict_fn": lambda data, model: data}])
def test_a_script_without_a_model_is_refused(names: Any) -> None:
    with pytest.raises(SetsailError) as told:
        Hooks(names, "inference.py", "/")
    assert told.value.code == "app.hints"


def test_no_pickle_is_read_out_of_an_npy() -> None:
    from io import BytesIO

    file = BytesIO()
    np.save(file, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        toolkit.decode(file.getvalue(), "application/x-npy")


# -- Azure ML ----------------------------------------------------------------------------------------------------------


def test_run_gets_the_body_as_a_text_and_its_result_is_json() -> None:
    begun = []
    code = azure.Script({"init": lambda: begun.append(1), "run": lambda raw: {"got": raw}}, "score.py")
    assert begun == [1]
    said = ask(code, '{"data": ["ü"]}'.encode())
    assert json.loads(said.body) == {"got": '{"data": ["ü"]}'}
    assert (said.status, said.headers["content-type"]) == (200, "application/json")


def test_a_response_is_passed_on() -> None:
    response = SimpleNamespace(get_data=lambda: b"no", mimetype="text/plain", status_code=418)
    said = ask(azure.Script({"init": lambda: None, "run": lambda raw: response}, "score.py"), b"{}")
    assert (said.status, said.body, said.headers["content-type"]) == (418, b"no", "text/plain")


@pytest.mark.parametrize("names", [{"init": print}, {"run": print}, {"init": 3, "run": print}])
def test_a_script_without_init_and_run_is_refused(names: Any) -> None:
    with pytest.raises(SetsailError, match="has no function") as told:
        azure.Script(names, "score.py")
    assert told.value.code == "app.hints"


# -- where scripts are -------------------------------------------------------------------------------------------------

SCRIPT = """
import os

def model_fn(model_dir):
    return float(open(os.path.join(model_dir, 'factor')).read())

def predict_fn(data, model):
    return data * model
"""


def sagemaker_folder(folder: Path) -> Path:
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "inference.py").write_text(SCRIPT)
    (folder / "factor").write_text("3")
    return folder


def archived(folder: Path, target: Path) -> Path:
    with tarfile.open(target, "w:gz") as archive:
        archive.add(folder, ".")
    return target


def test_folders_archives_and_files_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))
    folder = sagemaker_folder(tmp_path / "my model")
    for path, name in ((folder, "my-model"), (archived(folder, tmp_path / "model.tar.gz"), "model"),
                       (folder / "code" / "inference.py", "my-model")):  # fmt: skip
        assert (recognise(path).format, recognise(path).trust) == ("sagemaker-script", "app")
        made = entry(path)
        assert (made.kind, made.name, made.max_batch) == ("sagemaker", name, 1)
        assert (Path(made.options["folder"]) / "factor").read_text() == "3"
    (tmp_path / "azure").mkdir()
    (tmp_path / "azure" / "score.py").write_text("def init(): ...\ndef run(raw_data): ...\n")
    assert recognise(tmp_path / "azure").format == recognise(tmp_path / "azure" / "score.py").format == "azure-script"
    assert entry(tmp_path / "azure").kind == "azure"


def test_other_python_files_are_none(tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text("def score(rows): ...\n")
    with pytest.raises(SetsailError):
        recognise(tmp_path)
    (tmp_path / "net.py").write_text("def make(): ...\n")
    assert recognise(tmp_path / "net.py").format == "factory"
    with pytest.raises(SetsailError) as told:
        entry(tmp_path / "net.py")
    assert told.value.code == "app.load"


def test_served_the_body_passes_unchanged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))
    folder = sagemaker_folder(tmp_path / "triple")
    with Server(Settings(port=0, admin_port=-1)) as server, pytest.raises(SetsailError, match="--trust app") as told:
        server.open(folder)
    assert told.value.code == "source.trust"
    with Server(Settings(port=0, admin_port=-1, trust="app", app_sandbox="off")) as server:
        server.open(folder)
        server.start()
        url = f"{server.url}/invocations"
        for body in ({"instances": [[1, 2]]}, [[1, 2]]):  # MLflow's words are no affair of the server here
            said = requests.post(url, json=body, timeout=30)
            assert said.status_code == (200 if isinstance(body, list) else 500), said.text
        assert said.json() == [[3.0, 6.0]]
        said = requests.post(url, data="1,2", headers={"content-type": "text/csv", "accept": "text/csv"}, timeout=30)
        assert (said.text, said.headers["content-type"]) == ("3.0\n6.0\n", "text/csv")
        said = requests.post(url, data="{", headers={"content-type": "image/png"}, timeout=30)
        assert said.status_code == 415
        said = requests.post(url, data="[1,", headers=JSON, timeout=30)
        assert said.status_code == 500
        assert "app.fault" in said.text
        assert "Traceback" not in said.text
        told_v2 = requests.post(f"{server.url}/v2/models/triple/infer", timeout=30, json={
            "inputs": [{"name": "request", "shape": [1], "datatype": "BYTES", "data": ["[1]"]}]})  # fmt: skip
        assert told_v2.ok, told_v2.text
        assert json.loads(told_v2.json()["outputs"][0]["data"][0]) == [3.0]


# -- packages of their own ---------------------------------------------------------------------------------------------


def test_requirements_lie_beside_the_script_and_azures_also_in_its_folder(tmp_path: Path) -> None:
    folder = sagemaker_folder(tmp_path / "m")
    (folder / "requirements.txt").write_text("not the script's")
    assert entry(folder).requirements == b""
    (folder / "code" / "requirements.txt").write_text("tiny==1")
    assert entry(folder).requirements == b"tiny==1"
    azures = tmp_path / "a"
    (azures / "code").mkdir(parents=True)
    (azures / "code" / "score.py").write_text("def init(): ...\ndef run(raw_data): ...\n")
    (azures / "requirements.txt").write_text("tiny==2")
    assert entry(azures).requirements == b"tiny==2"
    (azures / "requirements.txt").write_bytes(b"#" * (1 << 20) + b"!")
    with pytest.raises(SetsailError, match="larger than 1 MiB") as told:
        entry(azures)
    assert told.value.code == "source.damaged"


@pytest.mark.slow  # pip, and a virtual environment
def test_the_environment_of_a_script_is_made_ahead_and_never_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SETSAIL_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "models" / "spoken" / "1"
    (folder / "code").mkdir(parents=True)
    (folder / "code" / "inference.py").write_text(
        "import tiny\ndef model_fn(folder):\n    return tiny.WORD\ndef predict_fn(data, model):\n    return [model]\n"
    )
    (folder / "code" / "requirements.txt").write_text(tiny_wheel(tmp_path))
    settings = Settings(port=0, admin_port=-1, trust="app", app_sandbox="off")
    with Server(settings) as server, pytest.raises(SetsailError, match="setsail prepare") as told:
        server.open(folder)
    assert told.value.code == "dependency.missing"
    made = run("prepare", tmp_path / "models", "--json").document["prepared"]
    assert [(row["source"], row["made"]) for row in made] == [(str(folder), True)]
    assert run("prepare", folder, "--json").document["prepared"][0]["made"] is False
    with Server(settings) as server:
        server.open(folder, name="spoken")
        server.start()
        assert requests.post(f"{server.url}/invocations", json=[1], timeout=30).json() == [WORD]


def test_an_interpreter_that_is_named_has_what_is_needed(tmp_path: Path) -> None:
    folder = sagemaker_folder(tmp_path / "m")
    (folder / "code" / "requirements.txt").write_text("tiny==1")
    found = app(folder, None, Settings(trust="app", app_python=sys.executable))
    assert found is not None
    assert (found.entry.python, found.terms.python) == ("", sys.executable)


def test_what_asks_for_nothing_is_said_and_what_is_no_code_is_refused(tmp_path: Path) -> None:
    found = run("prepare", sagemaker_folder(tmp_path / "m"))
    assert (found.code, found.out.endswith(": it has no requirements\n")) == (0, True)
    assert found.err.endswith(f"setsail serve {tmp_path / 'm'} --trust app\n")
    (tmp_path / "net.onnx").write_bytes(program(2.0))
    assert run("prepare", tmp_path / "net.onnx", "--json").error["code"] == "source.unknown"
