"""The command `setsail`, and `python -m setsail`."""

import gc
from importlib import import_module

__all__ = ["main"]

# Importing makes many objects that live as long as the process. Looking for garbage among them every 700 costs a
# quarter of the time until a server answers; `setsail serve` sets Python's own numbers again once it does.
_STARTING = 50_000


def main() -> None:
    """Run the command line."""
    gc.set_threshold(_STARTING)
    import_module("setsail.cli").main()


if __name__ == "__main__":
    main()
