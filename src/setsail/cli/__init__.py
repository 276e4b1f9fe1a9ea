"""The command line: one module per verb, each of which parses, calls, prints and exits (`contract.md` §2).

`main` is what the command `setsail` runs; `reference` is docs/cli.md, made from the same help texts.
"""

from setsail.cli.root import main, reference

__all__ = ["main", "reference"]
