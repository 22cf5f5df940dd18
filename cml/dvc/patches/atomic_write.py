"""dvc.lock and .dvc files change at once: DVC empties one first and then writes it, and what is killed or finds the
disk full in between leaves a project that DVC cannot read.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dvc.repo import Repo

MARK = "cml-new-"


def dump_at_once(repo: Repo) -> None:
    """From now on DVC writes its files of YAML in that way, but for those that it renames itself."""
    from dvc.utils.serialize import _common, _yaml

    plain = _common._dump_data
    if hasattr(plain, "plain"):
        plain = plain.plain

    def dump(path: Any, data: Any, dumper: Callable[..., Any], **options: Any) -> None:
        if Path(path).suffix == ".tmp":
            plain(path, data, dumper, **options)
            return
        options.pop("fs", None)  # the local one, whatever it is handed
        stream = io.StringIO()
        dumper(data, stream, **options)
        _replace(Path(path).resolve(), stream.getvalue(), Path(repo.tmp_dir, f"{MARK}{os.urandom(4).hex()}"))

    dump.plain = plain  # type: ignore[attr-defined]  # of several projects, one after the other
    _common._dump_data = _yaml._dump_data = dump


def half_written(folder: Path) -> list[Path]:
    """Returns what a kill has left of new files in a project's folder for temporary ones."""
    return list(folder.glob(f"{MARK}*"))


def _replace(target: Path, text: str, new: Path) -> None:
    """Writes a file in UTF-8 by way of a new one: all of it, or nothing. Where no other file can take the old one's
    place (on another file system, mounted alone, in a folder where nothing may be renamed) it is written as it stands.
    """
    try:
        new.write_text(text, encoding="utf-8")
        try:
            _liken(new, target)
            new.replace(target)
        except OSError:
            _overwrite(target, text)
    finally:
        new.unlink(missing_ok=True)


def _liken(new: Path, old: Path) -> None:
    """Gives the new file what the old one has: group, mode, and where we may the owner. Raises OSError."""
    if not old.exists():
        return
    if not os.access(old, os.W_OK):
        raise PermissionError
    seen, own = old.stat(), new.stat()
    if (seen.st_uid, seen.st_gid) != (own.st_uid, own.st_gid):
        try:
            os.chown(new, seen.st_uid, seen.st_gid)
        except PermissionError:
            os.chown(new, -1, seen.st_gid)
    if stat.S_IMODE(seen.st_mode) != stat.S_IMODE(own.st_mode):
        new.chmod(stat.S_IMODE(seen.st_mode))


def _overwrite(file: Path, text: str) -> None:
    before = file.read_bytes() if file.exists() else b""
    try:
        file.write_text(text, encoding="utf-8")
    except OSError:
        with contextlib.suppress(OSError):
            if before:
                file.write_bytes(before)
        raise
