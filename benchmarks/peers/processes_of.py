"""$WORKERS processes of one script, for servers that have no such option. They share the port (SO_REUSEPORT)."""

import os
import subprocess
import sys
from collections.abc import Callable


def run(serve: Callable[[], object]) -> None:
    """Serve here, and in $WORKERS - 1 children, which end with their parent's signal."""
    if "CHILD" in os.environ:
        serve()
        return
    more = int(os.environ["WORKERS"]) - 1
    children = [subprocess.Popen([sys.executable, *sys.argv], env={**os.environ, "CHILD": "1"}) for _ in range(more)]
    try:
        serve()
    finally:
        for child in children:
            child.terminate()
