"""Program <-> bytes: the `.setsail` file (`docs/format.md`) and the safety gate. The only door for untrusted files.

`write` and `read` are the two verbs; `gate` (what a program may contain) and `verdict` (which programs have passed
their trial run) are imported by name, by those who are about to run a program.
"""

from setsail.artifact.artifact import Artifact
from setsail.artifact.draft import Draft, Facet
from setsail.artifact.layout import Limits
from setsail.artifact.read import read
from setsail.artifact.write import write

__all__ = ["Artifact", "Draft", "Facet", "Limits", "read", "write"]
