"""Starts and ends pipelines and jobs of the stand-in GitLab.

Not modelled: stages, needs, child pipelines, the schedules of a project, and rules that prevent a pipeline.
"""

from __future__ import annotations

from standins.git_http import git
from standins.gitlab_model import LEVELS, ZEROS, EventType, Job, Pipeline, Project, Role
from standins.gitlab_state import State

STAGE = "test"


def start_pipeline(
    state: State,
    project: Project,
    source: str,
    *,
    login: str,
    ref: str | None,
    sha: str | None,
    tag: str | None,
    before: str | None,
) -> Pipeline:
    """Records the pipeline of a branch or a tag, at its tip or at an earlier sha."""
    name = tag or ref or project.default_branch
    tip = sha or (project.tags() if tag else project.branches())[name]
    parents = git("show", "--no-patch", "--format=%P", tip, cwd=project.bare).split()
    if before is None:
        before = parents[0] if source == "push" and parents and not tag else ZEROS
    pipeline = Pipeline(
        id=state.next_id(),
        iid=len(project.pipelines) + 1,
        source=source,
        ref=name,
        sha=tip,
        login=login,
        is_tag=tag is not None,
        before_sha=before,
        created_at=state.now(),
    )
    return _file(project, pipeline)


def start_merge_request_pipeline(
    state: State, target: Project, iid: int, *, event_type: EventType, login: str, in_target: bool
) -> tuple[Project, Pipeline]:
    """Records the pipeline of a merge request: of a fork in the fork, or `in_target` if a member of the target starts it.

    A merged result is a merge commit that no branch has. The pipeline in a fork has the branch as its ref.
    """
    item = target.merge_requests[iid]
    project = target if in_target else state.projects[item.source_project]
    is_detached = event_type == "detached"
    last = {"detached": "head", "merged_result": "merge", "merge_train": "train"}[event_type]
    ref, sha = f"refs/merge-requests/{iid}/{last}", item.sha if is_detached else item.merge_sha
    assert sha, "the branches conflict"
    if not is_detached:
        git("update-ref", ref, sha, cwd=target.bare)
    pipeline = Pipeline(
        id=state.next_id(),
        iid=len(project.pipelines) + 1,
        source="merge_request_event",
        ref=ref if project is target else item.source_branch,
        sha=sha,
        login=login,
        merge_request=iid,
        merge_request_project=target.path,
        event_type=event_type,
        source_branch=item.source_branch,
        source_sha="" if is_detached else item.sha,
        target_sha="" if is_detached else item.target_sha,
        created_at=state.now(),
    )
    return project, _file(project, pipeline)


def _file(project: Project, pipeline: Pipeline) -> Pipeline:
    project.pipelines[pipeline.id] = pipeline
    git("update-ref", f"refs/pipelines/{pipeline.id}", pipeline.sha, cwd=project.bare)
    return pipeline


def start_job(state: State, project: Project, pipeline: Pipeline, *, name: str, role: Role | None) -> Job:
    """Starts a job of a pipeline with its own token; an earlier job of the name becomes a retried one."""
    for older in project.jobs.values():
        older.is_retried |= older.pipeline == pipeline.id and older.name == name
    now = state.now()
    job = Job(
        id=state.next_id(),
        name=name,
        stage=STAGE,
        pipeline=pipeline.id,
        login=pipeline.login,
        created_at=now,
        started_at=now,
    )
    job.token = state.add_token("job", login=pipeline.login, role=role, project=project.path, job=job.id).value
    project.jobs[job.id] = job
    return job


def find_pipeline(state: State, job: int) -> tuple[Project, Pipeline, str]:
    """Returns the project and the pipeline of a job, and its name."""
    for project in state.projects.values():
        if record := project.jobs.get(job):
            return project, project.pipelines[record.pipeline], record.name
    raise KeyError(job)


def finish_job(state: State, job: int, status: str) -> None:
    project, _, _ = find_pipeline(state, job)
    project.jobs[job].status, project.jobs[job].finished_at = status, state.now()


def may_update(project: Project, pipeline: Pipeline, role: Role | None) -> bool:
    """Whether a role may change a pipeline. For a protected ref it must be allowed to push or merge there."""
    if pipeline.is_tag:
        return project.may_create_tag(role, pipeline.ref)
    return LEVELS[role] >= min(project.level(pipeline.ref, "push"), project.level(pipeline.ref, "merge"))
