"""Reads another revision than the work tree."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dvc.repo.brancher import switch

from cml.dvc.patches.git_files import DulwichFiles
from cml.dvc.patches.keep_reading import KeepWorkTree

if TYPE_CHECKING:
    from dvc.repo import Repo


@contextlib.contextmanager
def at_revision(repo: Repo, revision: str | None) -> Iterator[None]:
    """Inside, DVC reads a commit, named by its full sha, instead of the work tree; None is the work tree.

    Raises NotDvcRepoError where the commit has no DVC project.
    """
    if revision is None:
        yield
        return
    with KeepWorkTree(repo), DulwichFiles(), switch(repo, revision):
        yield
