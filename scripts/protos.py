"""Compile src/setsail/protocols/grpc/proto/*.proto to the one descriptor set that is checked in beside them.

python scripts/protos.py            writes it
python scripts/protos.py --check    exits with 1 where it is not what the .proto files say

Needs `grpcio-tools`, which is no dependency of ours: a virtual environment of its own is the place for it.
"""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Final

PROTOS: Final = Path(__file__).parents[1] / "src/setsail/protocols/grpc/proto"
COMPILED: Final = PROTOS / "contracts.binpb"


def compiled() -> bytes:
    """The descriptor set of every .proto file, each after what it imports, without comments."""
    protoc = import_module("grpc_tools.protoc")
    googles = Path(str(protoc.__file__)).parent / "_proto"  # any.proto and its like
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / COMPILED.name
        files = sorted(path.name for path in PROTOS.glob("*.proto"))
        where = [f"-I{PROTOS}", f"-I{googles}", "--include_imports", f"--descriptor_set_out={target}"]
        if code := protoc.main(["protoc", *where, *files]):
            raise SystemExit(code)
        return target.read_bytes()


def main() -> None:
    text = compiled()
    if "--check" in sys.argv[1:]:
        if COMPILED.read_bytes() != text:
            raise SystemExit(f"{COMPILED.name} is not what the .proto files say: run python scripts/protos.py")
        return
    COMPILED.write_bytes(text)


if __name__ == "__main__":
    main()
