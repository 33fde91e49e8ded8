"""``python -m generalist.cli``."""

from generalist.cli import main

main()
