"""Cutting a process off, on Linux, with nothing but libc.

What holds, and why it takes three processes:

    boot    leaves the network (a new network namespace has no way out, not even to 127.0.0.1), takes a new user
            namespace so that it can never join the old one again nor trace processes outside, forks
    init    is process 1 of a new process namespace: when it ends, the kernel kills everything started below it,
            so nothing outlives the call, however often it forks or detaches
    worker  runs the code; it cannot signal or trace init, because init is not dumpable and the worker has no
            capabilities, nor gain any (no_new_privs)

Every step is made before anything but the standard library is imported, while the process has a single thread, as
unshare(2) demands. Kernels without user namespaces, and containers that forbid them, answer EPERM or ENOSYS.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NoReturn

__all__ = ["cut", "die_with_parent", "worker"]

# <linux/sched.h>, <linux/prctl.h>, <linux/capability.h>
_NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x08000000, 0x10000000, 0x20000000, 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_CAPABILITY_VERSION_3: Final = 0x20080522


def _libc() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    zero = ctypes.c_ulong(0)
    _libc().prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero)


def cut(*, network: bool = False) -> str | None:
    """Leave the network, and the process namespace for children to come. Returns why not, or None when done.

    Args:
        network: keep it, and leave the rest.
    """
    uid, gid = os.geteuid(), os.getegid()
    left = _NEWPID | _NEWIPC | (0 if network else _NEWNET)
    refusal = _unshare(_NEWUSER | left)
    if refusal is None:
        _keep_numbers(uid, gid)
    elif uid == 0:
        # root where user namespaces are off: the same without one; what is lost with the capabilities is the way back
        refusal = _unshare(left)
    if refusal is None:
        _prctl(_PR_SET_DUMPABLE, 0)
    return refusal


def _keep_numbers(uid: int, gid: int) -> None:
    """Have the same numbers inside the user namespace as outside, where the kernel lets us.

    It does not let root without capabilities, as in containers (CAP_SETFCAP, since Linux 5.12; user_namespaces(7)).
    Without numbers this is nobody to itself and the same as before to the kernel, which opens and writes files by who
    we are outside: all works, and as much is cut. Turning back is not possible any more: who has left a process
    namespace and not forked can start no thread.
    """
    for file, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with suppress(OSError), open(f"/proc/self/{file}", "w") as handle:
            handle.write(text)


def _unshare(flags: int) -> str | None:
    libc = _libc()
    if not hasattr(libc, "unshare"):
        return "this system has no namespaces"
    if libc.unshare(ctypes.c_int(flags)) == 0:
        return None
    return f"unshare: {os.strerror(ctypes.get_errno())}"


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def worker(report: Callable[[int], None]) -> None:
    """Fork init and the worker; returns in the worker only.

    Args:
        report: called in init with the signal that killed the worker.
    """
    init = os.fork()
    if init:
        _wait_and_end(init, lambda _: None)
    die_with_parent()
    child = os.fork()
    if child:
        _wait_and_end(child, report)
    _shed()


def _wait_and_end(child: int, report: Callable[[int], None]) -> NoReturn:
    """Wait for `child`, reaping whatever else ends, and end the same way."""
    while True:
        try:
            pid, status = os.wait()
        except OSError as fault:
            if fault.errno == errno.ECHILD:
                os._exit(1)
            continue
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            if code < 0:
                report(-code)
            os._exit(0 if code == 0 else 1)


def _shed() -> None:
    """Drop every capability, for good."""
    _prctl(_PR_SET_DUMPABLE, 1)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    if _libc().capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "capset")
