"""How a run ends early: INT, TERM and HUP become Cancelled in the main thread, and no child outlives it.

DVC ignores INT in the main thread while a stage runs, so long work runs in a thread beside it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TypeVar

from cml.errors import Cancelled

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE_SECONDS = 2.0
MOMENT_SECONDS = 0.3
T = TypeVar("T")


class _Ended(Cancelled):
    """Cancelled, in a thread that no signal reaches. Python makes it itself, so it takes no arguments."""

    def __init__(self) -> None:
        super().__init__("its caller")


def listen() -> None:
    """Makes the first signal raise Cancelled; later ones are ignored, so that the way out is walked to its end."""

    def cancel(number: int, _: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Cancelled(signal.Signals(number).name)

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup's HUP stays ignored
            signal.signal(number, cancel)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    _adopt_orphans()


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Inside, signals wait: what is begun there is either done or not begun."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def in_background(work: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Begins work in a thread of its own. What is yielded waits for it, while this thread hears signals, and returns
    what it returned or raises what it raised.

    Work that is not over at the end, on Cancelled among others, is ended: first every child, then, after a moment to
    unwind, the thread is cancelled as well, or it would go on to write what has been cleaned up.
    """
    outcome: list[T] = []
    problem: list[BaseException] = []
    over = threading.Event()  # a join that a signal ends takes the thread for ended as well (Python up to 3.12)

    def run() -> None:
        try:
            outcome.append(work())
        except BaseException as error:
            problem.append(error)
        finally:
            over.set()

    def finish() -> T:
        # The kernel may hand the signal to the other thread, which does not wake this one: so it looks up now and then.
        while not over.wait(timeout=0.2):
            pass
        if problem:
            raise problem[0]
        return outcome[0]

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield finish
    finally:
        if not over.is_set():
            end_children()
            if not over.wait(timeout=MOMENT_SECONDS) and thread.ident:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Ended))
                over.wait(timeout=GRACE_SECONDS)


def run_in_thread(work: Callable[[], T]) -> T:
    """Returns what `work` returns or raises what it raises, run in a thread beside this one: see `begun`."""
    with in_background(work) as finish:
        return finish()


@contextlib.contextmanager
def end_children_on_cancel() -> Iterator[None]:
    """On Cancelled no child outlives what is inside: not what draws beside it, and not git's own helpers, which go on
    after git itself was killed.
    """
    try:
        yield
    except Cancelled:
        end_children()
        raise


def end_children() -> None:
    """Ends every process below this one: TERM, a moment, KILL. One that lost its parent on the way is below us too."""
    import psutil

    here = psutil.Process(os.getpid())
    until = time.monotonic() + GRACE_SECONDS
    asked: set[psutil.Process] = set()
    while children := here.children(recursive=True):
        is_late = time.monotonic() > until
        for child in children:
            if is_late or child not in asked:
                asked.add(child)
                with contextlib.suppress(psutil.Error):
                    (child.kill if is_late else child.terminate)()
        psutil.wait_procs(children, timeout=0.1)
        if time.monotonic() > until + GRACE_SECONDS:
            return


def reap_children() -> None:
    """Takes leave of the adopted children that have ended, so that none of them stays as a zombie."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _adopt_orphans() -> None:
    """Makes processes that lose their parent ours (Linux's PR_SET_CHILD_SUBREAPER), so that they can be ended."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
