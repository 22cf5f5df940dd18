"""Signals, worker threads and child processes: a cancelled command stops its work and leaves no process behind.

INT, TERM and HUP raise Cancelled in the main thread. DVC ignores INT in the main thread while a stage runs, so long
work runs in a worker thread and the main thread waits for it.
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
GRACE_SECONDS = 2.0  # between TERM and KILL, and for a cancelled thread to end
UNWIND_SECONDS = 0.3  # for a thread to end by itself once its child processes are gone
POLL_SECONDS = 0.2
PR_SET_CHILD_SUBREAPER = 36  # of Linux's prctl(2)
T = TypeVar("T")


class _ThreadCancelled(Cancelled):
    """Cancelled, raised in a worker thread. Python creates it without arguments, so it has none."""

    def __init__(self) -> None:
        super().__init__("the main thread")


def install_handlers() -> None:
    """Makes the first signal raise Cancelled. Later signals are ignored, so that cleanup always completes."""

    def cancel(number: int, _: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise Cancelled(signal.Signals(number).name)

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores HUP: keep that
            signal.signal(number, cancel)
    # `cml.cli` blocks the signals before it imports this module: a signal that arrived since then is delivered now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    _become_subreaper()


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Delays signals until the end of the block: use it around steps that must happen together or not at all."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def in_background(work: Callable[[], T]) -> Iterator[Callable[[], T]]:
    """Starts `work` in a thread and yields a function that waits for it, returns its result or raises its error.

    Work that has not finished at the end of the block (after Cancelled, for example) is stopped: first all child
    processes are ended. If the thread still runs a moment later, it is cancelled too: otherwise it would go on to
    write files that have been cleaned up.
    """
    results: list[T] = []
    errors: list[BaseException] = []
    # Not Thread.join: when a signal interrupts a join, Python up to 3.12 treats the thread as finished.
    is_finished = threading.Event()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            is_finished.set()

    def wait() -> T:
        # The kernel may deliver a signal to the worker thread, which does not wake the main thread. Python runs the
        # handler only in the main thread, so the main thread has to wake up now and then.
        while not is_finished.wait(timeout=POLL_SECONDS):
            pass
        if errors:
            raise errors[0]
        return results[0]

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield wait
    finally:
        if not is_finished.is_set():
            end_children()
            if not is_finished.wait(timeout=UNWIND_SECONDS) and thread.ident:
                _raise_in_thread(thread.ident)
                is_finished.wait(timeout=GRACE_SECONDS)


def run_in_thread(work: Callable[[], T]) -> T:
    """Runs `work` in a thread while this thread waits for signals. Returns its result or raises its error."""
    with in_background(work) as wait:
        return wait()


def _raise_in_thread(thread_id: int) -> None:
    """Raises _ThreadCancelled in another thread, at its next Python instruction."""
    # There is no other way to stop a thread. One that waits in C code notices it late, so child processes end first.
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread_id), ctypes.py_object(_ThreadCancelled))


@contextlib.contextmanager
def end_children_on_cancel() -> Iterator[None]:
    """Ends all child processes when the block is cancelled, also processes that outlive the child which started them
    (the helpers of git continue after git was killed).
    """
    try:
        yield
    except Cancelled:
        end_children()
        raise


def end_children() -> None:
    """Ends all descendants of this process: sends TERM, waits for GRACE_SECONDS, sends KILL.

    The list is read again in each round, because a process can start another one before it ends.
    """
    import psutil  # only needed when a run is cancelled

    this_process = psutil.Process(os.getpid())
    deadline = time.monotonic() + GRACE_SECONDS
    terminated: set[psutil.Process] = set()
    while children := this_process.children(recursive=True):
        is_late = time.monotonic() > deadline
        for child in children:
            if child in terminated and not is_late:
                continue
            terminated.add(child)
            with contextlib.suppress(psutil.Error):  # it has ended meanwhile
                if is_late:
                    child.kill()
                else:
                    child.terminate()
        psutil.wait_procs(children, timeout=0.1)
        if time.monotonic() > deadline + GRACE_SECONDS:
            return  # not even KILL works: a process in uninterruptible sleep, on a dead network disk for example


def reap_children() -> None:
    """Reaps child processes that have exited, so that none remains as a zombie."""
    # As a subreaper we are also the parent of what stages left behind, which nobody else waits for.
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _become_subreaper() -> None:
    """Makes this process the new parent of orphaned descendants, so that `end_children` finds them. Linux only."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
