"""Collects the experiments of a report: the latest tagged commits of the branch, and their metrics."""

from __future__ import annotations

from collections.abc import Mapping

from cml.config.settings import Settings
from cml.dvc.project import Project
from cml.dvc.revisions import Snapshot, SnapshotRequest, Values
from cml.git.repository import Repository
from cml.git.trailers import head_of_results
from cml.model.report import Experiment, Name, Value
from cml.run.outcome import Subject


def collect_experiments(
    project: Project, repository: Repository, settings: Settings, subject: Subject, *, new: Snapshot
) -> tuple[Experiment, ...]:
    """Returns the experiments, the newest first: the results of this run, then the tagged commits before it."""
    if not settings.experiments or not settings.tag_prefix:
        return ()
    tagged = repository.tagged_commits(subject.sha, settings.tag_prefix, settings.experiments)
    current = _by_name(new.metrics)
    experiments = []
    if subject.has_workspace_changes:
        experiments.append(_experiment(repository, "workspace", subject.sha, current, is_current=True))
    elif all(sha != subject.sha for _, sha in tagged):
        name = repository.short_sha(subject.sha)
        experiments.append(_experiment(repository, name, subject.sha, current, is_current=True))
    tagged = tagged[: settings.experiments - len(experiments)]
    earlier = [sha for _, sha in tagged if experiments or sha != subject.sha]
    # All commits with two git processes, before each of them is needed.
    commits = repository.commits(earlier)
    repository.commits([head for commit in commits if (head := head_of_results(commit.message))])
    for tag, sha in tagged:
        is_current = sha not in earlier
        metrics = current if is_current else _read_metrics(project, sha, settings.metrics_diff_targets)
        experiments.append(_experiment(repository, tag, sha, metrics, is_current=is_current))
    return tuple(experiments)


def _read_metrics(project: Project, sha: str, targets: tuple[str, ...] | None) -> dict[Name, Value]:
    if targets is None:
        return {}
    return _by_name(project.snapshot(sha, SnapshotRequest(metrics=targets)).metrics)


def _by_name(metrics: Values) -> dict[Name, Value]:
    return {(path, name): value for path, values in metrics.items() for name, value in values.items()}


def _experiment(
    repository: Repository, name: str, sha: str, metrics: Mapping[Name, Value], *, is_current: bool
) -> Experiment:
    commit = repository.commit(sha)
    # The message of a results commit is always the same. What was tried is in the message of its head commit.
    head = head_of_results(commit.message)
    if head and (tried := repository.resolve(head)):
        commit = repository.commit(tried)._replace(date=commit.date)
    return Experiment(
        name=name,
        sha=sha,
        subject=commit.subject,
        author=commit.author,
        date=commit.date,
        url=None,
        is_current=is_current,
        metrics=metrics,
    )
