"""One row a setting: flag, variable, key, type, default; what is wrong is named."""

from pathlib import Path

import pytest

from setsail.errors import SetsailError
from setsail.server.settings import Settings, rows


def test_every_row_has_a_flag_a_variable_and_a_help_sentence() -> None:
    for row in rows():
        assert row.flag == "--" + row.key.replace("_", "-")
        assert row.variable == "SETSAIL_" + row.key.upper()
        assert row.help.endswith((".", "."))
        assert isinstance(row.default, row.type)


def test_flags_beat_variables_beat_the_file_beat_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "setsail.toml"
    config.write_text("port = 1001\nadmin_port = 1002\nidle_timeout = 9\n")
    monkeypatch.setenv("SETSAIL_PORT", "2001")
    monkeypatch.setenv("SETSAIL_ADMIN_PORT", "2002")
    settings = Settings.read({"port": 3001}, config)
    assert (settings.port, settings.admin_port, settings.idle_timeout) == (3001, 2002, 9)
    assert settings.host == "127.0.0.1"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"port": 65536}, "--port"),
        ({"port": -1}, "--port"),
        ({"port": "eighty"}, "--port"),
        ({"max_body": -5}, "--max-body"),
        ({"model_control": "yes"}, "--model-control"),
        ({"workers": -1}, "--workers"),
        ({"tls_cert": "nowhere.pem"}, "--tls-key"),
        ({"tls_cert": "a.pem", "tls_key": "b.pem"}, "--tls-cert"),
        ({"api_key_file": "nowhere"}, "--api-key-file"),
        ({"host": "0.0.0.0", "model_control": "explicit"}, "--model-control"),
    ],
)
def test_a_wrong_value_names_its_flag(given: dict[str, object], field: str) -> None:
    with pytest.raises(SetsailError) as caught:
        Settings.read(given)
    assert (caught.value.code, caught.value.field) == ("setting.value", field)


def test_an_unknown_name_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("prot = 80\n")
    for flags, config in (({"prot": 80}, None), ({}, tmp_path / "c.toml")):
        with pytest.raises(SetsailError) as caught:
            Settings.read(flags, config)
        assert (caught.value.code, caught.value.field) == ("setting.unknown", "prot")


@pytest.mark.parametrize("text", [None, "port = = 1", b"\xff\xfe"])
def test_a_config_file_that_cannot_be_read(tmp_path: Path, text: str | bytes | None) -> None:
    path = tmp_path / "setsail.toml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(SetsailError) as caught:
        Settings.read({}, path)
    assert (caught.value.code, caught.value.field) == ("setting.value", "--config")


def test_control_on_another_address_with_a_key_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("k\n")
    assert Settings.read({"host": "0.0.0.0", "model_control": "explicit", "api_key_file": str(tmp_path / "keys")})


def test_a_word_of_python_and_several_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "setsail.toml"
    config.write_text('as = "triton"\nlisten = ["1=kserve", "2=tfserving"]\nports = "8000=3"\n')
    settings = Settings.read({}, config)
    assert (settings.as_, settings.listen, settings.ports) == ("triton", "1=kserve,2=tfserving", "8000=3")
    monkeypatch.setenv("SETSAIL_AS", "kserve")
    monkeypatch.setenv("SETSAIL_PORTS", "")
    assert Settings.read({}, config).as_ == "kserve"
    assert Settings.read({"as_": "mlserver", "listen": ("4=triton",)}, config).listen == "4=triton"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"as_": "tensorflow"}, "--as"),
        ({"listen": "8501"}, "--listen"),
        ({"listen": ["1=nobody"]}, "--listen"),
        ({"ports": "8501=1"}, "--ports"),
        ({"as_": "triton", "ports": "8501=1"}, "--ports"),
    ],
)
def test_flavours_that_do_not_exist(given: dict[str, object], field: str) -> None:
    with pytest.raises(SetsailError) as caught:
        Settings.read(given)
    assert (caught.value.code, caught.value.field) == ("setting.value", field)
