"""The ``generalist`` program. Nothing heavy is imported here, so that ``generalist --help`` starts at once."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

from generalist.cli.commands import app

__all__ = ["app", "execute", "main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program and exit: 0 done, 2 a mistake of the user's (one line on stderr), 130 interrupted."""
    sys.exit(execute(arguments))


def execute(arguments: Sequence[str] | None = None) -> int:
    """Run the program with ``arguments`` (those of the process if None); returns the exit status."""
    warnings.simplefilter("ignore")  # those of libraries, which a user can do nothing about
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show a character must not end the program
            stream.reconfigure(errors="backslashreplace")
    try:
        status = app(args=arguments, prog_name="generalist", standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has enough; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        message = _users_mistake(error)
        if message is None:
            raise
        if message:  # typer's is empty when it has printed the help instead
            print(f"error: {message}", file=sys.stderr)
        return 2
    return status if isinstance(status, int) else 0


def _users_mistake(error: Exception) -> str | None:
    """One line for an error that the user can mend; None for a defect of ours."""
    usage = getattr(error, "format_message", None)  # typer's errors about the command line itself
    if usage is not None:
        return " ".join(usage().split())
    from generalist.types import GeneralistError

    return " ".join(str(error).split()) if isinstance(error, GeneralistError) else None
