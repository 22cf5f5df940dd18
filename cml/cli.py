"""The door: the only place that exits. Whatever goes wrong ends here as one line."""

from __future__ import annotations

import gc
import os
import signal
import sys

from cml.errors import Cancelled, CmlError, show_traceback

TYPE_CHECKING = False  # typing's own costs half as much as a bare Python to import
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

AT_WORK = ("run", "plan", "gather", "report", "compare", "publish", "doctor")


def main() -> NoReturn:
    """Entry point of `cml`."""
    _exit(sys.argv[1:])


def dvc_cml_run() -> NoReturn:
    """Entry point of the seed's `dvc_cml_run`, which is `cml run`."""
    _exit(["run", *sys.argv[1:]])


def _exit(arguments: Sequence[str]) -> NoReturn:
    gc.disable()  # until DVC is open: imports leave no garbage worth the search
    is_at_work = arguments[:1] and arguments[0] in AT_WORK
    if is_at_work:
        # Signals wait until the handlers are installed: an import must not be interrupted half-way.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    import contextlib

    code = 1
    try:
        if is_at_work:
            from cml.process import signals

            signals.install_handlers()
        from cml.commands.parser import dispatch

        code = dispatch(arguments)
    except CmlError as error:
        _show(error)
        code = error.exit_code
    except Cancelled as error:
        _say(f"cancelled by {error.signal_name}; nothing is half-pushed, and a run from here goes on")
    except BrokenPipeError:
        code = 0 if arguments[:1] in (["report"], ["compare"], ["plan"]) else 1  # whoever read it has read enough
    except Exception as error:
        _show(error)
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    # Threads of a storage library that are still at it must not keep a cancelled run from ending.
    os._exit(code)


def _show(error: Exception) -> None:
    text = " ".join(str(error).split()) or type(error).__name__
    if not isinstance(error, CmlError):
        text = f"unexpected {type(error).__name__}: {text}. CML_DEBUG=1 shows where; please report it"
    show_traceback(error)
    _say(text)


def _say(text: str) -> None:
    import contextlib

    from cml.process.masking import Masks
    from cml.remotes.kinds import holds_secret

    text = Masks.from_environment(os.environ, holds_secret=holds_secret).mask(text)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from actions_toolkit import core

        with contextlib.redirect_stdout(sys.stderr):
            core.error(text)
    else:
        with contextlib.suppress(OSError):
            sys.stderr.write(f"error: {text}\n")
