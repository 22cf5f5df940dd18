"""Starts `cml` and `dvc` by a fork of a process that has already imported DVC and the other libraries.

More than half of the CPU time of a short run is the import of libraries. Tests of what a command does to a project do
not need to repeat it: each command is still a process of its own, with its own environment, and imports `cml` itself
afresh. Tests of processes, tokens, imports and costs start real processes (see `PRELOADED` in conftest.py).
CML_TEST_PRELOAD=0 makes all tests do so.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

LIBRARIES = (
    *("dvc.cli.parser", "dvc.lock", "dvc.repo", "dvc.repo.metrics.diff", "dvc.repo.params.diff", "dvc.repo.plots"),
    *("dvc.repo.pull", "dvc.repo.push", "dvc.repo.reproduce", "dvc.scm", "dvc.stage.cache", "dvc.stage.run"),
    *("babel.dates", "babel.numbers", "babel.support", "dulwich.repo", "jinja2", "networkx", "psutil", "pygit2"),
    *("ruamel.yaml", "scmrepo.git"),
)
LARGEST_REQUEST = 200_000
STATUS = struct.Struct("i")


class Preloaded:
    """A process with imported libraries that forks one child for each command."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, str(Path(__file__)), str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)

    def run(
        self, command: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command, as subprocess.run with captured text."""
        until = time.monotonic() + timeout
        pipes = [os.pipe() for _ in range(3)]  # stdout, stderr, and the child's pid and exit status
        request = json.dumps({"command": list(command), "cwd": str(cwd), "env": dict(env)}).encode()
        assert len(request) < LARGEST_REQUEST
        socket.send_fds(self._socket, [request], [write for _, write in pipes])
        for _, write in pipes:
            os.close(write)
        out, err, ends = _read_all([read for read, _ in pipes], until)
        if len(ends) < 2 * STATUS.size:
            if ends:
                with suppress(ProcessLookupError):
                    os.kill(STATUS.unpack(ends[: STATUS.size])[0], signal.SIGKILL)
            raise subprocess.TimeoutExpired(list(command), timeout)
        [status] = STATUS.unpack(ends[STATUS.size :])
        return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(status), _text(out), _text(err))

    def close(self) -> None:
        self._socket.close()  # the process ends when it reads the end of the requests
        self._process.wait(timeout=10)


def _read_all(files: list[int], until: float) -> list[bytes]:
    """Reads file descriptors to their end or until a time, and closes them."""
    found = {file: bytearray() for file in files}
    with selectors.DefaultSelector() as selector:
        for file in files:
            selector.register(file, selectors.EVENT_READ)
        while selector.get_map() and time.monotonic() < until:
            for key, _ in selector.select(timeout=until - time.monotonic()):
                data = os.read(key.fd, 65536)
                found[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
    for file in files:
        os.close(file)
    return [bytes(found[file]) for file in files]


def _text(data: bytes) -> str:
    return data.decode().replace("\r\n", "\n").replace("\r", "\n")


def serve(requests: socket.socket) -> list[str]:
    """Forks a child for each request. Returns only in such a child, with its command."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps the children
    while True:
        request, files, *_ = socket.recv_fds(requests, LARGEST_REQUEST, 3)
        if not request:
            os._exit(0)
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            requests.close()
            return _start(request, *files)
        for file in files:
            os.close(file)


def _start(request: bytes, out: int, err: int, ends: int) -> list[str]:
    """Forks the command itself, and reports its pid and exit status from the parent. Returns in the command."""
    if (pid := os.fork()) != 0:
        os.close(out)
        os.close(err)
        os.write(ends, STATUS.pack(pid))
        os.write(ends, STATUS.pack(os.waitpid(pid, 0)[1]))
        os._exit(0)
    os.close(ends)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.close(out)
    os.close(err)
    given = json.loads(request)
    os.chdir(given["cwd"])
    os.environ.clear()
    os.environ.update(given["env"])
    command: list[str] = given["command"]
    return command


def main() -> None:
    for library in LIBRARIES:
        with suppress(ImportError):  # another DVC version may not have it
            importlib.import_module(library)
    gc.freeze()  # else the first collection in each child would copy the whole memory
    sys.path.pop(0)  # the folder of this file
    sys.argv = serve(socket.socket(fileno=int(sys.argv[1])))
    name, folder = sys.argv[0], str(Path(sys.executable).parent)
    sys.argv[0] = str(Path(folder, name))
    sys.path.insert(0, folder)
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        if name == "dvc" and isinstance(end.code, int):
            # DVC's command is not under test. To take down its modules would take as long as to import them.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code)
        raise


if __name__ == "__main__":
    main()
