"""Hostile functions: name -> (the code that answers, or "" where it only learns nothing; the body of the function).

Each body is a function's, with the names of HEAD; `x` is what a test tells it: the server's process, a port, a file.
CALLED is the number of the call.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Final

__all__ = ["CALLS", "LOADS", "file"]

HEAD: Final = '''
import ctypes, json, mmap, os, resource, signal, socket, struct, sys, threading, time
import numpy as np

CHANNEL, MEMORY = int(sys.argv[1]), int(sys.argv[2])
PRIVATE = os.environ["HOME"]

def head(number, kind, count, length):
    return struct.pack("<IBxHI", number, kind, count, length)

def place(code, shape, offset, nbytes):
    return struct.pack("<BB6xQQ8Q", code, len(shape), offset, nbytes, *shape, *[0] * (8 - len(shape)))

def refused(*calls):
    """Of these calls, the ones that were not."""
    done = []
    for name, call in calls:
        try:
            call()
            done.append(name)
        except (OSError, ValueError):
            pass
    return ",".join(done)
'''


def file() -> str:
    """A file whose `attack` does what its text names, before a `|`; with an empty name it behaves."""
    bodies = [
        f"def attack_{i}(x):\n{textwrap.indent(body, '    ')}\nATTACKS[{name!r}] = attack_{i}\n"
        for i, (name, (_, body)) in enumerate(CALLS.items())
    ]
    return HEAD + "ATTACKS = {}\n" + "\n".join(bodies) + _DISPATCH


_DISPATCH: Final = """
CALLED = 0

def attack(x: str) -> str:
    global CALLED
    CALLED += 1
    name, _, told = x.partition("|")
    return ATTACKS[name](told) if name else "well"
"""

CALLS: Final[Mapping[str, tuple[str, str]]] = {
    # -- the channel
    "garbage": ("app.ended", "os.write(CHANNEL, b'\\xff' * 4096); return x"),
    "an answer too many": ("app.ended", "os.write(CHANNEL, head(9, 6, 0, 0)); return x"),
    "another call's answer": (
        "app.ended", "os.write(CHANNEL, head(7, 6, 1, 88) + place(8, (1,), 1 << 29, 9)); return x",
    ),
    "a kind that is none": ("app.ended", "os.write(CHANNEL, head(CALLED, 77, 0, 0)); return x"),
    "a second signature": ("app.ended", "os.write(CHANNEL, head(CALLED, 4, 0, 2) + b'{}'); return x"),
    "4 GiB announced": ("app.ended", "os.write(CHANNEL, head(CALLED, 7, 0, 2**32 - 1)); return x"),
    "a fault of another's code": (
        "app.ended",
        "text = json.dumps({'code': 'request.key', 'text': ''}).encode()\n"
        "os.write(CHANNEL, head(CALLED, 7, 0, len(text)) + text); return x",
    ),
    "a fault that is no JSON": ("app.ended", "os.write(CHANNEL, head(CALLED, 7, 0, 4) + b'[[[['); return x"),
    "half a message": ("app.timeout", "os.write(CHANNEL, b'12345'); time.sleep(60)"),
    "drops": (
        "app.timeout",
        "os.write(CHANNEL, head(CALLED, 7, 0, 1 << 20))\nwhile True:\n    os.write(CHANNEL, b' '); time.sleep(0.05)",
    ),
    "hangs up": ("app.ended", "os.close(CHANNEL); return x"),
    # -- the memory
    "a tensor before the memory": (
        "app.ended", "os.write(CHANNEL, head(CALLED, 6, 1, 88) + place(8, (1,), 0, 9)); return x",
    ),
    "a tensor behind the memory": (
        "app.ended", "os.write(CHANNEL, head(CALLED, 6, 1, 88) + place(8, (1,), (1 << 30) - 8, 64)); return x",
    ),
    "a tensor of 2^64 bytes": (
        "app.ended", "os.write(CHANNEL, head(CALLED, 6, 1, 88) + place(11, (1,), 1 << 29, 2**64 - 1)); return x",
    ),
    "a shape that overflows": (
        "app.ended", "os.write(CHANNEL, head(CALLED, 6, 1, 88) + place(11, (2**63, 2**63), 1 << 29, 0)); return x",
    ),
    "nine dimensions": (
        "app.ended", "os.write(CHANNEL, head(CALLED, 6, 1, 88) + b'\\x08\\x09' + bytes(86)); return x",
    ),
    "another dtype": (
        "app.ended", "os.write(CHANNEL, head(CALLED, 6, 1, 88) + place(11, (1,), 1 << 29, 8)); return x",
    ),
    "more rows": (
        "app.ended", "os.write(CHANNEL, head(CALLED, 6, 1, 88) + place(8, (2,), 1 << 29, 16)); return x",
    ),
    "texts that end before they begin": (
        "app.ended",
        "memory = mmap.mmap(MEMORY, 1 << 30)\nmemory[1 << 29:(1 << 29) + 8] = struct.pack('<q', -5)\n"
        "os.write(CHANNEL, head(CALLED, 6, 1, 88) + place(8, (1,), 1 << 29, 16)); return x",
    ),
    "texts that are no Unicode": (
        "app.ended",
        "memory = mmap.mmap(MEMORY, 1 << 30)\nmemory[1 << 29:(1 << 29) + 10] = struct.pack('<q', 2) + b'\\xff\\xff'\n"
        "os.write(CHANNEL, head(CALLED, 6, 1, 88) + place(8, (1,), 1 << 29, 10)); return x",
    ),
    "cuts the memory off": ("app.fault", "os.ftruncate(MEMORY, 0); return x"),
    "makes the memory grow": ("app.fault", "os.ftruncate(MEMORY, 1 << 40); return x"),
    # -- its own end, and others'
    "kills itself": ("app.ended", "os.kill(os.getpid(), signal.SIGKILL)"),
    "leaves": ("app.ended", "os._exit(0)"),
    "crashes": ("app.ended", "ctypes.string_at(0)"),
    "blocks for ever": ("app.timeout", "while True: pass"),
    "ignores signals": (
        "app.timeout", "[signal.signal(n, signal.SIG_IGN) for n in (1, 2, 15)]\nwhile True: time.sleep(1)",
    ),
    "leaves children behind": (
        "app.ended",
        "for _ in range(50):\n    if os.fork() == 0:\n        os.setsid() if os.getpid() != os.getsid(0) else None\n"
        "        time.sleep(600)\nos._exit(0)",
    ),
    "a child that answers for it": (
        "app.ended", "if os.fork():\n    os._exit(0)\nos.setsid()\ntime.sleep(600)",
    ),
    "threads that stay": (
        "", "[threading.Thread(target=time.sleep, args=(600,)).start() for _ in range(20)]\nreturn ''",
    ),
    "an exception that cannot be shown": (
        "app.fault", "class Bad(Exception):\n    def __str__(self): raise self\nraise Bad",
    ),
    "an exception without end": ("app.fault", "raise ValueError('a' * (64 << 20))"),
    "a stack without end": ("app.fault", "def f(): f()\nsys.setrecursionlimit(10000)\nf()"),
    "all memory": ("app.fault", "return str(len(bytes(1 << 45)))"),
    "more limits": (
        "", "most = resource.RLIM_INFINITY\n"
        "return refused(*[(name, lambda name=name: resource.setrlimit(getattr(resource, name), (most, most)))\n"
        "                 for name in ('RLIMIT_AS', 'RLIMIT_FSIZE', 'RLIMIT_NOFILE')])",
    ),
    # -- the server and the machine
    "looks into the server": (
        "", "pid = int(x.split()[0])\nlibc = ctypes.CDLL(None, use_errno=True)\n"
        "def attach():\n    if libc.ptrace(16, pid, 0, 0): raise OSError\n"
        "return refused(('environ', lambda: open(f'/proc/{pid}/environ', 'rb').read()),\n"
        "               ('fd', lambda: [os.readlink(f'/proc/{pid}/fd/{n}') for n in range(3)]),\n"
        "               ('mem', lambda: open(f'/proc/{pid}/mem', 'rb')),\n"
        "               ('maps', lambda: open(f'/proc/{pid}/maps').read()), ('ptrace', attach))",
    ),
    "signals the server": (
        "", "pid = int(x.split()[0])\n"
        "return refused(('kill', lambda: os.kill(pid, 9)), ('group', lambda: os.killpg(pid, 9)))",
    ),
    "other descriptors": (
        "", "there = []\nfor fd in range(3, 1024):\n    try: os.fstat(fd)\n    except OSError: continue\n"
        "    there.append(fd)\n"
        "known = {os.fstat(fd).st_ino for fd in (CHANNEL, MEMORY)}\n"
        "return ','.join(os.readlink(f'/proc/self/fd/{fd}') for fd in there if os.fstat(fd).st_ino not in known)",
    ),
    "the network": (
        "", "port = int(x.split()[1])\n"
        "return refused(('tcp', lambda: socket.create_connection(('127.0.0.1', port), 2)),\n"
        "               ('out', lambda: socket.create_connection(('192.0.2.1', 80), 2)))",
    ),
    "other files": (
        "", "secret = x.split()[2]\nlink = PRIVATE + '/link'\nos.symlink(secret, link)\n"
        "return refused(('read', lambda: open(secret).read()), ('write', lambda: open(secret, 'w')),\n"
        "               ('link', lambda: open(link, 'a')), ('remove', lambda: os.unlink(secret)),\n"
        "               ('beside', lambda: open(os.path.dirname(secret) + '/new', 'w')),\n"
        "               ('own', lambda: open(__file__, 'a')))",
    ),
    "a folder full of links": (
        "", "secret = x.split()[2]\nos.symlink(os.path.dirname(secret), PRIVATE + '/folder')\nreturn ''",
    ),
    "an endless file": (
        "app.fault", "with open(PRIVATE + '/big', 'wb') as big:\n    big.seek(2 << 30)\n    big.write(b'x')\nreturn x",
    ),
}  # fmt: skip

# While it is imported: what the file does at its top level.
LOADS: Final[Mapping[str, str]] = {
    "a signature that is no JSON": "os.write(CHANNEL, head(0, 4, 0, 4) + b'oops')",
    "a signature that is nested": "text = b'[' * 100000\nos.write(CHANNEL, head(0, 4, 0, len(text)) + text)",
    "a signature of others": (
        "text = json.dumps({'signature': {'inputs': [{'name': 'x\\n', 'dtype': 'float64', 'shape': ['N']}],\n"
        "  'outputs': [{'name': 'y', 'dtype': 'float64', 'shape': ['N']}]}, 'defaults': ['y'], 'arrays': True,\n"
        "  'python': '3'}).encode()\nos.write(CHANNEL, head(0, 4, 0, len(text)) + text)"
    ),
    "a signature without end": (
        "one = {'name': 'x', 'dtype': 'float64', 'shape': ['N']}\n"
        "text = json.dumps({'signature': {'inputs': [one] * 9999, 'outputs': [one]}, 'defaults': ['x'],\n"
        "  'arrays': True, 'python': '3'}).encode()\nos.write(CHANNEL, head(0, 4, 0, len(text)) + text)"
    ),
    "a size that is no number": (
        "text = json.dumps({'signature': {'inputs': [{'name': 'x', 'dtype': 'float64', 'shape': ['N', 1e9]}],\n"
        "  'outputs': [{'name': 'y', 'dtype': 'float64', 'shape': ['N']}]}, 'defaults': ['y'], 'arrays': True,\n"
        "  'python': '3'}).encode()\nos.write(CHANNEL, head(0, 4, 0, len(text)) + text)"
    ),
    "garbage": "os.write(CHANNEL, b'\\xff' * 4096)",
    "hangs up": "os.close(CHANNEL)",
    "leaves": "os._exit(0)",
    "kills itself": "os.kill(os.getpid(), signal.SIGKILL)",
    "blocks for ever": "while True: pass",
}
