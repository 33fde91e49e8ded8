"""How the scripts of this package end when the user made a mistake."""

from __future__ import annotations

from collections.abc import Callable

import typer

from generalist.types import GeneralistError


def run(command: Callable[[], object]) -> None:
    """Run a command; a mistake in the input ends with one line and status 2."""
    try:
        command()
    except GeneralistError as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(2) from error
