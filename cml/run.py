"""The story of one run, top to bottom. Each function is a step; `run` is the table of contents."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from cml import __version__
from cml.baseline import find_baseline
from cml.errors import BadInput, WorkFailed
from cml.forges.base import Outputs, Twin
from cml.interrupt import beside
from cml.pipeline.project import Pipeline, StageFailed
from cml.report import files
from cml.report.collect import Subject, collect
from cml.report.model import Baseline, Failure
from cml.repository import REMOTE
from cml.save import Saved, refused, save_commit, save_data
from cml.session import Session
from cml.settings import Settings
from cml.skip import skip_reason

AUTO = ("auto",)
PUBLISHED_LIMIT = 58_000
FOLDER = Path(files.FOLDER)


@dataclass(kw_only=True)
class Work:
    """What a run has come to. `branch` is where results go, None when nothing is to be pushed; targets that are None
    were switched off. `is_looking_on` means that nothing was run: the report shows what git holds of `head`.
    """

    head: str
    baseline: Baseline | None
    branch: str | None
    targets: tuple[str, ...] | None
    pulled: tuple[str, ...] | None
    template: str | None
    changed_paths: list[str] = field(default_factory=list)
    saved: Saved | None = None
    failure: Failure | None = None
    is_looking_on: bool = False


class ForeignStorage(Exception):
    """On a fork's pull request the storage cannot be read."""


def run(here: Session) -> int:
    """Does the main job and returns the exit code. Raises BadInput, with nothing touched."""
    head = _head(here)
    context = here.forge.context
    if context.is_ci and (reason := skip_reason(here.repository.commit(head).message)):
        return skip(here, head, reason)
    if not context.reproduces:
        return tell(here, here.open_pipeline(), look_on(here, head))
    with standing_on(here, head):
        pipeline = here.open_pipeline()
        work = prepare(here, pipeline, head)
    if twin := here.forge.begin(here.settings.key):
        return follow(here, twin, head)
    try:
        set_up(here, pipeline, work)
        pull(here, pipeline, work)
        reproduce(here, pipeline, work)
        save(here, pipeline, work)
    except WorkFailed as error:
        work.failure = Failure(step=error.step, message=here.log.masks.mask(str(error)), log_tail=error.log_tail)
        here.log.error(f"{error.step}: {error}")
    except ForeignStorage as error:
        here.log.warning(
            f"a fork's run gets no secrets, so nothing is reproduced; the report shows what git holds: {error}"
        )
        work.is_looking_on = True
    return tell(here, pipeline, work)


def skip(here: Session, head: str, reason: str) -> int:
    here.log.step("skip", reason)
    _hand_on(here, Outputs(skipped=True, sha=head))
    return 0


def follow(here: Session, twin: Twin, head: str) -> int:
    """Takes the result of a run that has done the same work, or leaves the work to the one that is at it."""
    if twin.outputs is None:
        here.log.step("twin", f"another run is at the same work: {twin.url}")
        _hand_on(here, Outputs(skipped=True, sha=head, report_url=twin.url))
        return 0
    here.log.step("twin", f"another run has done the same work, and its result stands: {twin.url}")
    published = here.forge.adopt(twin)
    for warning in published.warnings:
        here.log.warning(warning)
    _hand_on(here, twin.outputs)
    return twin.exit_code


@contextlib.contextmanager
def standing_on(here: Session, head: str) -> Iterator[None]:
    """Stands on the head commit of a pull request instead of its merge commit; back again on bad input."""
    repository = here.repository
    before = repository.branch() or repository.head()
    if repository.head() == head or before is None:
        yield
        return
    if not repository.stand_on(head):
        raise BadInput(f"the work tree has changes that stand in the way of {head[:7]}, the commit this run is for")
    try:
        yield
    except BadInput:
        repository.stand_on(before)
        raise


def look_on(here: Session, head: str) -> Work:
    """For events whose code must not be run: a report of what git holds."""
    template = _template(here.settings)
    here.log.line(f"start      cml {__version__} for {here.forge.context.event}; nothing is run or pushed for it")
    baseline = find_baseline(here.repository, here.settings, here.forge.context, head)
    here.repository.exclude(f"{files.FOLDER}/")
    here.log.step("baseline", f"{baseline.name}, {baseline.reason}" if baseline else "none: no commit is before this")
    return Work(
        head=head, baseline=baseline, branch=None, targets=None, pulled=None, template=template, is_looking_on=True
    )


def prepare(here: Session, pipeline: Pipeline, head: str) -> Work:
    """Finds what the run will need before any work is done, and refuses what cannot end well."""
    settings = here.settings
    targets = () if settings.is_whole_project else settings.repro_targets
    pulled = settings.dvc_pull
    if targets:
        targets = pipeline.check_targets(targets, variable="repro_targets")
    if pulled and pulled != AUTO:
        pulled = pipeline.check_targets(pulled, variable="dvc_pull")
    if (settings.push or pulled is not None) and (homeless := pipeline.homeless_outputs()):
        raise BadInput(
            f"these outputs have nowhere to go, since no DVC remote is set for them: {', '.join(homeless[:10])}. "
            "Add a default one (dvc remote add -d NAME URL), or work without: push=false dvc_pull=-"
        )
    branch = _push_branch(here)
    if branch and (uncommitted := _uncommitted(here, pipeline)):
        raise BadInput(
            f"push is on, and stages depend on what no commit holds: {', '.join(uncommitted[:10])}. Commit it, or set "
            "push to false"
        )
    template = _template(settings)
    _introduce(here, branch)
    baseline = find_baseline(here.repository, settings, here.forge.context, head)
    here.repository.exclude(f"{files.FOLDER}/")
    here.log.step("baseline", f"{baseline.name}, {baseline.reason}" if baseline else "none: no commit is before this")
    return Work(head=head, baseline=baseline, branch=branch, targets=targets, pulled=pulled, template=template)


def _introduce(here: Session, branch: str | None) -> None:
    context = here.forge.context
    place = {"local": "a laptop", "github": "GitHub", "gitlab": "GitLab"}[context.place]
    results = f"results go to {branch}" if branch else f"results stay here, {context.no_push or 'push is off'}"
    here.log.line(f"start      cml {__version__} on {place}; {results}")
    if context.is_ci and not context.slug:
        here.log.warning(f"{place} is not connected, so the report is in this log and in {files.FOLDER}/ alone")


def set_up(here: Session, pipeline: Pipeline, work: Work) -> None:
    """Asks whether the push will be allowed, before anything costs time, then runs the user's own lines."""
    if work.branch:
        outcome = here.repository.can_push(work.head, work.branch)
        if not outcome.is_done and not outcome.is_stale:
            raise refused(outcome, work.branch, here.forge.context.push_advice)
    if not here.settings.setup:
        return
    with here.log.children() as tail:
        command = ["sh", "-e", "-c", here.settings.setup]
        code = beside(lambda: subprocess.run(command, stdin=subprocess.DEVNULL).returncode)
    if code:
        raise WorkFailed(f"a line of setup ended with exit code {code}", step="setup", log_tail=tail.text)
    pipeline.reload()
    here.log.step("setup", "done")


def pull(here: Session, pipeline: Pipeline, work: Work) -> None:
    targets = work.pulled
    if targets is None:
        decision = "left out by `-`"
    elif not pipeline.has_cached_outputs():
        decision = "every output lives in git: nothing to pull"
    elif targets == AUTO:
        decision = "auto: only what stages that must run need"
    else:
        context = here.forge.context
        try:
            decision = beside(lambda: pipeline.pull(targets, may_overwrite=context.is_ci))
        except WorkFailed as error:
            if context.pull and context.pull.is_fork:
                raise ForeignStorage(str(error)) from error
            raise
    here.log.step("pull", decision)


def reproduce(here: Session, pipeline: Pipeline, work: Work) -> None:
    targets, is_auto = work.targets, work.pulled == AUTO
    if targets is None:
        return here.log.step("reproduce", "left out by `-`")
    if is_auto and pipeline.is_up_to_date(targets):
        return here.log.step("reproduce", "every stage is up to date, and nothing was pulled")
    with here.log.children() as tail:
        try:
            beside(lambda: pipeline.reproduce(targets, pull_missing=is_auto))
        except StageFailed as error:
            message = f"the stage {error.stage} failed: {error.reason}{_what_helps(tail.text)}"
            raise WorkFailed(message, step="reproduce", log_tail=tail.text) from error
    counts = {
        words: sum(run.status == status for run in pipeline.runs)
        for status, words in {
            "ran": "ran",
            "restored": "restored from the run cache",
            "up to date": "up to date",
            "frozen": "frozen",
        }.items()
    }
    told = ", ".join(f"{count} {words}" for words, count in counts.items() if count)
    return here.log.step("reproduce", told or "the project has no stages")


def _what_helps(log_tail: str) -> str:
    """Returns advice for a stage that lacks a package: CML's own packages, DVC among them, are not the stages'."""
    missing = re.search(r"ModuleNotFoundError: No module named '([\w.-]{1,80})'", log_tail)
    if not missing:
        return ""
    name = missing[1].partition(".")[0]
    return f". It lacks the Python package {name}: put it into your requirements, and install those in `setup`"


def save(here: Session, pipeline: Pipeline, work: Work) -> None:
    changed = here.repository.changed_files()
    work.changed_paths = pipeline.own_files(changed, lambda path: here.repository.blob(work.head, path))
    if not work.changed_paths:
        if work.branch and any(stage.status in ("ran", "restored") for stage in pipeline.runs):
            # Made anew and found the same: the DVC remote may lack what HEAD names, and now we have it.
            beside(lambda: save_data(pipeline, here.log, head=work.head))
        return here.log.step("save", "nothing changed, so there is nothing to save")
    if not work.branch:
        why = here.forge.context.no_push or "push is off"
        return here.log.step("save", f"{', '.join(work.changed_paths[:5])} changed and stay here: {why}")
    beside(lambda: save_data(pipeline, here.log, head=work.head))
    work.saved = save_commit(
        here.repository,
        pipeline,
        here.log,
        head=work.head,
        paths=work.changed_paths,
        branch=work.branch,
        tag_prefix=here.settings.tag_prefix,
        subject=here.settings.commit_message,
        identity=here.forge.context.identity,
        advice=here.forge.context.push_advice,
    )


def tell(here: Session, pipeline: Pipeline, work: Work) -> int:
    """Reports and publishes, whatever the work came to; returns the exit code."""
    is_edited = work.saved is None and (bool(work.changed_paths) or _is_edited(here, pipeline))
    subject = Subject(
        sha=work.saved.sha if work.saved else work.head,
        revision=work.head if work.is_looking_on else None,
        has_workspace_changes=is_edited and not work.is_looking_on,
        pipeline=None if work.is_looking_on else pipeline.section(),
        failure=work.failure,
    )
    files.clear(FOLDER)
    report = collect(
        pipeline, here.repository, here.settings, here.log, subject=subject, baseline=work.baseline, folder=FOLDER
    )
    files.write_report(report, FOLDER, settings=here.settings, template=work.template, log=here.log)
    here.log.step("report", f"{FOLDER}/report.md and report.html")
    code = 1 if report.failure else 3 if report.verdict == "failed" else 0
    outputs = Outputs(
        changed=bool(work.changed_paths),
        sha=subject.sha,
        tag=work.saved.tag if work.saved else "",
        verdict=report.verdict,
        report=os.path.relpath(FOLDER.resolve() / "report.md", here.repository.top),
    )
    published = here.forge.publish(
        report,
        markdown=lambda limit: files.markdown(
            report, settings=here.settings, template=work.template, log=here.log, limit=limit
        ),
        folder=FOLDER,
        outputs=outputs,
        exit_code=code,
    )
    for warning in published.warnings:
        here.log.warning(warning)
    _hand_on(here, replace(outputs, report_url=published.url))
    return code


def report(here: Session) -> int:
    """`cml report`: what is here against the baseline; no pull, reproduce, push or publishing."""
    head = _head(here)
    pipeline = here.open_pipeline()
    template = _template(here.settings)
    baseline = find_baseline(here.repository, here.settings, here.forge.context, head)
    is_edited = _is_edited(here, pipeline) or pipeline.has_changed_outputs()
    subject = Subject(sha=head, has_workspace_changes=is_edited, hash_workspace=True)
    return _print(here, pipeline, subject, baseline, template)


def compare(here: Session, old: str, new: str) -> int:
    """`cml compare A B`: two revisions; the work tree plays no part."""
    shas = []
    for revision in (old, new):
        sha = None if revision.startswith("-") else here.repository.resolve(revision)
        if sha is None:
            raise BadInput(f"{revision!r} is no commit here: expected a branch, a tag or a commit")
        shas.append(sha)
    pipeline = here.open_pipeline()
    template = _template(here.settings)
    subject = Subject(sha=shas[1], revision=shas[1])
    return _print(here, pipeline, subject, Baseline(name=old, sha=shas[0], reason=f"against {new}"), template)


def publish(here: Session, folder: Path) -> int:
    """`cml publish DIR`: posts a report that another run saved, to the pull request that the event is about."""
    from cml.report.saved import read_report

    path = folder / "report.json"
    try:
        found = read_report(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is no saved report: {' '.join(str(error).split())}") from None
    found = replace(found, name=here.settings.report_name)
    text = files.markdown(found, settings=here.settings, template=None, log=here.log, limit=PUBLISHED_LIMIT)
    published = here.forge.comment(text)
    for warning in published.warnings:
        here.log.warning(warning)
    if published.url:
        here.log.step("publish", published.url)
    return 0


def _print(here: Session, pipeline: Pipeline, subject: Subject, baseline: Baseline | None, template: str | None) -> int:
    here.repository.exclude(f"{files.FOLDER}/")
    files.clear(FOLDER)
    found = collect(
        pipeline, here.repository, here.settings, here.log, subject=subject, baseline=baseline, folder=FOLDER
    )
    here.stdout.write(files.write_report(found, FOLDER, settings=here.settings, template=template, log=here.log))
    here.stdout.flush()
    return 3 if found.verdict == "failed" else 0


def _head(here: Session) -> str:
    context, repository = here.forge.context, here.repository
    head = context.head or repository.head()
    if head is None:
        raise BadInput("the repository has no commit yet: make the first one, then run again")
    if repository.resolve(head) is None:
        # A pull request's workspace holds its merge commit alone.
        for ref in ([context.pull.fetch_ref] if context.pull else []) + [head]:
            repository.fetch(ref, tip_only=True)
    if repository.resolve(head) is None:
        raise BadInput(f"{head[:7]}, the commit this run is for, is neither here nor on {REMOTE}: was it pushed over?")
    return head


def _template(settings: Settings) -> str | None:
    """Tries what the report will be written with, before any work: the locale, and the user's own template."""
    try:
        settings.metrics_format.value(0.0, locale=settings.locale)
    except ValueError:
        raise BadInput(
            f"locale is {settings.locale!r}, which Babel does not know: expected one such as en, de or pt_BR"
        ) from None
    return files.read_template(settings)


def _push_branch(here: Session) -> str | None:
    context, repository = here.forge.context, here.repository
    if not here.settings.push or context.no_push:
        return None
    if repository.origin_url() is None:
        raise BadInput(f"push is on, and the repository has no remote {REMOTE}: git remote add {REMOTE} URL")
    branch = context.push_branch or repository.branch()
    if branch is None:
        raise BadInput("push is on, and HEAD is on no branch: git switch BRANCH, or set push to false")
    if context.identity is None and not repository.has_identity():
        raise BadInput("push is on, and git knows no author: git config user.name NAME, git config user.email MAIL")
    return branch


def _uncommitted(here: Session, pipeline: Pipeline) -> list[str]:
    sources = pipeline.sources()
    return sorted(
        path
        for path in here.repository.changed_files()
        if path in sources or sources & {str(parent) for parent in Path(path).parents}
    )


def _is_edited(here: Session, pipeline: Pipeline) -> bool:
    """Whether the work tree differs from HEAD in what the report shows."""
    if _uncommitted(here, pipeline):
        return True
    return bool(pipeline.own_files(here.repository.changed_files(), lambda path: here.repository.blob("HEAD", path)))


def _hand_on(here: Session, outputs: Outputs) -> None:
    here.repository.exclude(f"{files.FOLDER}/")
    files.write_outputs(outputs, FOLDER)
    here.forge.set_outputs(outputs)
