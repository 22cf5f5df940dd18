"""Atomic writes of dvc.lock and .dvc files."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dvc.utils.serialize import _common, _yaml

from cml.process.patch import Replacement

PREFIX = "cml-new-"


class AtomicWrites(Replacement):
    """Replaces `dvc.utils.serialize._common._dump_data`, by which DVC writes every YAML file.

    DVC empties the file first and then writes it. A process that is killed in between, or a full disk, leaves a project
    that DVC cannot read (DVC 3.67 and main of June 2026 still do that). With this patch the file has its old or its
    new text. It is for correctness: it costs nothing that can be measured, and saves nothing. `_yaml` imports the
    function by name, so both modules get it.

    New files are made in `folder`, which is on the file system of the project.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._dump_as_dvc = _common._dump_data

    def replacements(self) -> list[tuple[Any, str, Any]]:
        self._dump_as_dvc = _common._dump_data
        return [(module, "_dump_data", self._dump) for module in (_common, _yaml)]

    def _dump(self, path: Any, data: Any, dumper: Callable[..., Any], **options: Any) -> None:
        if Path(path).suffix == ".tmp":  # DVC itself writes this one under another name and renames it
            self._dump_as_dvc(path, data, dumper, **options)
            return
        options.pop("fs", None)  # DVC writes YAML in the local file system only
        # In memory first: if the dumper fails, no file has changed.
        stream = io.StringIO()
        dumper(data, stream, **options)
        new = self._folder / f"{PREFIX}{os.urandom(4).hex()}"
        # Resolved, so that a dvc.lock that is a link stays one.
        replace_file(Path(path).resolve(), stream.getvalue(), new)


def unfinished_files(folder: Path) -> list[Path]:
    """Returns the new files that a killed process left in a project's folder for temporary files."""
    return list(folder.glob(f"{PREFIX}*"))


def replace_file(target: Path, text: str, new: Path) -> None:
    """Writes a file atomically in UTF-8: it makes the file `new` and renames it to `target`.

    Where a rename is not possible (another file system, a file that is a mount point, a directory without write
    permission), the file is overwritten, and gets its old text back if that fails.
    """
    try:
        new.write_text(text, encoding="utf-8")
        try:
            _copy_permissions(target, new)
            new.replace(target)
        except OSError:
            _overwrite(target, text)
    finally:
        new.unlink(missing_ok=True)


def _copy_permissions(old: Path, new: Path) -> None:
    """Gives the new file the group, the mode and, if allowed, the owner of the old one. Raises OSError."""
    if not old.exists():
        return
    # A rename would replace a file that its owner has made read-only.
    if not os.access(old, os.W_OK):
        raise PermissionError
    of_old, of_new = old.stat(), new.stat()
    if (of_old.st_uid, of_old.st_gid) != (of_new.st_uid, of_new.st_gid):
        # Only root may change the owner; a member of the group may keep the group.
        try:
            os.chown(new, of_old.st_uid, of_old.st_gid)
        except PermissionError:
            os.chown(new, -1, of_old.st_gid)
    if stat.S_IMODE(of_old.st_mode) != stat.S_IMODE(of_new.st_mode):
        new.chmod(stat.S_IMODE(of_old.st_mode))


def _overwrite(file: Path, text: str) -> None:
    before = file.read_bytes() if file.exists() else b""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError:
        # The disk is full: the old text fits, as it was there before.
        with contextlib.suppress(OSError):
            if before:
                file.write_bytes(before)
        raise
