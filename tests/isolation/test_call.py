"""A child process gets an order and gives an answer: no network, no time and no memory beyond its own."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from setsail import isolation
from setsail.errors import SetsailError
from setsail.isolation import Limits

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="namespaces and these limits are Linux's")

# The functions that run in the child. They are a module of their own in a temporary folder on sys.path.
CODE = '''
import json, os, resource, signal, socket, subprocess, sys, time
from setsail.errors import SetsailError

def echo(arguments, folder):
    return {"arguments": arguments, "here": str(folder) == os.getcwd()}

def environment(arguments, folder):
    return dict(os.environ)

def steps(arguments, folder, progress):
    for i in range(3):
        print("noise that must not reach the answer")
        progress(f"step {i} \\x1b[31m")
    return None

def refuse(arguments, folder):
    raise SetsailError("convert.unsupported", "the part 'x' \\x1b[2J has no conversion", field="x", value="abc",
                       expected="y", row=3, odd=object())

def wrong(arguments, folder):
    print("last words", file=sys.stderr)
    raise RuntimeError("first\\nsecond")

def leave(arguments, folder):
    sys.exit(7)

def unplain(arguments, folder):
    return {1, 2}

def connect(arguments, folder):
    with socket.create_connection(("127.0.0.1", arguments["port"]), timeout=3) as connection:
        return connection.recv(5).decode()

def rejoin(arguments, folder):
    """Try to enter the network namespace of the parent."""
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        handle = os.open(f"/proc/{arguments['pid']}/ns/net", os.O_RDONLY)
    except OSError:
        return "refused"
    return "entered" if libc.setns(handle, 0x40000000) == 0 else "refused"

def spy(arguments, folder):
    """Try to read the parent's memory and environment."""
    seen = []
    for name in ("environ", "mem", "maps"):
        try:
            with open(f"/proc/{arguments['pid']}/{name}", "rb") as file:
                seen.append((name, len(file.read(1))))
        except OSError:
            pass
    return seen

def write(arguments, folder):
    """Try to change files: here, and where the arguments say."""
    done = []
    (folder / "own").mkdir()
    (folder / "own" / "a").write_text("x")
    (folder / "own" / "a").rename(folder / "b")
    for name, act in (
        ("create", lambda p: open(p + ".new", "w")), ("append", lambda p: open(p, "a")), ("remove", os.remove),
        ("truncate", lambda p: os.truncate(p, 0)), ("move", lambda p: os.rename(p, p + ".moved")),
        ("link", lambda p: os.link(p, folder / "linked")), ("folder", lambda p: os.mkdir(p + ".folder")),
    ):
        try:
            act(arguments["path"])
            done.append(name)
        except OSError:
            pass
    subprocess.run([sys.executable, "-c", f"open({arguments['path']!r}, 'w')"], stderr=subprocess.DEVNULL)
    return done

def spin(arguments, folder):
    while True:
        pass

def hog(arguments, folder):
    kept = []
    while True:
        kept.append(bytearray(64 << 20))

def fill(arguments, folder):
    with open("big", "wb") as file:
        for _ in range(100):
            file.write(bytes(1 << 20))
            file.flush()

def open_many(arguments, folder):
    return len([open(os.devnull) for _ in range(500)])

def core(arguments, folder):
    return resource.getrlimit(resource.RLIMIT_CORE)

def crash(arguments, folder):
    os.kill(os.getpid(), signal.SIGSEGV)

def sleep(arguments, folder):
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(60)

def outlive(arguments, folder):
    """Detach a process in every way there is, which would write a file later."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for handle in range(64):
                try:
                    os.close(handle)
                except OSError:
                    pass
            time.sleep(1)
            open(folder / "outlived", "w").close()
        os._exit(0)
    return "done"

def outlive_kill(arguments, folder):
    outlive(arguments, folder)
    os.kill(os.getpid(), signal.SIGKILL)

def forge(arguments, folder):
    """Write to every file descriptor what might be taken for an answer."""
    for handle in range(3, 64):
        try:
            os.write(handle, arguments["line"].encode())
        except OSError:
            pass
    time.sleep(30)
'''


CODE += '''
def whole(arguments, folder):
    """What code of a model does: threads, files, processes."""
    import threading
    done = []
    for _ in range(3):
        thread = threading.Thread(target=done.append, args=(1,))
        thread.start()
        thread.join()
    (folder / "made").write_text("x")
    told = subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True).stdout
    with open("/proc/self/status") as status:
        held = next(line.split()[1] for line in status if line.startswith("CapEff"))
    return {"threads": len(done), "child": told.strip(), "capabilities": int(held, 16)}
'''


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call a function of CODE by name."""
    code, folder = tmp_path / "code", tmp_path / "folder"
    code.mkdir()
    folder.mkdir(mode=0o700)
    (code / "in_child.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(code))

    def call(name: str, **settings: Any) -> Any:
        arguments = settings.pop("arguments", {})
        return isolation.call(f"in_child:{name}", arguments, folder, **settings)

    call.folder = folder  # type: ignore[attr-defined]
    return call


def failed(run: Any, name: str, **settings: Any) -> SetsailError:
    with pytest.raises(SetsailError) as caught:
        run(name, **settings)
    assert caught.value.code == "child.failed"
    return caught.value


# -- what crosses ----------------------------------------------------------------------------------------------------


def test_json_goes_in_and_comes_back(run: Any) -> None:
    values = {"text": "ä\u2028\n", "numbers": [1, -1.5, 1e300, None, True], "nested": {"a": {"b": []}}}
    assert run("echo", arguments=values) == {"arguments": values, "here": True}


def test_large_arguments_and_answers_cross(run: Any) -> None:
    values = {"text": "x" * (3 << 20)}
    assert run("echo", arguments=values)["arguments"] == values


def test_the_environment_is_scrubbed(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SETSAIL_API_KEY", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    seen = run("environment")
    assert "secret" not in seen.values()
    assert seen["HOME"] == seen["TMPDIR"] == str(run.folder)


def test_progress_is_handed_on_and_prints_are_not(run: Any) -> None:
    lines: list[str] = []
    assert run("steps", on_progress=lines.append) is None
    assert lines == [f"step {i} \ufffd[31m" for i in range(3)]


def test_an_error_keeps_its_code_and_facts(run: Any) -> None:
    with pytest.raises(SetsailError) as caught:
        run("refuse")
    fault = caught.value
    assert fault.code == "convert.unsupported"
    assert (fault.field, fault.value, fault.expected, fault.facts) == ("x", "'abc'", "y", {"row": 3})
    assert "\x1b" not in str(fault)


def test_any_other_exception_is_told_by_type_and_last_line(run: Any) -> None:
    fault = failed(run, "wrong")
    assert fault.facts["exception"] == "RuntimeError"
    assert fault.value == "second"
    assert "last words" in fault.facts["lines"]


@pytest.mark.parametrize("name", ["leave", "unplain", "no_such_function"])
def test_whatever_goes_wrong_is_an_error(run: Any, name: str) -> None:
    assert failed(run, name).facts["reason"] == "exception"


def test_a_fault_in_on_progress_ends_the_child(run: Any) -> None:
    def bad(line: str) -> None:
        raise ZeroDivisionError(line)

    with pytest.raises(ZeroDivisionError):
        run("steps", on_progress=bad)


# -- the network -----------------------------------------------------------------------------------------------------


@pytest.fixture
def port() -> Any:
    """A loopback server in this process that greets whoever connects."""
    server = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        try:
            while True:
                connection, _ = server.accept()
                connection.sendall(b"hello")
                connection.close()
        except OSError:
            return

    thread = threading.Thread(target=greet, daemon=True)
    thread.start()
    yield server.getsockname()[1]
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(5)


@LINUX
def test_the_child_cannot_reach_a_server_of_this_machine(run: Any, port: int) -> None:
    arguments = {"port": port}
    assert failed(run, "connect", arguments=arguments).facts["exception"] in ("OSError", "TimeoutError")
    assert run("connect", arguments=arguments, network=True) == "hello"  # so the server is there
    assert run("connect", arguments=arguments, sandbox=False) == "hello"


@LINUX
def test_the_child_can_neither_go_back_nor_look_into_the_parent(run: Any) -> None:
    arguments = {"pid": os.getpid()}
    assert run("rejoin", arguments=arguments) == "refused"
    assert run("spy", arguments=arguments) == []


@LINUX
def test_the_child_changes_no_file_outside_its_folder(run: Any, tmp_path: Path) -> None:
    if ctypes.CDLL(None).syscall(ctypes.c_long(444), None, ctypes.c_size_t(0), ctypes.c_uint32(1)) < 3:
        pytest.skip("this kernel has no Landlock, or not enough of it")
    outside = tmp_path / "outside"
    outside.write_text("as it was")
    assert run("write", arguments={"path": str(outside)}) == []
    assert outside.read_text() == "as it was"
    assert (run.folder / "b").read_text() == "x"


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root, to be one without capabilities")
@pytest.mark.parametrize("required", [True, False])
def test_root_without_capabilities_is_cut_off_like_anybody(tmp_path: Path, required: bool) -> None:
    """As in a container with all capabilities dropped: the kernel gives its child no numbers, and all works."""
    (tmp_path / "in_child.py").write_text(CODE)
    (tmp_path / "folder").mkdir(mode=0o700)
    order = (
        f"import sys, json; from pathlib import Path; sys.path.append({str(tmp_path)!r})\n"
        "from setsail import isolation\n"
        f"told = isolation.call('in_child:whole', {{}}, Path({str(tmp_path / 'folder')!r}), "
        f"require_network_cut={required})\n"
        "status = open('/proc/self/status').read().split('CapEff:')[1].split()[0]\n"
        "print(json.dumps([int(status, 16), told]))"
    )
    ended = subprocess.run([sys.executable, "-c", order], capture_output=True, text=True, timeout=60,
                           preexec_fn=_drop_capabilities)  # fmt: skip
    if "unshare:" in ended.stderr and required:
        pytest.skip("this machine gives root without capabilities no user namespace")
    assert ended.returncode == 0, ended.stderr
    outside, told = json.loads(ended.stdout)
    assert outside == 0
    assert told == {"threads": 3, "child": "1", "capabilities": 0}
    made = tmp_path / "folder/made"
    assert (made.read_text(), made.stat().st_uid) == ("x", 0)


def _drop_capabilities() -> None:
    """Empty the bounding set: what is run next has none, whoever runs it."""
    libc = ctypes.CDLL(None)
    for number in range(64):
        libc.prctl(24, number, 0, 0, 0)  # PR_CAPBSET_DROP
    libc.prctl(47, 4, 0, 0, 0)  # PR_CAP_AMBIENT, CLEAR_ALL


def test_where_the_network_cannot_be_cut_it_says_so(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    boot = (
        "import sys; sys.path.append(sys.argv.pop()); from setsail.isolation import child, namespaces; "
        "namespaces.cut = lambda **_: 'unshare: Operation not permitted'; child.main()"
    )
    monkeypatch.setattr("setsail.isolation.parent._BOOT", boot)
    with pytest.raises(SetsailError) as caught:
        run("echo")
    assert caught.value.code == "source.sandbox"
    assert "--no-sandbox" in str(caught.value)
    assert run("echo", sandbox=False)["here"]
    assert run("echo", require_network_cut=False)["here"]


# -- limits ----------------------------------------------------------------------------------------------------------


@LINUX
def test_a_processor_loop_ends_at_its_limit(run: Any) -> None:
    start = time.monotonic()
    fault = failed(run, "spin", limits=Limits(cpu_seconds=1))
    assert fault.facts["signal"] == "SIGXCPU"
    assert time.monotonic() - start < 10


def test_a_child_that_takes_too_long_is_ended(run: Any) -> None:
    start = time.monotonic()
    assert failed(run, "sleep", limits=Limits(seconds=1)).facts["reason"] == "timeout"
    assert time.monotonic() - start < 10


@LINUX
def test_a_memory_hog_is_stopped(run: Any) -> None:
    assert failed(run, "hog", limits=Limits(memory=512 << 20)).facts["reason"] == "memory"


@LINUX
def test_a_file_ends_at_its_limit(run: Any) -> None:
    fault = failed(run, "fill", limits=Limits(file_bytes=3 << 20))
    assert "File too large" in str(fault)
    assert (run.folder / "big").stat().st_size <= 3 << 20


@LINUX
def test_open_files_are_limited_and_there_is_no_core_dump(run: Any) -> None:
    assert "Too many open files" in str(failed(run, "open_many", limits=Limits(open_files=100)))
    assert run("core") == [0, 0]


# -- its end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sandbox", [True, False])
def test_death_by_signal_is_told(run: Any, sandbox: bool) -> None:
    if sandbox and sys.platform != "linux":
        pytest.skip("the network cannot be cut here")
    assert failed(run, "crash", sandbox=sandbox).facts["signal"] == "SIGSEGV"


@LINUX
@pytest.mark.parametrize("name", ["outlive", "outlive_kill"])
def test_nothing_that_it_started_outlives_it(run: Any, name: str) -> None:
    if name == "outlive":
        assert run(name) == "done"
    else:
        failed(run, name)
    time.sleep(1.5)
    assert not (run.folder / "outlived").exists()


@pytest.mark.parametrize(
    "line",
    ["[]\n", "not json\n", '{"fault": {"code": "no.such", "what": "x"}}\n', '{"odd": 1}\n', "[" * 100_000 + "\n"],
)
def test_a_forged_answer_is_an_error_not_a_surprise(run: Any, line: str) -> None:
    fault = failed(run, "forge", arguments={"line": line}, sandbox=sys.platform == "linux")
    assert fault.facts["reason"] == "answer"


@LINUX
def test_an_interrupt_leaves_no_child(run: Any) -> None:
    """What Ctrl-C does: KeyboardInterrupt in the middle of the wait."""
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    before = _children()
    with pytest.raises(KeyboardInterrupt):
        run("sleep", limits=Limits(seconds=30))
    timer.join()
    assert (run.folder / "pid").exists(), "the child ran"
    assert _children() <= before
    assert not _python_in(run.folder)


@LINUX
def test_a_killed_parent_leaves_no_child(run: Any, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from setsail import isolation; sys.path.append(sys.argv[1]); "
        "isolation.call('in_child:sleep', {}, Path(sys.argv[2]))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "code"), str(run.folder)])
    end = time.monotonic() + 20
    while not (run.folder / "pid").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert _python_in(run.folder)
    parent.kill()
    parent.wait()
    end = time.monotonic() + 5
    while _python_in(run.folder) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _python_in(run.folder)


def _children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def _python_in(folder: Path) -> list[str]:
    """Processes whose current folder this is."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if os.readlink(process / "cwd") == str(folder):
                    found.append(process.name)
            except OSError:
                continue
    return found
