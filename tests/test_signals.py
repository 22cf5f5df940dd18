"""Work in a thread ends together with the main thread."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

WRITER = """\
import pathlib, shutil, sys, time
from cml.process import signals
from cml.errors import Cancelled

folder = pathlib.Path(sys.argv[1])

def write():
    print("at work", flush=True)
    while True:
        (folder / "deep").mkdir(parents=True, exist_ok=True)

signals.install_handlers()
try:
    signals.run_in_thread(write)
except Cancelled:
    shutil.rmtree(folder, ignore_errors=True)
    time.sleep(0.3)
    print("left" if folder.exists() else "gone")
"""


def test_a_thread_that_writes_is_cancelled_before_its_folder_is_removed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "place")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout
        assert program.stdout.readline() == "at work\n"
        time.sleep(0.3)  # until the main thread waits
        program.send_signal(signal.SIGTERM)
        assert program.stdout.read() == "gone\n"
