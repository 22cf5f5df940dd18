"""The git repository that a run works in: everything that the other modules of this package can do, in one object."""

from __future__ import annotations

from cml.git.remote import Remote
from cml.git.work_tree import WorkTree


class Repository(WorkTree, Remote):
    """A work tree and its `origin`. Raises BadInput on opening where there is none, or git is missing or too old.

    How git is called: `command`. Questions about commits: `history`. New commits: `commits`. Files that are checked
    out: `work_tree`. Fetch and push: `remote`.
    """
