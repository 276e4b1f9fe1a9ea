"""Archives of TorchServe: `archive.py` reads them, `vision.py` makes a program of those that need no code."""

from setsail.convert.mar.archive import MANIFEST, Archive, archive, handled, holds, trust

__all__ = ["MANIFEST", "Archive", "archive", "handled", "holds", "trust"]
