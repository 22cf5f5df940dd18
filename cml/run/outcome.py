"""The outcome of a run, and what its report is about: data only."""

from __future__ import annotations

from dataclasses import dataclass

from cml.model.report import Baseline, Failure, PipelineSection


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The results commit on origin, and its tag ("" if tag_prefix is empty)."""

    sha: str
    tag: str


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The outcome of a run.

    `head` is the commit that the report is about. `changed_paths` are the files with new results. With `is_report_only`
    nothing was run: the report shows what git contains for `head`.
    """

    head: str
    baseline: Baseline | None
    template: str | None
    changed_paths: tuple[str, ...] = ()
    saved: Saved | None = None
    failure: Failure | None = None
    is_report_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a report is about. `revision` is the commit whose values are shown, None for the work tree; `sha` is the
    commit that the report names.
    """

    sha: str
    revision: str | None = None
    has_workspace_changes: bool = False
    hash_workspace: bool = False
    pipeline: PipelineSection | None = None
    failure: Failure | None = None
