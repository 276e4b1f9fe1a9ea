"""Each test in a folder of its own."""

from own_folder import _here, _made, given  # noqa: F401
