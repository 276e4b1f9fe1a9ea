"""What a saved Keras model names, read without Keras."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from setsail.convert import recognise
from setsail.convert.tensorflow.keras_config import Own, archive_findings, config_findings, own_objects, text_findings
from setsail.errors import SetsailError

POLICY = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "float32"}, "registered_name": None}
ZEROS = {"module": "keras.initializers", "class_name": "Zeros", "config": {}, "registered_name": None}


def layer(cls: str, where: str = "keras.layers", registered: str | None = None, /, **config: Any) -> dict[str, Any]:
    return {"module": where, "class_name": cls, "config": config, "registered_name": registered}


def model(*layers: Any, **more: Any) -> dict[str, Any]:
    """A Sequential as Keras 3.15 writes it."""
    body = layer("Sequential", "keras", name="sequential", dtype=POLICY, layers=list(layers))
    return body | {"build_config": {"input_shape": [None, 4]}} | more


def archive(path: Path, config: Any, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("metadata.json", "{}")
        file.writestr("config.json", config if isinstance(config, bytes) else json.dumps(config))
        file.writestr("model.weights.h5", b"")
        for name, data in members.items():
            file.writestr(name, data)
    return path


def found(*layers: Any, **more: Any) -> tuple[str, ...]:
    return config_findings(json.dumps(model(*layers, **more)), "m.keras")


def test_keras_own_layers_name_nothing() -> None:
    add = layer("Add", "keras.src.ops.numpy", "Add", name="add")
    inner = {"args": [{"class_name": "__keras_tensor__", "config": {"shape": [None, 4], "dtype": "float32"}}]}
    activation = {"module": "builtins", "class_name": "function", "config": "relu", "registered_name": "function"}
    lookup = layer("StringLookup", vocabulary=["a", "b"])
    dense = layer("Dense", units=2, activation=activation, bias_initializer=ZEROS)
    functional = layer("Functional", "keras.src.models.functional", "Functional", layers=[dense])
    assert found(dense, add | {"inbound_nodes": [inner]}, lookup, functional) == ()


@pytest.mark.parametrize(
    ("body", "finding"),
    [
        (layer("Lambda", function={"class_name": "__lambda__", "config": {"code": "4wEAAAA="}}), "a Lambda layer"),
        (layer("Dense", activation={"class_name": "__lambda__", "config": {"value": "4wEAAAA="}}), "a Python lambda"),
        (layer("Mine", "mine", "Custom>Mine"), "class Custom>Mine"),
        (layer("Dense", "keras.layers", "os>system"), "class os>system"),
        (layer("Popen", "subprocess"), "class subprocess.Popen"),
        (layer("get_file", "keras.utils"), "class keras.utils.get_file"),
        (layer("Dense", "keras.layersx"), "class keras.layersx.Dense"),
        (layer("anything", "keras"), "class keras.anything"),
        (layer("function", "os") | {"config": "system"}, "function os.system"),
        (layer("TFSMLayer", filepath="/somewhere"), "TFSMLayer"),
        (layer("TorchModuleWrapper", module="gANj"), "a pickle"),
        (layer("StringLookup", vocabulary="/etc/passwd"), "a file that StringLookup reads"),
        (layer("TextVectorization", vocabulary="http://example.invalid/x"), "a file that TextVectorization reads"),
        ({"class_name": 7, "module": ["keras"], "config": {}}, "an object without a name"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_what_is_more_than_keras_own_data_is_named(body: Any, finding: str) -> None:
    assert any(finding in f for f in found(layer("Dense"), body))
    wrapped = layer("TimeDistributed", layer=layer("Bidirectional", layer=body))
    assert any(finding in f for f in found(wrapped)), "inside other layers"


def test_losses_of_training_are_not_loaded_and_do_not_count() -> None:
    own = layer("MyLoss", "mine", "Custom>MyLoss")
    assert found(compile_config={"loss": own}) == ()
    assert found(layer("Sequential", "keras") | {"compile_config": {"loss": own}}) == ("class Custom>MyLoss",)


def test_a_file_asks_for_trust_when_it_names_more(tmp_path: Path) -> None:
    plain = recognise(archive(tmp_path / "plain.keras", model(layer("Dense"))))
    assert (plain.format, plain.framework, plain.trust) == ("keras", "tensorflow", None)
    code = recognise(archive(tmp_path / "code.keras", model(layer("Lambda"))))
    assert (code.format, code.trust) == ("keras-code", "pickle")
    assert "a Lambda layer" in str(code.findings)


def test_an_hdf5_file_is_looked_through_for_the_same(tmp_path: Path) -> None:
    magic = b"\x89HDF\r\n\x1a\n" + bytes(5000)
    cases = {
        "plain": (b'{"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense"}]}}', "hdf5"),
        "lambda": (b'{"class_name": "Lambda", "config": {}}', "hdf5-code"),
        "own": (b'{"class_name": "Custom>Mine", "config": {}}', "hdf5-code"),
    }
    for name, (text, expected) in cases.items():
        (tmp_path / f"{name}.h5").write_bytes(magic + text)
        assert recognise(tmp_path / f"{name}.h5").format == expected
    assert text_findings(tmp_path / "own.h5") == ("class Custom>Mine",)


@pytest.mark.parametrize(
    "config",
    [b"", b"{", b"[]", b'"text"', b"\xff", b"[" * 100_000, b'{"a":' * 150 + b"1" + b"}" * 150],
    ids=["empty", "cut", "list", "text", "no-utf8", "deep-list", "deep-object"],
)
def test_an_unreadable_configuration_is_damage(config: bytes, tmp_path: Path) -> None:
    with pytest.raises(SetsailError) as caught:
        archive_findings(archive(tmp_path / "m.keras", config))
    assert caught.value.code == "source.damaged"


def test_weights_alone_are_no_model(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as file:
        file.writestr("model.weights.h5", b"")
    with pytest.raises(SetsailError) as caught:
        recognise(tmp_path / "m.keras")
    assert caught.value.code == "source.damaged"
    assert "model.save" in str(caught.value)


def test_own_objects_are_told_with_where_to_import_them_from(tmp_path: Path) -> None:
    """Classes name their module; of functions Keras keeps the name alone, so whoever holds the model says where."""
    named = {"module": "builtins", "class_name": "function", "config": "bent", "registered_name": "function"}
    known = {**named, "config": "relu"}
    registered = {**named, "config": "mine>twisted", "registered_name": "mine>twisted"}
    inner = layer("Gate", "my_layers", "mine>Gate", activation=registered)
    here = {"module": None, "class_name": "Net", "config": {}, "registered_name": "Net"}
    body = model(layer("Dense", activation=named), layer("Dense", activation=known), inner, inner, here,
                 compile_config={"loss": layer("Loss", "my_losses", "Loss")})  # fmt: skip
    functions = {"bent": "my_functions", "twisted": "my_functions", "elsewhere": "not_used"}
    assert own_objects(archive(tmp_path / "m.keras", body), functions) == (
        Own("__main__", "Net", "Net"),
        Own("my_functions", "bent", "bent"),
        Own("my_functions", "twisted", "mine>twisted"),
        Own("my_layers", "Gate", "mine>Gate"),
    )
