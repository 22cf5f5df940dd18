"""A machine without a forge, such as a laptop: the report is printed on the terminal."""

from __future__ import annotations

import contextlib
from typing import TextIO

from cml.forges.base import Context, Forge, Publication, Published


class Local(Forge):
    """Also serves a job on a forge that gave no token."""

    has_terminal = True

    def __init__(self, context: Context, terminal: TextIO) -> None:
        super().__init__(context)
        self._terminal = terminal

    def publish(self, publication: Publication) -> Published:
        with contextlib.suppress(OSError):  # nobody reads the terminal any more; the files are complete
            self._terminal.write(publication.terminal)
            self._terminal.flush()
        # No forge has a page for it: people open the file in a browser.
        return Published(url=(publication.folder / "report.html").resolve().as_uri())

    def comment(self, text: str) -> Published:
        self._terminal.write(text)
        self._terminal.flush()
        return Published()


def read_context() -> Context:
    """Returns the context of a run that no forge started."""
    return Context(forge_name="local", event="local")
