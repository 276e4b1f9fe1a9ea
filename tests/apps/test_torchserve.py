"""Handlers of TorchServe in their own process: how they are found, and what the base classes do."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from archived import archive
from PIL import Image
from tiny_wheel import WORD, tiny_wheel

from setsail.apps import environments
from setsail.apps.runner import AppRunner
from setsail.apps.terms import Terms
from setsail.apps.torchserve.entry import entry
from setsail.errors import SetsailError
from setsail.letters import Reply

Start = Callable[..., AppRunner]
TWICE = "def handle(data, context):\n    if data is None:\n        context.ready = True\n        return None\n" \
        "    assert context.ready\n    return [len(row['body']) * 2 for row in data]\n"  # fmt: skip


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[AppRunner] = []

    def make(path: Path) -> AppRunner:
        runner = AppRunner(entry(path), Terms(), "m", lambda _: None)
        started.append(runner)
        return runner

    yield make
    for runner in started:
        runner.close()


def ask(runner: AppRunner, *requests: bytes) -> list[Reply]:
    values = np.empty(len(requests), object)
    values[:] = requests
    answers = runner.run({"request": values})
    return [Reply.of(*pair) for pair in zip(answers["output"].tolist(), answers["headers"].tolist(), strict=True)]


def refused(call: Callable[[], object]) -> SetsailError:
    with pytest.raises(SetsailError) as caught:
        call()
    return caught.value


HANDLERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "a function handle of a module": ("twice", {"twice.py": TWICE}),
    "a file": ("twice.py", {"twice.py": TWICE}),
    "a named function": ("twice:other", {"twice.py": TWICE.replace("def handle", "def other")}),
    "a class with a method handle": ("own.py", {"own.py": (
        "import json\nclass Own:\n    def initialize(self, context):\n        self.ready = True\n"
        "    def handle(self, data, context):\n        return [len(row['body']) * 2 for row in data]\n"
    )}),
    "in a folder": ("code/own.py", {"code/own.py": TWICE}),
}  # fmt: skip


@pytest.mark.parametrize("name", HANDLERS)
def test_a_handler_is_found(start: Start, tmp_path: Path, name: str) -> None:
    handler, files = HANDLERS[name]
    assert [reply.body for reply in ask(start(archive(tmp_path / "m.mar", handler, files)), b"abc")] == [b"6"]


BAD: Mapping[str, tuple[str, Mapping[str, str], str]] = {
    "no such file": ("gone.py", {}, "no such file"),
    "no such function": ("own:gone", {"own.py": TWICE}, "no function 'gone'"),
    "two classes": ("own.py", {"own.py": "class A:\n    def handle(self): ...\nclass B(A): ...\n"}, "(A, B)"),
    "it raises": ("own.py", {"own.py": "raise ValueError('no weights')"}, "ValueError: no weights"),
    "its start raises": ("own.py", {"own.py": "def handle(data, context):\n    raise KeyError(1)\n"}, "KeyError"),
    "torchtext": ("own.py", {"own.py": (
        "from ts.torch_handler.text_handler import TextHandler\nclass Own(TextHandler): ...\n"
    )}, "torchtext"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_handler_that_cannot_be_started(start: Start, tmp_path: Path, name: str) -> None:
    handler, files, told = BAD[name]
    fault = refused(lambda: start(archive(tmp_path / "m.mar", handler, files)))
    assert fault.code == "app.load"
    assert told in fault.what


def test_answers_that_are_no_list_of_answers(start: Start, tmp_path: Path) -> None:
    for index, answer in enumerate(("[1, 2, 3]", "'text'", "[{1, 2}]", "None")):
        path = archive(
            tmp_path / f"m{index}.mar", "own", {"own.py": f"def handle(data, context):\n    return {answer}\n"}
        )
        runner = start(path)
        assert refused(lambda runner=runner: ask(runner, b"a")).code == "app.answer"


def test_an_archive_as_a_folder_is_read_where_it_is_and_not_written(start: Start, tmp_path: Path) -> None:
    code = "import os\ndef handle(data, context):\n    folder = context.system_properties['model_dir']\n" \
           "    try:\n        open(os.path.join(folder, 'x'), 'w')\n    except OSError as fault:\n" \
           "        return data and [type(fault).__name__]\n"  # fmt: skip
    runner = start(archive(tmp_path / "m", "own", {"own.py": code}))
    assert ask(runner, b"")[0].body == b"PermissionError"


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")  # it is what archives hold
def test_base_handler_serves_torchscript_and_eager_models(start: Start, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Linear(2, 1, bias=False)
    net.weight.data[:] = torch.tensor([[2.0, 3.0]])
    scripted, weights = io.BytesIO(), io.BytesIO()
    torch.jit.save(torch.jit.trace(net, torch.zeros(1, 2)), scripted)
    torch.save(net.state_dict(), weights)
    eager = (
        "import torch\nclass Net(torch.nn.Linear):\n"
        "    def __init__(self):\n        super().__init__(2, 1, bias=False)\n"
    )
    forms = {
        "script": ({"net.pt": scripted.getvalue()}, {"serializedFile": "net.pt"}),
        "eager": ({"net.pt": weights.getvalue(), "net.py": eager}, {"serializedFile": "net.pt", "modelFile": "net.py"}),
    }
    reader = "import json\nfrom ts.torch_handler.base_handler import BaseHandler\nclass Own(BaseHandler):\n" \
             "    def preprocess(self, data):\n" \
             "        return super().preprocess([json.loads(r['body']) for r in data])\n"  # fmt: skip
    for name, (files, keys) in forms.items():
        runner = start(archive(tmp_path / f"{name}.mar", "own.py", {"own.py": reader, **files}, **keys))
        assert json.loads(ask(runner, b"[1.0, 10.0]")[0].body) == [32.0]


def test_image_classifier_of_an_eager_model_runs_as_a_handler(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    net = "import torch\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        return x.mean(dim=(2, 3))\n"
    names = json.dumps({"0": "red", "1": "green", "2": "blue"})
    files = {"net.py": net, "index_to_name.json": names}
    runner = start(archive(tmp_path / "m.mar", "image_classifier", files, modelFile="net.py"))
    buffer = io.BytesIO()
    Image.new("RGB", (300, 280), (10, 250, 20)).save(buffer, "PNG")
    answer = json.loads(ask(runner, buffer.getvalue())[0].body)
    assert next(iter(answer)) == "green"
    assert sum(answer.values()) == pytest.approx(1)


def test_requirements_need_an_environment_that_was_made_before(tmp_path: Path) -> None:
    files = {"own.py": TWICE, "requirements.txt": "tiny==1.0\n"}
    path = archive(tmp_path / "m.mar", "own.py", files, requirementsFile="requirements.txt")
    fault = refused(lambda: entry(path))
    assert (fault.code, fault.facts["command"]) == ("dependency.missing", f"setsail prepare {path}")


@pytest.mark.slow
def test_an_environment_is_made_once_and_has_ours_behind_it(start: Start, tmp_path: Path) -> None:
    code = "import numpy, tiny\ndef handle(data, context):\n    return data and [tiny.WORD] * len(data)\n"
    files = {"own.py": code, "requirements.txt": tiny_wheel(tmp_path)}
    path = archive(tmp_path / "m.mar", "own.py", files, requirementsFile="requirements.txt")
    made, there = environments.make(files["requirements.txt"].encode())
    assert not there
    assert environments.make(files["requirements.txt"].encode()) == (made, True)
    assert ask(start(path), b"a")[0].body == WORD.encode()
    with pytest.raises(SetsailError) as caught:
        environments.make(b"tiny @ file:///nowhere/tiny-1.0-py3-none-any.whl\n")
    assert caught.value.code == "child.failed"
