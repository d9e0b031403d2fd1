"""How every command line ends: what a user can get wrong is one line on stderr and exit status 2, never a traceback.

A command line is `sys.exit(run_command("inspect", run))`, where `run` reads the arguments, does the work, prints the result and
returns the exit status. With `IMDYLAB_TRACEBACK=1` in the environment errors keep their traceback, for those who look for a
defect of the program.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Final

REFUSED: Final = 2
"""Exit status where arguments, files or data cannot be used (as argument parsers have it)."""
CLOSED_PIPE: Final = 141
"""Exit status where the reader of the output went away (128 + SIGPIPE, as shells count it)."""


def run_command(name: str, run: Callable[[], int | None]) -> int:
    """Exit status of a command: that of `run` (None is 0), or 2 after one line that says what is wrong.

    Args:
        name: What the line begins with.
        run: The whole command, parsing of the arguments included. ValueError, OSError and FloatingPointError (a training that
            diverged) are the user's to correct; anything else is a defect and keeps its traceback.
    """
    try:
        return run() or 0
    except BrokenPipeError:  # `... | head` has seen enough; Python would complain once more when it flushes at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except (ValueError, OSError, FloatingPointError) as error:
        if os.environ.get("IMDYLAB_TRACEBACK"):
            raise
        sys.stderr.write(f"{name}: {describe(error)}\n")
        return REFUSED


def describe(error: Exception) -> str:
    """One line about an error: its own text, or, where the system refused a file, which one, why, and what to do."""
    if isinstance(error, OSError) and error.strerror:
        found = error.strerror[:1].lower() + error.strerror[1:]
        place = "the disk" if error.filename is None else os.fspath(error.filename)
        return f"{place}: expected to be able to read or write here, found: {found}; give another path, or make room or rights"
    return " ".join(str(error).split()) or type(error).__name__
