"""Controls a real Chromium over its debugging pipe: window width, key presses, JavaScript, the accessibility tree."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
KEYS = {"Enter": ("\r", 13), " ": (" ", 32), "Tab": ("", 9)}


class Page:
    """One page. Its methods raise AssertionError if the browser reports an error."""

    def __init__(self, into: int, out: int) -> None:
        self._into = into
        self._out = os.fdopen(out, "rb", closefd=False)
        self._count = 0
        self._session = ""

    def open(self, file: Path, *, width: int = 1200, dark: bool = False) -> None:
        """Loads a file into a fresh page of this width."""
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._ask("Page.enable")
        self._ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._ask("Emulation.setEmulatedMedia", features=scheme)
        self._ask("Page.navigate", url=file.as_uri())
        self._await("Page.loadEventFired")

    def value(self, expression: str) -> Any:
        """Returns the value of a JavaScript expression."""
        found = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str) -> None:
        text, code = KEYS[key]
        self._ask("Input.dispatchKeyEvent", type="keyDown", key=key, text=text, windowsVirtualKeyCode=code)
        self._ask("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def type(self, text: str) -> None:
        self._ask("Input.insertText", text=text)

    def accessible_nodes(self) -> list[dict[str, Any]]:
        """Returns the nodes of the accessibility tree that a screen reader gets, as {"role", "name"}."""
        nodes = self._ask("Accessibility.getFullAXTree")["nodes"]
        return [
            {"role": node["role"]["value"], "name": node.get("name", {}).get("value", "")}
            for node in nodes
            if not node.get("ignored")
        ]

    def _ask(self, method: str, **parameters: Any) -> Any:
        self._count += 1
        message: dict[str, Any] = {"id": self._count, "method": method, "params": parameters}
        if self._session and not method.startswith("Target."):
            message["sessionId"] = self._session
        os.write(self._into, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]

    def _await(self, event: str) -> None:
        while self._read().get("method") != event:
            pass

    def _read(self) -> dict[str, Any]:
        found = bytearray()
        while (byte := self._out.read(1)) != b"\0":
            assert byte, "the browser has exited"
            found += byte
        answer: dict[str, Any] = json.loads(found)
        return answer


def _move_descriptor(number: int) -> int:
    """Moves a file descriptor to a number from 10 on, so that 3 and 4 are free for the browser."""
    moved = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 10)
    os.close(number)
    return moved


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Runs a browser in the block. It reads commands from descriptor 3 and answers on 4."""
    assert CHROMIUM, "CML_TEST_BROWSER=required, but Chromium is not installed: apt-get install chromium"
    (commands, into), (out, answers) = (map(_move_descriptor, os.pipe()) for _ in range(2))
    arguments = [CHROMIUM, *OPTIONS, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
    nowhere = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in (0, 1, 2)]
    pipes = [(os.POSIX_SPAWN_DUP2, commands, 3), (os.POSIX_SPAWN_DUP2, answers, 4)]
    process = os.posix_spawn(CHROMIUM, arguments, {**os.environ}, file_actions=[*nowhere, *pipes], setsid=True)
    os.close(commands)
    os.close(answers)
    try:
        yield Page(into, out)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(into)
        os.close(out)
