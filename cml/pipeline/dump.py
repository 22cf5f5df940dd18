"""dvc.lock and .dvc files change at once: DVC empties one first and then writes it, and what is killed or finds the
disk full in between leaves a project that DVC cannot read.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dvc.repo import Repo

MARK = "cml-new-"


def _replace(path: Path, text: str, by_way_of: Path) -> None:
    """Writes a file in UTF-8: all of it, or nothing. Until it is whole it stands in the folder `by_way_of`, where
    `half_written` finds it after a kill.
    """
    target, new = path.resolve(), by_way_of / f"{MARK}{os.getpid()}"
    try:
        new.write_text(text, encoding="utf-8")
        if target.exists():
            new.chmod(stat.S_IMODE(target.stat().st_mode))
        try:
            new.replace(target)
        except OSError:  # another file system, a file that is mounted alone, a folder where nothing may be renamed
            target.write_text(text, encoding="utf-8")
    finally:
        new.unlink(missing_ok=True)


def half_written(folder: Path) -> list[Path]:
    return list(folder.glob(f"{MARK}*"))


def dump_at_once(repo: Repo) -> None:
    """From now on DVC writes its files of YAML in that way."""
    from dvc.utils.serialize import _common, _yaml

    def dump(path: Any, data: Any, dumper: Callable[..., Any], **options: Any) -> None:
        options.pop("fs", None)  # the local one, whatever it is handed
        stream = io.StringIO()
        dumper(data, stream, **options)
        _replace(Path(path), stream.getvalue(), Path(repo.tmp_dir))

    _common._dump_data = _yaml._dump_data = dump
