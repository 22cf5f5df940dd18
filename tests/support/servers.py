"""Servers as programs of their own: started on a free port, waited for, stopped. A missing one fails its tests."""

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

PATIENCE_SECONDS = 30.0
MORE_FOLDERS = ("/usr/sbin", "/usr/local/sbin")


def free_port() -> int:
    """Returns a port that nobody else is handed for the next minute: it is left in TIME_WAIT, where a server that
    asks for it by number (SO_REUSEADDR) still gets it.
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
    """Returns the path of a program; fails the test that needs it, and names what to install, where it is not there."""
    folders = os.pathsep.join((os.environ["PATH"], *MORE_FOLDERS))
    found = shutil.which(name, path=folders)
    if found is None:
        pytest.fail(f"{name} is not here, and this test is about it: {package}", pytrace=False)
    return found


def post(port: int, path: str, body: bytes, content_type: str) -> None:
    """Sends a server on this machine a body, which it must take."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
    with contextlib.closing(connection):
        connection.request("POST", path, body, {"Content-Type": content_type})
        answer = connection.getresponse()
        assert answer.status < 300, answer.read()


@contextlib.contextmanager
def served(
    command: Sequence[str], port: int, *, log: Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Runs a server while inside, from when its port answers. What it says goes to `log`."""
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
    until = time.monotonic() + PATIENCE_SECONDS
    while not is_ready():
        ended = process.poll()
        if ended is not None or time.monotonic() > until:
            why = f"ended with {ended}" if ended is not None else f"did not answer within {PATIENCE_SECONDS:.0f} s"
            pytest.fail(f"{process.args!r} {why}: {log.read_text(errors='replace')[-2000:]}", pytrace=False)
        time.sleep(0.03)


def _answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
