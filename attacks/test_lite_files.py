"""Every hostile `.tflite` file is refused with its own code, before the interpreter sees it."""

from __future__ import annotations

import os
import random
from pathlib import Path

import lite_files
import pytest
from lite_models import convolution, written

from setsail import isolation
from setsail.artifact.lite import inspect
from setsail.convert.conversion import Intent
from setsail.errors import SetsailError
from setsail.packing import PackOptions, pack


@pytest.mark.parametrize("name", lite_files.ATTACKS)
def test_hostile_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "call", None)  # whoever starts a child fails with another error
    monkeypatch.chdir(tmp_path)
    code, make = lite_files.ATTACKS[name]
    content = make()
    with pytest.raises(SetsailError) as caught:
        inspect({"model.tflite": content}, "model.tflite")
    assert caught.value.code == code, str(caught.value)
    (tmp_path / "model.tflite").write_bytes(content)
    with pytest.raises(SetsailError):  # what does not even begin like one is not recognised
        pack("model.tflite", Intent(), PackOptions(name="hostile"))
    assert os.listdir(tmp_path) == ["model.tflite"], "no artifact, and no canary"


def test_every_prefix_is_refused() -> None:
    whole = written(convolution())
    inspect({"m": whole}, "m")
    for length in range(len(whole)):
        with pytest.raises(SetsailError) as caught:
            inspect({"m": whole[:length]}, "m")
        assert caught.value.code == "program.parse"


def test_damage_gives_one_of_four_codes_and_no_other_error() -> None:
    whole, codes, draw = written(convolution("uint8")), set[str](), random.Random(3)
    for _ in range(1500):
        damaged = bytearray(whole)
        for _ in range(draw.choice((1, 2, 4))):
            damaged[draw.randrange(len(whole))] = draw.randrange(256)
        try:
            inspect({"m": damaged}, "m")
        except SetsailError as fault:
            codes.add(fault.code)
    assert codes == {"program.parse", "program.operator", "program.external", "program.size"}


def test_a_file_beside_the_program_is_not_carried() -> None:
    with pytest.raises(SetsailError) as caught:
        inspect({"model.tflite": written(convolution()), "weights.bin": b""}, "model.tflite")
    assert caught.value.code == "program.external"
