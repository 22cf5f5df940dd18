"""Opens the DVC project of a directory: checks the version of DVC, and explains what DVC cannot read."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dvc
from dvc.config import Config
from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.repo import Repo

from cml.dvc import recovery
from cml.dvc.logging import forward_warnings, one_line
from cml.errors import BadInput
from cml.process.log import Log

OLDEST = (3, 63)
NEWEST_TESTED = (3, 67)  # by CI; tests/test_dvc_versions.py compares it with the locked version
Configure = Callable[[Mapping[str, Mapping[str, object]], str], Mapping[str, Any]]


def open_repo(directory: Path, log: Log, configure: Configure | None) -> Repo:
    """Opens the DVC project that contains a directory. `configure` gets its remotes (name -> options) and the name of
    the default one, and returns the configuration to merge. Raises BadInput where there is no project, or DVC cannot
    read it.
    """
    check_version(dvc.__version__, log)
    # DVC 3 reads a Dvcfile as nothing at all, and then reports a project without stages.
    if (directory / "Dvcfile").exists():
        raise BadInput("Dvcfile is from DVC 0.x, and DVC 3 cannot read it: move its stage to dvc.yaml (dvc stage add)")
    # `cli` disables the garbage collector while modules are imported. What was imported stays until the end.
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
    forward_warnings(log)
    try:
        root = Path(Repo.find_root(str(directory)))
        # Before the project is opened: with an rwlock that is not JSON, each command of DVC fails (dvc #7615).
        recovery.remove_stale_lock(root / ".dvc" / "tmp" / "rwlock")
        found = Config(str(root / ".dvc"))
        # Passed to Repo, not merged later: DVC reads its configuration again after each locked call.
        settings = dict(configure(found["remote"], found["core"].get("remote", ""))) if configure else None
        repo = Repo(str(directory), config=settings)
        # DVC prints hints for its users, and with `core.autostage` adds files to the index of git. We commit only what
        # belongs to the results.
        repo.scm_context.quiet = True
        repo.scm_context.autostage = False
    except NotDvcRepoError:
        raise BadInput(
            f"{directory} is not a DVC project (no .dvc folder): set working_directory, or start with `dvc init`"
        ) from None
    except DvcException as error:
        raise unreadable_project(error) from None
    return repo


def check_version(version: str, log: Log) -> None:
    """Raises BadInput for a DVC that is too old; for one that CI has not tested, the log gets a warning."""
    match = re.match(r"(\d+)\.(\d+)", version)
    # A version that cannot be read is one that somebody built, for a test of their own.
    found = (int(match[1]), int(match[2])) if match else NEWEST_TESTED
    if found < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise BadInput(f"DVC {version} is installed, and CML needs {oldest} or newer: pip install 'dvc>={oldest},<4'")
    if found > NEWEST_TESTED:
        # Not a warning of the report: its readers cannot change the version.
        newest = ".".join(map(str, NEWEST_TESTED))
        log.line(f"warning: DVC {version} is newer than {newest}, the newest version that CML was tested with")


def unreadable_project(error: DvcException) -> BadInput:
    """Returns what DVC cannot read of a project, with what DVC prints below its message: the key that its schema
    refuses, or the line that is not YAML.
    """
    text = one_line(error)
    for flaw in _schema_errors(error)[:1]:
        if ".dvc'" in text and flaw.path == ["cmd"]:
            name = getattr(error, "path", "").removeprefix("./")
            return BadInput(
                f"{name} is a stage from DVC 0.x, and DVC 3 cannot read it: move it to dvc.yaml (dvc stage add)"
            )
        text += f": {flaw.error_message} ({'.'.join(map(str, flaw.path))})"
    if mark := getattr(error.__cause__, "problem_mark", None):
        text += f", line {mark.line + 1}"
    return BadInput(f"DVC cannot read the project: {text}{_advice(error)}")


def _advice(error: DvcException) -> str:
    """Returns advice for a dvc.lock that ends too early, or that has both sides of a merge in it."""
    path = str(getattr(error, "relpath", "") or getattr(error, "path", "")).removeprefix("./")
    if os.path.basename(path) != "dvc.lock":
        return ""
    if any("required key" not in flaw.error_message for flaw in _schema_errors(error)):
        return ""
    if getattr(error, "hint", ""):  # DVC has found the markers of a merge
        return "; a merge left both sides in it: take one (git checkout --ours or --theirs), and run again"
    return f"; a killed DVC process may have left it half written: git checkout {path} restores the committed version"


def _schema_errors(error: DvcException) -> list[Any]:
    return list(getattr(getattr(error, "exc", None), "errors", ()))
