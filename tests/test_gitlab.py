"""`cml run` as a job on GitLab, against the stand-in: tests of what only GitLab has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from standins.gitlab_checkout import Credentials
from support.jobs import GitLabJobs, close_jobs, push_branch
from support.world import World

from cml.forges.gitlab.context import read_context


@pytest.fixture
def lab(trained_world: World, tmp_path: Path) -> Iterator[GitLabJobs]:
    world = trained_world
    world.dvc("remote", "modify", "--quiet", "storage", "url", str(world.storage))
    world.commit("A remote by its whole path")
    lab = GitLabJobs(world, tmp_path / "gitlab", path="/gitlab", project="ada/vision/digits")
    yield lab
    close_jobs(lab)


def push_again(lab: GitLabJobs, files: dict[str, str]) -> str:
    """Pushes a commit of somebody to the branch `try`; returns its sha."""
    lab.world.git("fetch", "--quiet")
    lab.world.git("switch", "--quiet", "--detach", "origin/try")
    lab.world.write(files)
    lab.world.git("add", "--all")
    lab.world.git("commit", "--quiet", "--message", "More")
    lab.world.git("push", "--quiet", "origin", "HEAD:try")
    return lab.world.git("rev-parse", "HEAD")


def test_a_tag_gets_a_release_with_the_report(lab: GitLabJobs) -> None:
    push_branch(lab.world, "try", 0.1)
    done = lab.run(lab.push("try"), tag_prefix="dvc_")
    assert done.code == 0, done.err
    tip = lab.world.tip("try")
    release = lab.forge.releases()[f"dvc_{tip[:7]}"]
    assert release.description and release.description.startswith("## DVC Report")
    assert done.outputs["report_url"] == f"{lab.forge.url}/ada/vision/digits/-/releases/dvc_{tip[:7]}"
    assert lab.world.git("log", "-1", "--format=%an <%ae>", tip, cwd=lab.world.origin) == "Ada <ada@example.invalid>"
    assert lab.forge.unknown == []


@pytest.mark.parametrize("may_push", [True, False])
def test_with_the_job_token(lab: GitLabJobs, *, may_push: bool) -> None:
    lab.token = None
    lab.project.job_token_may_push = may_push
    head = push_branch(lab.world, "try", 0.1)
    number = lab.open_pull("try")
    done = lab.run(lab.pull(number), tag_prefix="dvc_")
    assert lab.reports(number) == []
    warnings = [line for line in done.err.splitlines() if line.startswith("warning:")]
    assert len(warnings) == 1, done.err
    assert "api and write_repository" in warnings[0]
    if may_push:
        assert done.code == 0, done.err
        tip = lab.world.tip("try")
        assert list(lab.forge.releases()) == [f"dvc_{tip[:7]}"]
        assert "accuracy" in done.out, "the log has the report"
    else:
        assert done.code == 1
        assert "train ran" not in done.err
        assert lab.world.tip("try") == head
    assert lab.forge.unknown == []


def test_push_and_merge_request_train_once_with_the_job_token(lab: GitLabJobs) -> None:
    lab.token = None
    lab.project.job_token_may_push = True
    push_branch(lab.world, "try", 0.1)
    number = lab.open_pull("try")
    jobs = (lab.push("try"), lab.pull(number))
    assert "train ran" in lab.run(jobs[0], tag_prefix="dvc_").err
    tip = lab.world.tip("try")
    done = lab.run(jobs[1], tag_prefix="dvc_")
    assert done.code == 0, done.err
    assert "train ran" not in done.err
    assert lab.world.tip("try") == tip
    assert (done.outputs["sha"], done.outputs["tag"]) == (tip, f"dvc_{tip[:7]}")
    assert done.outputs["changed"] == "true"


@pytest.mark.parametrize("event_type", ["detached", "merged_result", "merge_train"])
def test_every_kind_of_merge_request_pipeline(lab: GitLabJobs, event_type: str) -> None:
    head = push_branch(lab.world, "try", 0.1)
    lab.world.commit("Main moves on", {"README.md": "text\n"})
    number = lab.open_pull("try")
    env = lab.forge.pipeline("merge_request_event", merge_request=number, event_type=event_type)  # type: ignore[arg-type]
    done = lab.run(env)
    assert done.code == 0, done.err
    if event_type == "merge_train":
        assert lab.world.tip("try") == head
    else:
        assert lab.world.git("rev-parse", "try~1", cwd=lab.world.origin) == head
        assert lab.world.git("rev-list", "--count", "main..try", cwd=lab.world.origin) == "2"
        assert lab.conclusion(lab.world.tip("try")) == "success"
    assert len(lab.reports(number)) == 1
    assert lab.forge.unknown == []


def test_a_forks_merge_request_reports_in_the_fork_and_pushes_nothing(lab: GitLabJobs) -> None:
    fork = lab.forge.create_project("bob/digits", forked_from="ada/vision/digits", job_token_may_push=True)
    clone = lab.world.folder / "bobs"
    lab.world.git("clone", "--quiet", str(fork.bare), str(clone), cwd=lab.world.folder)
    lab.world.git("switch", "--quiet", "--create", "try", cwd=clone)
    lab.world.write({"params.yaml": "train:\n  rate: 0.1\n"}, cwd=clone)
    lab.world.git("commit", "--quiet", "--all", "--message", "From a fork", cwd=clone)
    lab.world.git("push", "--quiet", "origin", "try", cwd=clone)
    number = lab.forge.open_merge_request("try", fork="bob/digits").iid
    lab.token = None
    before = [
        lab.world.git("for-each-ref", "refs/heads", "refs/tags", cwd=bare) for bare in (fork.bare, lab.world.origin)
    ]
    done = lab.run(lab.pull(number), tag_prefix="dvc_")
    assert done.code == 0, done.err
    assert before == [
        lab.world.git("for-each-ref", "refs/heads", "refs/tags", cwd=bare) for bare in (fork.bare, lab.world.origin)
    ]
    assert done.outputs["changed"] == "true"
    assert lab.reports(number) == []
    assert lab.forge.releases() == {}


@pytest.mark.parametrize(("state", "kind"), [("closed", "project"), ("merged", "project"), ("closed", "job")])
def test_a_closed_merge_request_gets_a_report_only(lab: GitLabJobs, state: str, kind: str) -> None:
    lab.project.job_token_may_push = True
    lab.token = lab.token if kind == "project" else None
    head = push_branch(lab.world, "try", 0.1)
    number = lab.open_pull("try")
    env = lab.pull(number)
    lab.forge.close_merge_request(number, merge=state == "merged")
    done = lab.run(env)
    assert done.code == 0, done.err
    assert lab.world.tip("try") == head
    assert f"the merge request is {state}" in done.err


def test_a_tag_pipeline_reports_only(lab: GitLabJobs) -> None:
    push_branch(lab.world, "try", 0.1)
    lab.world.git("tag", "v1", "try", cwd=lab.world.origin)
    before = lab.world.tags()
    done = lab.run(lab.forge.pipeline("push", tag="v1"), tag_prefix="dvc_")
    assert done.code == 0, done.err
    assert lab.world.tags() == before
    assert "the run is for a tag" in done.err


@pytest.mark.parametrize("kind", ["project", "job"])
def test_no_kind_of_token_starts_an_endless_chain_of_pipelines(lab: GitLabJobs, kind: str) -> None:
    if kind == "job":
        lab.token = None
        lab.project.job_token_may_push = True
    push_branch(lab.world, "try", 0.1)
    number = lab.open_pull("try")
    assert lab.run(lab.pull(number), tag_prefix="dvc_").code == 0
    tip = lab.world.tip("try")
    started = [one for one in lab.forge.pipelines_started if one.sha == tip]
    assert bool(started) == (kind == "project")
    for one in started:
        tag = f"dvc_{tip[:7]}" if one.kind == "tag" else None
        env = lab.forge.pipeline("push", ref="try", tag=tag) if one.kind != "merge_request" else lab.pull(number)
        done = lab.run(env, tag_prefix="dvc_")
        assert done.code == 0, done.err
        assert done.outputs["skipped"] == "true"
    assert lab.world.tip("try") == tip
    assert len([one for one in lab.forge.pipelines_started if one.sha == tip]) == len(started)


@pytest.mark.parametrize("kind", ["project", "job"])
def test_a_protected_branch_is_refused_before_any_training(lab: GitLabJobs, kind: str) -> None:
    lab.token = lab.forge.token("project", role="developer") if kind == "project" else None
    lab.project.job_token_may_push = True
    lab.world.commit("On main", {"params.yaml": "train:\n  rate: 0.4\n"})
    done = lab.run(lab.forge.pipeline("push", ref="main", role="developer"))
    assert done.code == 1
    assert "protected" in done.err
    assert "train ran" not in done.err
    assert len([line for line in done.err.splitlines() if line.startswith("error:")]) == 1


def test_a_protected_tag_is_refused_and_the_branch_is_not_pushed_either(lab: GitLabJobs) -> None:
    lab.token = lab.forge.token("project", role="developer")
    lab.forge.protect_tag("dvc_*")
    head = push_branch(lab.world, "try", 0.1)
    done = lab.run(lab.push("try"), tag_prefix="dvc_")
    assert done.code == 1
    assert lab.world.tip("try") == head
    assert lab.forge.releases() == {}


@pytest.mark.parametrize(
    ("facts", "advice"),
    [
        ({"scopes": ("read_repository", "write_repository")}, "scopes api and write_repository"),
        ({"role": "guest"}, "role Developer"),
        ({"is_expired": True}, "expired"),
    ],
)
def test_what_a_token_lacks_is_named(lab: GitLabJobs, facts: dict[str, object], advice: str) -> None:
    head = push_branch(lab.world, "try", 0.1)
    env = lab.push("try")
    workspace = lab.start(env)
    lab.token = lab.forge.token("project", **facts)  # type: ignore[arg-type]
    done = lab.run(env, workspace=workspace)
    assert advice in done.err
    if "scopes" in facts:
        assert done.code == 0, done.err
        assert lab.world.tip("try") != head
    else:
        assert done.code in (1, 2)
        assert lab.world.tip("try") == head
        assert "train ran" not in done.err
    assert len([line for line in done.err.splitlines() if line.startswith("error:")]) == (0 if "scopes" in facts else 1)


def test_images_are_uploaded_once_under_hashed_names(lab: GitLabJobs) -> None:
    files = {"plot.csv": "step,loss\n0,1\n1,0.5\n2,0.2\n"}
    lab.world.write(files)
    yaml = (lab.world.project / "dvc.yaml").read_text()
    lab.world.write({"dvc.yaml": f"{yaml}plots:\n  - plot.csv:\n      x: step\n      y: loss\n"})
    lab.world.commit("Plots")
    push_branch(lab.world, "try", 0.1)
    number = lab.open_pull("try")
    assert lab.run(lab.pull(number), tag_prefix="dvc_").code == 0
    (report,) = lab.reports(number)
    uploads = lab.forge.uploads()
    assert len(uploads) == 1
    (release,) = lab.forge.releases().values()
    for text in (report, release.description or ""):
        assert f"](/uploads/{uploads[0].secret}/{uploads[0].name})" in text
    assert len(uploads[0].name) == len("0123456789abcdef.png")
    push_again(lab, {"README.md": "text\n"})
    assert lab.run(lab.pull(number), tag_prefix="dvc_").code == 0
    assert len(lab.forge.uploads()) == 1


@pytest.mark.parametrize(("credentials", "depth"), [("url", 1), ("include", 20), ("helper", 0)])
def test_every_checkout_works(lab: GitLabJobs, credentials: Credentials, depth: int) -> None:
    push_branch(lab.world, "try", 0.1)
    env = lab.push("try")
    workspace = lab.start(env, depth=depth, credentials=credentials)
    done = lab.run(env, workspace=workspace)
    assert done.code == 0, done.err
    assert lab.world.git("log", "-1", "--format=%s", "try", cwd=lab.world.origin) == "Update DVC results"


@pytest.mark.parametrize(
    ("route", "how"),
    [
        ("GET /projects/*/notes", "truncated"),
        ("POST /projects/*/notes", "done-reset"),
        ("POST /projects/*/releases", "done-reset"),
    ],
)
def test_errors_of_the_api_duplicate_nothing_and_lose_nothing(lab: GitLabJobs, route: str, how: str) -> None:
    """`make chaos` tries every endpoint in every way."""
    push_branch(lab.world, "try", 0.1)
    number = lab.open_pull("try")
    lab.forge.fail(route, times=1, how=how, seconds=1)
    done = lab.run(lab.pull(number), tag_prefix="dvc_")
    assert done.code == 0, done.err
    tip = lab.world.tip("try")
    assert len(lab.reports(number)) == 1
    assert list(lab.forge.releases()) == [f"dvc_{tip[:7]}"]
    assert len([status for status in lab.forge.statuses(tip) if status.name == "DVC Report"]) == 1


def test_the_note_is_found_on_any_page_and_only_our_own(lab: GitLabJobs) -> None:
    push_branch(lab.world, "try", 0.1)
    number = lab.open_pull("try")
    fake = lab.forge.comment(number, "<!-- cml-report: DVC Report -->\nmine", login="mallory")
    for count in range(120):
        lab.forge.comment(number, f"note {count}", system=count % 2 == 0)
    assert lab.run(lab.pull(number)).code == 0
    (ours,) = [note for note in lab.forge.notes(number) if note.login not in ("ada", "mallory")]
    before = ours.body
    push_again(lab, {"params.yaml": "train:\n  rate: 0.3\n"})
    assert lab.run(lab.pull(number)).code == 0
    assert [note for note in lab.forge.notes(number) if note.login not in ("ada", "mallory")] == [ours]
    assert ours.body != before
    assert fake.body.endswith("mine")


def test_no_line_of_a_report_is_executed_as_a_quick_action(lab: GitLabJobs) -> None:
    lab.world.git("switch", "--quiet", "--create", "try")
    lab.world.commit("Broken", {"train.py": "print('/close')\nprint('  /merge')\nraise SystemExit(1)\n"})
    number = lab.open_pull("try")
    lab.run(lab.pull(number))
    (note,) = lab.forge.notes(number)
    assert note.commands == []
    assert "/close" in note.body


def test_variables_of_the_template_override_those_of_the_project(lab: GitLabJobs) -> None:
    push_branch(lab.world, "try", 0.1)
    done = lab.run(lab.push("try"), INPUT_TAG_PREFIX="input_", tag_prefix="variable_", INPUT_PUSH="")
    assert done.code == 0, done.err
    assert done.outputs["tag"].startswith("input_")


@pytest.mark.parametrize(
    ("name", "value"),
    [("CI_MERGE_REQUEST_IID", "one"), ("CI_MERGE_REQUEST_TARGET_BRANCH_NAME", ""), ("CI_MERGE_REQUEST_IID", "-1")],
)
def test_incomplete_variables_of_a_merge_request_are_bad_input(lab: GitLabJobs, name: str, value: str) -> None:
    push_branch(lab.world, "try", 0.1)
    env = lab.pull(lab.open_pull("try"))
    workspace = lab.start(env)
    done = lab.run({**env, name: value}, workspace=workspace)
    assert done.code == 2
    assert len([line for line in done.err.splitlines() if line.startswith("error:")]) == 1


def test_a_project_that_the_token_cannot_see_loses_nothing(lab: GitLabJobs) -> None:
    push_branch(lab.world, "try", 0.1)
    env = lab.push("try")
    workspace = lab.start(env)
    done = lab.run({**env, "CI_PROJECT_ID": "4711"}, workspace=workspace)
    assert done.code == 0, done.err
    assert "404" in done.err


def test_few_calls_of_the_api_are_made(lab: GitLabJobs) -> None:
    push_branch(lab.world, "try", 0.1)
    number = lab.open_pull("try")
    assert lab.run(lab.pull(number), tag_prefix="dvc_").code == 0
    calls = [f"{one.method} {one.path}" for one in lab.forge.exchanges if not one.path.startswith("/gitlab/ada")]
    assert len(calls) <= 10, calls


def test_the_output_of_subprocesses_is_a_section_of_the_log(lab: GitLabJobs) -> None:
    push_branch(lab.world, "try", 0.1)
    done = lab.run(lab.push("try"), setup="echo output of setup")
    assert done.err.index("section_start") < done.err.index("output of setup") < done.err.index("section_end")


def test_each_report_name_has_its_own_note(lab: GitLabJobs) -> None:
    push_branch(lab.world, "try", 0.1)
    number = lab.open_pull("try")
    for name in ("small", "large"):
        assert lab.run(lab.pull(number), report_name=name, push="false").code == 0
    assert [body.splitlines()[1] for body in lab.reports(number)] == ["## small", "## large"]


def test_a_job_of_a_merge_request_does_not_block_its_target(lab: GitLabJobs) -> None:
    push_branch(lab.world, "try", 0.1)
    number = lab.open_pull("try")
    lab.forge.pipeline("merge_request_event", merge_request=number, event_type="merged_result")
    lab.world.write({"params.yaml": "train:\n  rate: 0.5\n"})
    head = lab.world.commit("On main")
    done = lab.run(lab.push("main"))
    assert "train ran" in done.err
    assert lab.world.tip("main") != head


@pytest.mark.parametrize("first", ["tag", "merge_train", "closed"])
def test_a_run_without_push_and_one_with_push_are_not_duplicates(lab: GitLabJobs, first: str) -> None:
    head = push_branch(lab.world, "try", 0.1)
    number = lab.open_pull("try")
    if first == "tag":
        lab.world.git("tag", "v1", "try", cwd=lab.world.origin)
        done = lab.run(lab.forge.pipeline("push", tag="v1"))
    elif first == "merge_train":
        done = lab.run(lab.forge.pipeline("merge_request_event", merge_request=number, event_type="merge_train"))
    else:
        env = lab.pull(number)
        lab.forge.close_merge_request(number)
        done = lab.run(env)
    assert done.code == 0, done.err
    assert lab.world.tip("try") == head
    done = lab.run(lab.push("try"))
    assert done.code == 0, done.err
    assert lab.world.git("rev-parse", "try~1", cwd=lab.world.origin) == head


def test_jobs_of_a_matrix_are_not_duplicates(lab: GitLabJobs) -> None:
    push_branch(lab.world, "try", 0.1)
    envs = [lab.forge.pipeline("push", ref="try", job=f"train: [{name}]") for name in ("a", "b")]
    spaces = [lab.start(env) for env in envs]
    for env, space in zip(envs, spaces, strict=True):
        done = lab.run(env, workspace=space, push="false")
        assert "train ran" in done.err


def test_a_branch_that_was_reset_is_trained_again(lab: GitLabJobs) -> None:
    head = push_branch(lab.world, "try", 0.1)
    assert lab.run(lab.push("try")).code == 0
    lab.world.git("update-ref", "refs/heads/try", head, cwd=lab.world.origin)
    done = lab.run(lab.push("try"))
    assert done.code == 0, done.err
    assert lab.world.git("rev-parse", "try~1", cwd=lab.world.origin) == head


def test_new_data_of_a_scheduled_run_is_not_lost_to_older_results(lab: GitLabJobs) -> None:
    push_branch(lab.world, "try", 0.1)
    news = lab.world.folder / "news.csv"
    news.write_text("a,b\n9,9\n")
    schedule = lab.forge.pipeline("schedule", ref="try")
    workspace = lab.start(schedule)
    assert lab.run(lab.push("try")).code == 0
    tip = lab.world.tip("try")
    done = lab.run(schedule, workspace=workspace, setup=f"cp {news} raw.csv && dvc add --quiet raw.csv")
    assert done.code == 1, "the branch moved on: the run says so, and the next one has the data"
    assert lab.world.tip("try") == tip


def test_a_failed_gate_blocks_the_merge_request_also_in_the_pipeline_of_the_results(lab: GitLabJobs) -> None:
    push_branch(lab.world, "try", 0.3)
    number = lab.open_pull("try")
    assert lab.run(lab.pull(number), metrics_gate="accuracy >= 0.9").code == 3
    env = lab.pull(number)
    assert env["CI_COMMIT_SHA"] == lab.world.tip("try")
    done = lab.run(env, metrics_gate="accuracy >= 0.9")
    assert (done.code, done.outputs["skipped"]) == (0, "true")
    states = [one.state for one in lab.forge.statuses() if str(one.pipeline) == env["CI_PIPELINE_ID"]]
    assert states == ["failed"]
    assert len(lab.reports(number)) == 1


def test_the_report_of_an_older_commit_does_not_replace_a_newer_one(lab: GitLabJobs) -> None:
    push_branch(lab.world, "try", 0.1)
    number = lab.open_pull("try")
    old = lab.pull(number)
    workspace = lab.start(old)
    push_again(lab, {"params.yaml": "train:\n  rate: 0.3\n"})
    assert lab.run(lab.pull(number)).code == 0
    (newer,) = lab.reports(number)
    lab.run(old, workspace=workspace)
    assert lab.reports(number) == [newer]


@pytest.mark.parametrize(
    ("source", "parents_source", "is_requested"),
    [("parent_pipeline", "schedule", True), ("parent_pipeline", "push", False), ("push", "schedule", False)],
)
def test_jobs_of_a_child_pipeline_know_whether_somebody_requested_them(
    source: str, parents_source: str, *, is_requested: bool
) -> None:
    """The source of a child pipeline is always `parent_pipeline`, also if a schedule started the parent."""
    context = read_context({"CI_PIPELINE_SOURCE": source, "CML_PIPELINE_SOURCE": parents_source})
    assert context.is_requested is is_requested


def test_no_stage_sees_the_job_token_under_its_other_names(lab: GitLabJobs) -> None:
    push_branch(lab.world, "try", 0.1)
    env = lab.push("try")
    assert env["CI_REGISTRY_PASSWORD"] == env["CI_JOB_TOKEN"]
    done = lab.run(env, setup="env > ../seen")
    assert done.code == 0, done.err
    assert env["CI_JOB_TOKEN"] not in (done.workspace / ".." / "seen").read_text()
