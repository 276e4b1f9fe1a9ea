"""`python -m setsail.cli`: the same as the command `setsail`."""

from setsail.cli import main

main()
