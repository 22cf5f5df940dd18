"""What DVC has read of a project is kept: left alone, it forgets it around every command and every look at a commit,
and reads every dvc.yaml and dvc.lock anew, which is most of what its commands cost.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dvc.repo import Repo

# What `Repo._reset` forgets.
READ = ("index", "dvcignore", "dvcfs", "datafs", "config")


@contextlib.contextmanager
def one_command(repo: Repo) -> Iterator[None]:
    """Inside, calls of DVC's are parts of one command, as its own commands call each other: the project is locked, and
    what was read of it stays. Whoever changes the project's files has to `repo._reset()`; a stage that runs does.
    """
    with repo.lock:
        repo._lock_depth += 1
        try:
            yield
        finally:
            repo._lock_depth -= 1


@contextlib.contextmanager
def at_revision(repo: Repo, revision: str | None) -> Iterator[None]:
    """Inside, DVC reads a commit, by its full sha, instead of the work tree; None leaves it there. What it had read of
    the work tree is back afterwards.
    """
    from dvc import scm
    from dvc.repo.brancher import switch

    if revision is None:
        yield
        return
    kept = {name: repo.__dict__.pop(name) for name in READ if name in repo.__dict__}
    resolve_rev, scm.resolve_rev = scm.resolve_rev, lambda _, sha: sha  # its own looks among experiments' names too
    try:
        with switch(repo, revision):
            yield
    finally:
        scm.resolve_rev = resolve_rev
        repo.__dict__.update(kept)


@contextlib.contextmanager
def standing_still(repo: Repo) -> Iterator[None]:
    """Inside, DVC stays at the commit that it reads, whatever it is told: it would forget that one first."""
    repo.switch = contextlib.nullcontext
    try:
        yield
    finally:
        del repo.switch
