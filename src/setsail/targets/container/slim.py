"""What of a package an image does without: asked of wheels that are laid out here, and run where pip lays them out.

    python slim.py SITE FOLDER...

removes it below the folder SITE, and the FOLDERs in it. A build of the Dockerfile does so, with this script beside
`elf.py` and there is no setsail.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Final

__all__ = ["LIBRARY", "RULES", "main", "unused"]

LIBRARY: Final = re.compile(r"\.so(\.|$)")
_TESTS: Final = frozenset(("tests", "__pycache__"))
# onnxruntime for programs in C, which Python's module has in itself; LiteRT's use of graphics processors.
_FILES: Final = re.compile(r"onnxruntime/capi/libonnxruntime\.so.*|ai_edge_litert/libLiteRt\w*Accelerator\.so")
_ENDINGS: Final = (".a", ".c", ".cpp", ".h", ".hpp", ".pxd", ".pxi", ".pyi", ".pyx")
RULES: Final = repr((sorted(_TESTS), _FILES.pattern, _ENDINGS))  # a layer that is kept is made anew when they change


def unused(name: str, folders: Sequence[str]) -> bool:
    """Whether nothing in an image needs a file, by its name below site-packages: tests, headers, stubs, tools.

    Args:
        folders: of its package, that are left out whole.
    """
    parts = PurePosixPath(name).parts
    left = any(name.startswith(f"{folder}/") for folder in folders)
    return left or bool(_TESTS & set(parts[:-1])) or name.endswith(_ENDINGS) or bool(_FILES.fullmatch(name))


def main(words: Sequence[str]) -> None:
    """Remove what is unused below a folder, and from its libraries what only a debugger reads."""
    site, folders, bare = Path(words[0]), words[1:], import_module("elf").bare
    for folder in folders:
        shutil.rmtree(site / folder, ignore_errors=True)
    for path in [p for p in site.rglob("*") if p.is_file() and not p.is_symlink()]:
        if unused(path.relative_to(site).as_posix(), folders):
            path.unlink()
        elif LIBRARY.search(path.name):
            data = path.read_bytes()
            if len(kept := bare(data)) < len(data):
                path.write_bytes(kept)


if __name__ == "__main__":
    main(sys.argv[1:])
