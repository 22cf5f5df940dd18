"""Renders a user's template in a child process with little time and memory and without the job's environment.

Jinja's sandbox keeps a template away from Python's internals, but not from endless loops or endless text.
"""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import subprocess
import sys

from cml.report.jinja import MEMORY_MB, TemplateProblem, TimeIsUp, render_user_template
from cml.report.truncation import fit
from cml.report.view import View

SECONDS = 4  # for rendering once
SECONDS_IN_ALL = 30  # for all renderings that a size limit needs
MAX_CHARACTERS = 16 << 20  # of what a template writes
START = "import sys; sys.path[:] = sys.argv[1:]; from cml.report.sandbox import serve; serve()"


def render_in_sandbox(template: str, view: View, limit: int | None) -> str:
    """Returns the Markdown of a user's template, in at most `limit` bytes. Raises TemplateProblem."""
    # The job's environment may contain tokens, so the child gets an empty one. With -I Python imports nothing from the
    # working directory and reads no PYTHON* variables; our own sys.path is passed as arguments.
    environment = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-c", START, *filter(None, sys.path)],
            # Pickle goes to the child only. The child runs a template that a stranger may have written, and unpickling
            # its answer could run code here: so the answer is JSON.
            input=pickle.dumps((template, view, limit)),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            timeout=SECONDS_IN_ALL,
            check=False,
        )
    except OSError as error:
        raise TemplateProblem(f"cannot start the process that renders it: {error}") from None
    except subprocess.TimeoutExpired:
        raise TemplateProblem(f"it takes longer than {SECONDS_IN_ALL} s to fit the report into its limit") from None
    if child.returncode == -signal.SIGPROF:
        raise TemplateProblem(_too_slow())
    try:
        answer = json.loads(child.stdout)
    except ValueError:
        raise TemplateProblem("the process that renders it crashed: it is too large or nested too deeply") from None
    if "problem" in answer:
        raise TemplateProblem(answer["problem"])
    return str(answer["text"])


def serve() -> None:
    """Runs in the child: reads template, view and limit from stdin, writes the text or the problem to stdout."""
    memory = MEMORY_MB << 20
    # No core dump: it would be written into the project's folder.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Not RLIMIT_AS: libraries reserve much more address space than they use.
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    signal.signal(signal.SIGALRM, _stop)
    template, view, limit = pickle.load(sys.stdin.buffer)  # noqa: S301 - our parent wrote it

    def write(view: View) -> str:
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        # A signal handler runs between two steps of Python. A single step that never ends, such as 10 ** (10 ** 10),
        # is ended by a signal that has no handler.
        signal.setitimer(signal.ITIMER_PROF, SECONDS + 0.5)
        text = render_user_template(template, view.context())
        if len(text) > MAX_CHARACTERS:
            raise TemplateProblem(f"it writes {len(text)} characters; at most {MAX_CHARACTERS} are allowed")
        return text

    try:
        answer = {"text": fit(view, write, limit)}
    except TemplateProblem as error:
        answer = {"problem": str(error)}
    signal.setitimer(signal.ITIMER_REAL, 0)
    sys.stdout.write(json.dumps(answer))


def _stop(*_: object) -> None:
    raise TimeIsUp(_too_slow())


def _too_slow() -> str:
    return f"it takes longer than {SECONDS} s"
