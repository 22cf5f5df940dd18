"""A user's template, rendered in a child process: it ends in time, in little memory, and with nothing at hand.

Jinja's sandbox keeps a template from what it must not touch, but not from loops without end or texts without measure.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys

from cml.report.jinja import TemplateProblem, TooLong, render_user_template
from cml.report.truncation import fitted
from cml.report.view import View

SECONDS, SECONDS_IN_ALL = 4, 30  # of one rendering, and of all that a limit asks for
MEMORY = 512 << 20
LONGEST = 16 << 20  # characters of a rendering
START = "import sys; sys.path[:] = sys.argv[1:]; from cml.report.sandbox import serve; serve()"


def render_contained(template: str, view: View, limit: int | None) -> str:
    """Returns the Markdown of at most `limit` bytes that a user's template makes. Raises TemplateProblem."""
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-c", START, *filter(None, sys.path)],
            input=pickle.dumps((template, view, limit)),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ},
            timeout=SECONDS_IN_ALL,
            check=False,
        )
    except OSError as error:
        raise TemplateProblem(f"the process that renders it did not start: {error}") from None
    except subprocess.TimeoutExpired:
        raise TemplateProblem(f"it takes longer than {SECONDS_IN_ALL} s to fit into its place") from None
    if child.returncode == -signal.SIGPROF:
        raise TemplateProblem(_too_long())
    try:
        answer = json.loads(child.stdout)
    except ValueError:
        raise TemplateProblem("it is more than Jinja can render") from None
    if "problem" in answer:
        raise TemplateProblem(answer["problem"])
    return str(answer["text"])


def serve() -> None:
    """The child: template, view and limit on stdin, the text or the problem on stdout."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    signal.signal(signal.SIGALRM, _stop)
    template, view, limit = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our parent

    def write(view: View) -> str:
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        signal.setitimer(signal.ITIMER_PROF, SECONDS + 0.5)  # ends what never comes back to Python
        text = render_user_template(template, view.context())
        if len(text) > LONGEST:
            raise TemplateProblem(f"it writes {len(text)} characters, and {LONGEST} are the most")
        return text

    try:
        answer = {"text": fitted(view, write, limit)}
    except TemplateProblem as error:
        answer = {"problem": str(error)}
    signal.setitimer(signal.ITIMER_REAL, 0)
    sys.stdout.write(json.dumps(answer))


def _stop(*_: object) -> None:
    raise TooLong(_too_long())


def _too_long() -> str:
    return f"it takes longer than {SECONDS} s"
