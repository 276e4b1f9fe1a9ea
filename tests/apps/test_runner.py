"""A function in a process of its own is a runner like any other, whatever its code does."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from functions import start, until, write

from setsail.apps import process
from setsail.apps.runner import AppRunner
from setsail.apps.terms import Terms
from setsail.errors import SetsailError

Start = Callable[..., AppRunner]
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Start]:
    """`shop("total")` starts a function of the shop."""
    file, started = write(tmp_path / "shop"), list[AppRunner]()

    def make(name: str, terms: Terms | None = None, **more: Any) -> AppRunner:
        started.append(start(file, name, terms, **more))
        return started[-1]

    yield make
    for runner in started:
        runner.close()
    del started[:]
    gc.collect()


def floats(*values: float) -> dict[str, Any]:
    return {"x": np.array(values)}


def code(runner: AppRunner, **inputs: Any) -> SetsailError:
    with pytest.raises(SetsailError) as caught:
        runner.run(inputs)
    return caught.value


# -- answering ---------------------------------------------------------------------------------------------------------


def test_answers_are_the_functions_in_the_signatures_order(shop: Start) -> None:
    runner = shop("price")
    assert str(runner.signature) == (
        "(rooms:int64[N], area:float64[N], town:string[N]) -> (price:float64[N], label:string[N])"
    )
    towns = np.array(["Oslo", "Rome"], dtype=object)
    answers = runner.run({"rooms": np.array([2, 3]), "area": np.array([10.0, 20.0]), "town": towns})
    assert list(answers) == ["price", "label"]
    assert answers["price"].tolist() == [20.0, 60.0]
    assert answers["label"].tolist() == ["2 rooms in Oslo", "3 rooms in Rome"]
    assert (runner.max_batch, runner.weights.path, runner.down) == (None, "", "")
    assert runner.python == ".".join(map(str, sys.version_info[:3]))


def test_inputs_are_never_changed_and_no_answer_is_overwritten(shop: Start) -> None:
    runner = shop("keep")
    given = np.zeros((2, 2))
    given.setflags(write=False)
    first = runner.run({"x": given})["output"]
    assert first.tolist() == [1.0, 1.0]  # the function changed what it was given, which was its own
    runner.run({"x": np.asfortranarray(np.full((2, 2), 7.0))[::-1]})
    assert first.tolist() == [1.0, 1.0]
    assert runner.run({"x": given})["output"].tolist() == [1.0, 1.0]  # what it kept was not written over
    assert given.tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_two_threads_may_run_at_once(shop: Start) -> None:
    runner, wrong = shop("total"), list[float]()

    def work(value: float) -> None:
        for _ in range(100):
            if runner.run({"x": np.full((3, 2), value)})["output"].tolist() != [2 * value] * 3:
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in (1.0, 2.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_function_that_costs_nothing_is_timed(shop: Start) -> None:
    ladder = shop("total").ladder()
    assert list(ladder) == [1, 2, 4, 8, 16, 32, 64]
    assert all(0 < seconds < 1 for seconds in ladder.values())


def test_inputs_larger_than_the_memory_are_refused(shop: Start) -> None:
    runner = shop("total")
    huge = np.broadcast_to(np.zeros(1), (1 << 27, 1))
    assert code(runner, x=huge).code == "request.too_large"
    assert code(runner, x=np.array(["\ud800"], dtype=object)).code == "input.dtype"
    assert runner.run({"x": np.ones((1, 2))})["output"].tolist() == [2.0]


# -- the function's own faults -----------------------------------------------------------------------------------------


def test_an_exception_is_an_id_for_the_client_and_a_trace_for_the_log(
    shop: Start, caplog: pytest.LogCaptureFixture
) -> None:
    runner = shop("price")
    fault = code(runner, rooms=np.array([-1]), area=np.array([1.0]), town=np.array(["a"], dtype=object))
    assert fault.code == "app.fault"
    assert "secret" not in str(fault.to_json())
    (record,) = (r for r in caplog.records if fault.facts["id"] in r.getMessage())
    assert record.name == "setsail.app.price"
    trace = record.getMessage()
    assert "ValueError: -1 rooms, and the secret is 4711" in trace
    assert "shop.py" in trace
    assert "calling.py" not in trace  # it begins with the person's own lines
    answers = runner.run({"rooms": np.array([1]), "area": np.array([1.0]), "town": np.array(["a"], dtype=object)})
    assert answers["price"].tolist() == [1.0]  # nothing was restarted


def test_an_answer_that_the_hint_does_not_say(shop: Start, caplog: pytest.LogCaptureFixture) -> None:
    assert code(shop("wrong"), **floats(1.0)).code == "app.answer"
    assert "str 'not a number', and its hint says float64" in caplog.text


def test_sys_exit_is_a_fault_like_any_other(shop: Start) -> None:
    runner = shop("leave")
    before = runner.pid
    assert code(runner, **floats(1.0)).code == "app.fault"
    assert runner.pid == before


def test_what_it_prints_is_in_the_log_with_the_models_name(shop: Start, caplog: pytest.LogCaptureFixture) -> None:
    runner = shop("price")
    runner.run({"rooms": np.array([1]), "area": np.array([1.0]), "town": np.array(["\x1b[31mOslo"], dtype=object)})
    until(lambda: "pricing" in caplog.text)
    said = [(r.name, r.levelno, r.getMessage()) for r in caplog.records]
    assert ("setsail.app.price", logging.INFO, "the shop opens") in said
    assert ("setsail.app.price", logging.INFO, "pricing \ufffd[31mOslo") in said


# -- its end -----------------------------------------------------------------------------------------------------------


def test_a_process_that_ends_is_started_again(shop: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[str] = []
    runner = shop("die", look=lambda r: seen.append(r.down))
    before = runner.pid
    write(tmp_path / "shop", "raise RuntimeError")  # so that it stays down until we have looked
    fault = code(runner, **floats(1.0))
    assert fault.code == "app.ended"
    assert fault.facts["retry_after"] == 1
    assert fault.family.http == 503
    assert code(runner, **floats(0.0)).code == "app.ended"  # at once
    write(tmp_path / "shop")
    until(lambda: not runner.down)
    assert runner.run(floats(0.0))["output"].tolist() == [0.0]
    assert runner.pid != before
    assert seen[0].startswith("its process ended")
    until(lambda: seen[-1] == "")
    assert "starting it again in 0.1 s" in caplog.text


def test_each_quick_end_makes_the_next_start_later(shop: Start, caplog: pytest.LogCaptureFixture) -> None:
    runner = shop("die")
    for _ in range(3):
        code(runner, **floats(1.0))
        until(lambda: not runner.down)
    for pause in ("0.1", "0.2", "0.4"):
        assert f"starting it again in {pause} s" in caplog.text


def test_a_process_that_is_killed_while_idle_is_noticed(shop: Start) -> None:
    runner = shop("pid")
    pid = runner.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: runner.down)
    until(lambda: not runner.down)
    assert runner.pid != pid


def test_signals_that_a_service_manager_sends_to_all_are_the_servers_affair(shop: Start) -> None:
    runner = shop("wait")
    pid, answers = runner.pid, list[Any]()
    assert pid is not None
    thread = threading.Thread(target=lambda: answers.append(runner.run(floats(0.5))["output"].tolist()))
    thread.start()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.killpg(pid, number)
    thread.join()
    assert answers == [[0.5]]
    assert runner.pid == pid


def test_a_call_that_takes_too_long_ends_it(shop: Start) -> None:
    runner = shop("wait", Terms(seconds=0.3))
    assert code(runner, **floats(30.0)).code == "app.timeout"
    until(lambda: not runner.down)
    assert runner.run(floats(0.0))["output"].tolist() == [0.0]


def test_a_file_that_changed_its_hints_waits_for_a_reload(shop: Start, tmp_path: Path, caplog: Any) -> None:
    runner = shop("die")
    file = tmp_path / "shop" / "shop.py"
    good = file.read_text()
    file.write_text(good.replace("def die(x: float) -> float:", "def die(y: float) -> float:"))
    code(runner, **floats(1.0))
    until(lambda: "other tensors than when it was loaded" in caplog.text)
    assert code(runner, **floats(0.0)).code == "app.ended"
    file.write_text(good)
    until(lambda: not runner.down)
    assert runner.run(floats(0.0))["output"].tolist() == [0.0]


def test_closing_ends_the_process_and_leaves_nothing(shop: Start, tmp_path: Path) -> None:
    runner = shop("here")
    (home,) = runner.run({"x": np.array(["__import__('os').environ['HOME']"], dtype=object)})["output"]
    pid = runner.pid
    assert pid is not None
    assert os.path.isdir(eval(home))
    runner.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert not os.path.exists(eval(home))
    assert code(runner, x=np.array(["1"], dtype=object)).code == "model.not_ready"
    runner.close()  # may be closed twice


# -- loading -----------------------------------------------------------------------------------------------------------


def refused(folder: Path, text: str, name: str = "f", terms: Terms | None = None) -> SetsailError:
    with pytest.raises(SetsailError) as caught:
        start(write(folder, text), name, terms)
    return caught.value


def test_a_file_that_cannot_be_imported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fault = refused(tmp_path, "import nothing_of_this_name")
    assert fault.code == "app.load"
    assert "No module named 'nothing_of_this_name'" in str(fault)
    assert "shop.py" in caplog.text  # the trace
    assert refused(tmp_path, "def f(:").code == "app.load"
    assert refused(tmp_path, "raise SystemExit(3)").code == "app.load"
    assert refused(tmp_path, "import os; os._exit(3)").code == "app.load"


def test_a_function_that_is_not_there_or_has_no_hints(tmp_path: Path) -> None:
    fault = refused(tmp_path, "def g(x: float) -> float: return x")
    assert fault.code == "app.load"
    assert fault.expected == "g"
    assert refused(tmp_path, "async def f(x: float) -> float: return x").code == "app.hints"


def test_an_import_that_takes_too_long(tmp_path: Path) -> None:
    fault = refused(tmp_path, "import time; time.sleep(60)", terms=Terms(start_seconds=0.5))
    assert fault.code == "app.load"
    assert fault.field == "--app-start-timeout"


def test_another_python_that_is_none(tmp_path: Path) -> None:
    fault = refused(tmp_path, "", terms=Terms(python="/no/such/python"))
    assert (fault.code, fault.field) == ("app.load", "--app-python")


def test_files_with_names_of_other_modules_and_neighbours(tmp_path: Path) -> None:
    write(tmp_path, "FACTOR = 3.0", "neighbour.py")
    text = "import struct\nfrom neighbour import FACTOR\n"
    text += "def f(x: float) -> float: return x * FACTOR + len(struct.pack('B', 1))"
    runner = start(write(tmp_path, text, "struct.py"), "f")
    assert runner.run(floats(1.0))["output"].tolist() == [4.0]
    runner.close()


def test_the_parent_never_imports_the_file(shop: Start) -> None:
    shop("total")
    assert "shop" not in sys.modules


# -- what it may do ----------------------------------------------------------------------------------------------------


def test_the_environment_is_the_short_list_and_what_was_named(shop: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "4711")
    monkeypatch.setenv("MODE", "fast")
    runner = shop("here", Terms(environment=("MODE",)))
    asked = np.array(["sorted(__import__('os').environ)"], dtype=object)
    names = eval(runner.run({"x": asked})["output"][0])
    assert "TOKEN" not in names
    assert {"MODE", "HOME", "OMP_NUM_THREADS"} <= set(names)


@LINUX
def test_memory_has_a_limit(shop: Start) -> None:
    runner = shop("here", Terms(memory=1 << 30))
    assert code(runner, x=np.array(["len(bytes(3 << 30))"], dtype=object)).code == "app.fault"
    assert shop("here").run({"x": np.array(["len(bytes(1 << 30))"], dtype=object)})["output"].tolist() == [str(1 << 30)]


@LINUX
def test_folders_and_the_network_are_there_when_they_were_allowed(shop: Start, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_text("yes")
    read = np.array([f"open({str(tmp_path / 'data' / 'a')!r}).read()"], dtype=object)
    assert code(shop("here"), x=read).code == "app.fault"
    assert shop("here", Terms(readable=(str(tmp_path / "data"),))).run({"x": read})["output"].tolist() == ["'yes'"]
    links = np.array(["len(__import__('socket').if_nameindex())"], dtype=object)
    ours = len(socket.if_nameindex())
    assert shop("here", Terms(network=True)).run({"x": links})["output"].tolist() == [str(ours)]
    assert shop("here", Terms(sandbox=False)).run({"x": read})["output"].tolist() == ["'yes'"]


def test_where_the_network_cannot_be_cut_it_says_so(shop: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    boot = "setsail.isolation.namespaces"
    text = f"import {boot}; {boot}.cut = lambda **_: 'unshare: Operation not permitted'; "
    changed = process._BOOT.replace("from setsail.apps.child", text + "from setsail.apps.child")
    monkeypatch.setattr(process, "_BOOT", changed)
    with pytest.raises(SetsailError) as caught:
        shop("total")
    assert caught.value.code == "source.sandbox"
    assert "--no-sandbox" in str(caught.value)
    assert shop("total", Terms(sandbox=False)).run({"x": np.ones((1, 1))})["output"].tolist() == [1.0]
