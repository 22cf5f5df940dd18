"""Entry points. The only module that exits; prints every error as one line."""

from __future__ import annotations

import gc
import os
import signal
import sys

from cml.errors import BadInput, Cancelled, CmlError, show_traceback

TYPE_CHECKING = False  # not from typing: importing that takes half as long as starting Python
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

# Commands that start processes and write files, so that a signal must clean up.
WORKING = ("run", "plan", "gather", "report", "compare", "publish", "doctor")
# Commands whose stdout may be read by `head`, which closes it early.
PRINTING = ("report", "compare", "plan")


def main() -> NoReturn:
    """Entry point of `cml`."""
    _exit(sys.argv[1:])


def dvc_cml_run() -> NoReturn:
    """Entry point of `dvc_cml_run`, the older name of `cml run`."""
    _exit(["run", *sys.argv[1:]])


def _exit(arguments: Sequence[str]) -> NoReturn:
    # Imports create no garbage that is worth collecting. It is enabled again when DVC is open.
    gc.disable()
    is_working = bool(arguments) and arguments[0] in WORKING
    if is_working:
        # Until there are handlers: a signal during an import must not end in a traceback.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    code = 1
    try:
        if is_working:
            # Not at the top: signals must be blocked first, and `cml --help` needs no handlers.
            from cml.process import signals

            signals.install_handlers()
        # After the handlers, for the same reason.
        from cml.commands.parser import dispatch

        code = dispatch(arguments)
    except CmlError as error:
        _print_error(error)
        code = error.exit_code
    except ImportError as error:
        # Versions of packages that do not fit together, such as DVC 3.63 and pathspec 1 (dvc #10950).
        show_traceback(error)
        _print(f"cannot load a Python package: {error}. Its version may be wrong: pip install --upgrade dvc-cml")
        code = BadInput.exit_code
    except Cancelled as error:
        _print(f"cancelled by {error.signal_name}; no incomplete results were pushed. Run again to continue")
    except BrokenPipeError:  # the reader of stdout has read enough
        code = 0 if arguments and arguments[0] in PRINTING else 1
    except Exception as error:
        _print_error(error)
    try:  # noqa: SIM105 - contextlib costs time to import
        sys.stderr.flush()
    except OSError:  # nobody reads the log any more
        pass
    # Not sys.exit: it waits for threads, and a thread of a storage library may never end.
    os._exit(code)


def _print_error(error: Exception) -> None:
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, CmlError):
        text = f"unexpected {type(error).__name__}: {text}. CML_DEBUG=1 shows where it happened; please report it"
    show_traceback(error)
    _print(text)


def _print(text: str) -> None:
    # Only when there is an error to print.
    from cml.process.masking import Masks
    from cml.remotes.kinds import holds_secret

    text = Masks.from_environment(os.environ, holds_secret=holds_secret).mask(text)
    try:
        if os.environ.get("GITHUB_ACTIONS") == "true":
            # Only on GitHub.
            from actions_toolkit import core

            sys.stdout = sys.stderr  # the toolkit prints to stdout, which is for results
            core.error(text)
        else:
            sys.stderr.write(f"error: {text}\n")
    except OSError:  # nobody reads the log any more
        pass
