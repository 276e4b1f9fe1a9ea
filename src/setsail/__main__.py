"""`python -m setsail`: the command line, where the folder of scripts is not on the path."""

from importlib import import_module

import_module("setsail.cli").main()
