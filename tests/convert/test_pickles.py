"""The scan reads names out of pickles and runs none of them."""

import io
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from setsail.convert import pickles
from setsail.convert.pickles import scan


class Evil:
    """Pickles to a call of `function(*arguments)`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_a_call_of_os_system_is_found_in_every_protocol_and_not_made(tmp_path: Path, protocol: int) -> None:
    import os

    data = pickle.dumps({"a": 1, "b": Evil(os.system, f"touch {tmp_path}/ran")}, protocol)
    found = scan(written(tmp_path / "m.pkl", data))
    assert [n for n in found.dangerous if n.endswith(".system")]
    assert not (tmp_path / "ran").exists()
    assert "DANGEROUS" in repr(found)


@pytest.mark.parametrize(
    "name",
    ["builtins.eval", "__builtin__.exec", "builtins.getattr", "os.popen", "posix.system", "subprocess.Popen",
     "importlib.import_module", "operator.attrgetter", "ctypes.CDLL", "runpy.run_path", "numpy.os.system", "torch.load",
     "socket.socket", "shutil.rmtree", "timeit.timeit", "code.interact", "pty.spawn", "builtins.__import__",
     "functools.partial"],
)  # fmt: skip
def test_dangerous_names(tmp_path: Path, name: str) -> None:
    module, _, last = name.rpartition(".")
    data = f"c{module}\n{last}\n(S'x'\ntR.".encode()
    assert scan(written(tmp_path / "m", data)).dangerous == (name.replace("__builtin__", "builtins"),)


def test_known_and_unknown_names_are_told_apart(tmp_path: Path) -> None:
    from sklearn.linear_model import LinearRegression

    found = scan(written(tmp_path / "m", pickle.dumps([LinearRegression(), Evil(zipfile.ZipInfo), np.float64(1)])))
    assert found.dangerous == ()
    assert found.unknown == ("zipfile.ZipInfo",)
    assert "sklearn.linear_model._base.LinearRegression" in found.known
    assert found.frameworks == ("sklearn",)


def test_an_import_behind_raw_arrays_of_a_joblib_file_is_found(tmp_path: Path) -> None:
    import os

    rng = np.random.default_rng(0)
    model = {"a": rng.random(100), "b": rng.random(50), "z": Evil(os.system, "true"), "c": rng.random(10)}
    for compress in (0, 3, ("xz", 3)):
        joblib.dump(model, tmp_path / "m", compress=compress)
        assert [n for n in scan(tmp_path / "m").dangerous if n.endswith(".system")]


def test_pickles_in_zips_and_pickles_in_a_row(tmp_path: Path) -> None:
    second = pickle.dumps(1) + pickle.dumps(Evil(eval, "1"))
    with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
        archive.writestr("m/data.pkl", second)
    for path in (tmp_path / "m.pt", written(tmp_path / "m.pkl", second)):
        assert scan(path).dangerous == ("builtins.eval",)


def test_names_taken_from_the_memo_are_resolved(tmp_path: Path) -> None:
    data = pickle.dumps([Evil(eval, "1"), Evil(exec, "1")], 4)  # the second "builtins" is a memo reference
    assert scan(written(tmp_path / "m", data)).dangerous == ("builtins.eval", "builtins.exec")


def test_reading_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MAX_BYTES", 1000)
    bomb = zlib.compress(pickle.dumps(b"x" * 1_000_000))
    assert "only the first" in scan(written(tmp_path / "m", bomb)).notes[0]
    monkeypatch.setattr(pickles, "MAX_OPCODES", 100)
    assert "100 instructions" in scan(written(tmp_path / "n", pickle.dumps(list(range(300)))[:999])).notes[-1]


def test_what_it_shows_is_safe_on_a_terminal(tmp_path: Path) -> None:
    text = str(scan(written(tmp_path / "m", b"cos\x1b[2J\nname\n.")))
    assert "\x1b" not in text


def test_a_broken_file_is_a_note_not_an_exception(tmp_path: Path) -> None:
    assert scan(written(tmp_path / "m", b"\x1f\x8b broken")).notes
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", pickle.dumps(list(range(1000))))
    data = bytearray(buffer.getvalue())
    data[60:80] = b"\xff" * 20
    assert scan(written(tmp_path / "z", bytes(data))).notes
    assert repr(scan(written(tmp_path / "e", b"\x80\x04N."))) == "imports nothing"
