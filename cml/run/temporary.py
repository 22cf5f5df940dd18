"""Where this process puts its temporary files."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """Puts the temporary files of this process into the run's private folder, which the next run removes if this one is
    killed. Child processes use the usual folder.
    """
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
