"""Nothing is pushed to a wrong ref: for each event, and for a branch that is moved or deleted during the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.jobs import GitHubJobs, GitLabJobs, close_jobs, open_jobs
from support.world import World

from chaos.figures import count, trial
from chaos.project import TRAILER, copy_project, make_project

Env = Mapping[str, str]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_project(tmp_path_factory.mktemp("refs"))


@pytest.fixture
def world(base: World, tmp_path: Path) -> World:
    world = copy_project(base, tmp_path)
    world.git("switch", "--quiet", "--create", "try")
    world.commit("Try", {"in.txt": '{"accuracy": 0.8}\n'})
    world.git("switch", "--quiet", "main")
    return world


def refs(world: World, bare: Path | None = None) -> dict[str, str]:
    lines = world.git(
        "for-each-ref", "refs/heads", "refs/tags", "--format=%(refname) %(objectname)", cwd=bare or world.origin
    )
    return dict(line.split(" ") for line in lines.splitlines())


def push_to_fork(world: World, bare: Path) -> None:
    clone = world.folder / "bobs"
    world.git("clone", "--quiet", str(bare), str(clone), cwd=world.folder)
    world.git("switch", "--quiet", "--create", "theirs", cwd=clone)
    world.write({"in.txt": '{"accuracy": 0.7}\n'}, cwd=clone)
    world.git("commit", "--quiet", "--all", "--message", "From a fork", cwd=clone)
    world.git("push", "--quiet", "origin", "theirs", cwd=clone)


def force_push(world: World) -> None:
    """Somebody force-pushes the branch, so that it does not contain the commit of the run any more."""
    world.git("switch", "--quiet", "--detach", "main")
    world.commit("Pushed over", {"other.txt": "1\n"}, push=False)
    world.git("push", "--quiet", "--force", "origin", "HEAD:refs/heads/try")


def delete_branch(world: World) -> None:
    world.git("update-ref", "-d", "refs/heads/try", cwd=world.origin)


def on_github(hub: GitHubJobs, case: str) -> tuple[Env, str]:
    """Returns the job of a case, and the branch that it may change ("" for none)."""
    forge, world = hub.forge, hub.world
    if case == "fork":
        fork = forge.create_repository("bob/digits", fork_of="ada/digits")
        push_to_fork(world, fork.bare)
        pull = forge.open_pull("theirs", from_fork="bob/digits")
        hub.token = forge.token("fork")
        return forge.event("pull_request", pull=pull.number), ""
    pull = forge.open_pull("try")
    match case:
        case "closed PR" | "merged PR":
            forge.close_pull(pull.number, merge=case == "merged PR")
            return forge.event("pull_request", pull=pull.number, action="closed"), ""
        case "tag":
            world.git("tag", "v1", "try", cwd=world.origin)
            return forge.event("push", ref="refs/tags/v1"), ""
        case "workflow_run":
            run = forge.event("push", ref="try")["GITHUB_RUN_ID"]
            return forge.event("workflow_run", run=int(run)), ""
        case "issue_comment":
            forge.comment(pull.number, "/train")
            return forge.event("issue_comment", pull=pull.number), ""
        case "pull_request_target" | "merge_group":
            return forge.event(case, pull=pull.number), ""
        case "push":
            return forge.event("push", ref="try"), "try"
        case "schedule" | "workflow_dispatch":
            return forge.event(case), "main"
        case _:
            return forge.event("pull_request", pull=pull.number), "try" if case == "pull_request" else ""


def on_gitlab(lab: GitLabJobs, case: str) -> tuple[Env, str]:
    forge, world = lab.forge, lab.world
    if case == "fork":
        fork = forge.create_project("bob/digits", forked_from="ada/digits", job_token_may_push=True)
        push_to_fork(world, fork.bare)
        number = forge.open_merge_request("theirs", fork="bob/digits").iid
        lab.token = None
        return lab.pull(number), ""
    number = forge.open_merge_request("try").iid
    match case:
        case "merge train":
            return forge.pipeline("merge_request_event", merge_request=number, event_type="merge_train"), ""
        case "merged result":
            return forge.pipeline("merge_request_event", merge_request=number, event_type="merged_result"), "try"
        case "tag":
            world.git("tag", "v1", "try", cwd=world.origin)
            return forge.pipeline("push", tag="v1"), ""
        case "push":
            return lab.push("try"), "try"
        case _:
            return lab.pull(number), "try" if case == "merge request" else ""


MEANWHILE: dict[str, Callable[[World], None]] = {"moved head": force_push, "deleted head": delete_branch}
GITHUB = [
    "push",
    "pull_request",
    "schedule",
    "workflow_dispatch",
    "fork",
    "closed PR",
    "merged PR",
    "tag",
    "merge_group",
]
GITHUB += ["pull_request_target", "workflow_run", "issue_comment", *MEANWHILE]
GITLAB = ["push", "merge request", "merged result", "merge train", "fork", "tag", *MEANWHILE]


@pytest.mark.parametrize(
    ("name", "case"), [*(("github", case) for case in GITHUB), *(("gitlab", case) for case in GITLAB)]
)
def test_only_the_allowed_refs_change(world: World, tmp_path: Path, name: str, case: str) -> None:
    ci: Any = open_jobs(name, world, tmp_path / "forge")
    try:
        with trial("refs", f"{name}, {case}"):
            job, may_move = (on_github if name == "github" else on_gitlab)(ci, case)
            workspace = ci.start(job)
            if case in MEANWHILE:
                MEANWHILE[case](world)
            forks = list((tmp_path / "forge").rglob("bob/digits.git"))
            before, theirs = refs(world), [refs(world, bare) for bare in forks]
            done = ci.run(job, workspace=workspace, tag_prefix="dvc_")
            assert done.code == (1 if case in MEANWHILE else 0), done.err
            after = refs(world)
            new = {ref for ref in after if after[ref] != before.get(ref)} | (before.keys() - after.keys())
            tip = after.get(f"refs/heads/{may_move}", "")
            allowed = {f"refs/heads/{may_move}", f"refs/tags/dvc_{tip[:7]}"} if may_move else set()
            unexpected = new ^ allowed
            count("refs", unexpected=len(unexpected))
            assert not unexpected, unexpected
            assert theirs == [refs(world, bare) for bare in forks]
            if may_move:
                assert TRAILER.search(world.git("log", "-1", "--format=%B", tip, cwd=world.origin))
                assert world.git("rev-parse", f"{tip}~1", cwd=world.origin) == before[f"refs/heads/{may_move}"]
    finally:
        close_jobs(ci)
