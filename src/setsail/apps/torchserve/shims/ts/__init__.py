"""What handlers import from TorchServe: its base classes, context and utilities, in our own words.

On the path of a handler's process only, as the package `ts`. It has what handlers use (docs/frameworks/torchserve.md
lists it), and nothing of the server. torch and Pillow are imported when a handler needs them.
"""

__version__ = "0.12.0"
