"""Untrusted files: refused without being run, and harmless when they are run in the child."""

import os
import pickle
import socket
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from setsail import convert, isolation
from setsail.convert import child, parcel
from setsail.convert.conversion import Conversion, Intent
from setsail.errors import SetsailError

SANDBOX = sys.platform == "linux"


class Evil:
    """Pickles to a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def converted(source: convert.Source, intent: Intent, folder: Path) -> Conversion:
    """What packing does once the person said yes."""
    folder.mkdir(mode=0o700)
    arguments = child.arguments(source, intent, folder)
    isolation.call("setsail.convert.child:convert", arguments, folder, sandbox=SANDBOX)
    return parcel.load(folder)


@pytest.fixture(scope="module")
def model() -> Any:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 3))
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(X, X[:, 0] > 0)


@pytest.mark.parametrize("compress", [0, 3])
def test_a_joblib_file_is_converted_in_the_child(tmp_path: Path, model: Any, compress: int) -> None:
    joblib.dump(model, tmp_path / "m.joblib", compress=compress)
    source = convert.recognise(tmp_path / "m.joblib")
    example = np.array([[1.0, 0, 0], [-1.0, 0, 0]])
    made = converted(source, Intent(example=example), tmp_path / "work")
    assert made.framework == "scikit-learn"
    rows = next(p for p in made.probes if p.what == "example")
    np.testing.assert_array_equal(rows.inputs["input"], example)
    np.testing.assert_allclose(rows.outputs["probabilities"], model.predict_proba(example))


def test_a_skops_file_of_plain_estimators_needs_no_trust(tmp_path: Path, model: Any) -> None:
    skops = pytest.importorskip("skops.io")
    skops.dump(model, tmp_path / "m.skops")
    source = convert.recognise(tmp_path / "m.skops")
    assert source.trust is None
    assert convert.convert(source, Intent(example=np.zeros((2, 3)))).framework == "scikit-learn"


def test_a_skops_file_with_functions_needs_it(tmp_path: Path) -> None:
    skops = pytest.importorskip("skops.io")
    model = make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()).fit([[0.0], [1.0]], [0, 1])
    skops.dump(model, tmp_path / "m.skops")
    source = convert.recognise(tmp_path / "m.skops")
    assert source.trust == "pickle"
    assert source.findings is not None
    with pytest.raises(SetsailError) as caught:
        convert.convert(source, Intent())
    assert caught.value.code == "source.trust"


def test_a_pickle_that_would_run_a_command_is_refused_without_running_it(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Evil(os.system, f"touch {tmp_path}/ran")))
    source = convert.recognise(tmp_path / "m.pkl")
    assert source.trust == "pickle"
    assert source.findings is not None
    assert source.findings.dangerous
    with pytest.raises(SetsailError) as caught:
        convert.convert(source, Intent())
    assert caught.value.code == "source.trust"
    assert not (tmp_path / "ran").exists()


@pytest.mark.skipif(not SANDBOX, reason="the network is cut on Linux")
def test_trusted_by_mistake_it_still_does_not_reach_the_network(tmp_path: Path) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.1)
    with server:
        call = Evil(socket.create_connection, server.getsockname(), 2.0)
        (tmp_path / "m.pkl").write_bytes(pickle.dumps(call))
        with pytest.raises(SetsailError) as caught:
            converted(convert.recognise(tmp_path / "m.pkl"), Intent(), tmp_path / "work")
        assert caught.value.code == "source.load"
        assert "unreachable" in str(caught.value)
        with pytest.raises(TimeoutError):
            server.accept()


def test_a_pickle_that_cannot_be_loaded_says_why(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(b"cno_such_module_here\nThing\n.")
    with pytest.raises(SetsailError) as caught:
        converted(convert.recognise(tmp_path / "m.pkl"), Intent(), tmp_path / "work")
    assert caught.value.code == "source.load"
    assert "no_such_module_here" in str(caught.value)


def test_a_pickle_of_something_else_is_unsupported(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps({"weights": [1, 2]}))
    with pytest.raises(SetsailError) as caught:
        converted(convert.recognise(tmp_path / "m.pkl"), Intent(), tmp_path / "work")
    assert caught.value.code == "convert.unsupported"
    assert "builtins.dict" in str(caught.value)


def test_weights_without_a_factory_are_refused_before_a_child_is_started(tmp_path: Path) -> None:
    source = convert.Source(tmp_path / "m.safetensors", "safetensors", "torch", "factory")
    with pytest.raises(SetsailError) as caught:
        child.arguments(source, Intent(), tmp_path)
    assert caught.value.code == "convert.example"
    assert "--factory" in str(caught.value)
