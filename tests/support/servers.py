"""Servers in their own process: started on a free port and stopped at the end. A missing program fails the test."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

TIMEOUT_SECONDS = 30.0
MORE_FOLDERS = ("/usr/sbin", "/usr/local/sbin")


def free_port() -> int:
    """Returns a free port. It stays in TIME_WAIT for a minute: the system gives it to nobody who asks for any free port,
    but a server that asks for its number (with SO_REUSEADDR) gets it.
    """
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        with socket.create_connection(listener.getsockname()) as there:
            here, _ = listener.accept()
            here.close()
            there.recv(1)
        return int(listener.getsockname()[1])


def program(name: str, package: str) -> str:
    """Returns the path of a program. If it is missing, the test fails and says what to install."""
    folders = os.pathsep.join((os.environ["PATH"], *MORE_FOLDERS))
    found = shutil.which(name, path=folders)
    if found is None:
        pytest.fail(f"this test needs {name}: {package}", pytrace=False)
    return found


def post(port: int, path: str, body: bytes, content_type: str) -> None:
    """Sends a body to a server on this machine; fails unless it is accepted."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    with contextlib.closing(connection):
        connection.request("POST", path, body, {"Content-Type": content_type})
        answer = connection.getresponse()
        assert answer.status < 300, answer.read()


@contextlib.contextmanager
def served(
    command: Sequence[str], port: int, *, log: Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Runs a server in the block, which begins once its port answers. Its output goes to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        _wait(lambda: _answers(port), process, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(is_ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + TIMEOUT_SECONDS
    while not is_ready():
        ended = process.poll()
        if ended is not None or time.monotonic() > until:
            why = f"ended with {ended}" if ended is not None else f"did not answer within {TIMEOUT_SECONDS:.0f} s"
            pytest.fail(f"{process.args!r} {why}: {log.read_text(errors='replace')[-2000:]}", pytrace=False)
        time.sleep(0.03)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
