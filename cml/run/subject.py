"""What a report is about, before anything of it is read."""

from __future__ import annotations

from dataclasses import dataclass

from cml.model.report import Failure, PipelineSection


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a report is about. `revision` is the commit whose values are shown, or None for the work tree; `sha` is the
    commit it is called by.
    """

    sha: str
    revision: str | None = None
    has_workspace_changes: bool = False
    hash_workspace: bool = False
    pipeline: PipelineSection | None = None
    failure: Failure | None = None
