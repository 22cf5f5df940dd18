"""After `kill -9` or another signal at any time, the next run completes the work, in the same workspace or a new clone."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.jobs import FORGES, close_jobs, open_jobs
from support.small_world import dvc_yaml
from support.world import Result, World

from chaos.figures import trial
from chaos.project import (
    INSIDE,
    OWN_LINE,
    PUSH,
    assert_complete,
    assert_results,
    copy_project,
    leftovers,
    make_project,
    reset_signals,
    results_commits,
    temp_folder,
)
from chaos.size import IS_FULL, by_size, seeded_random
from chaos.test_api import assert_shown_once

SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "INT": signal.SIGINT, "HUP": signal.SIGHUP}
PARTS = 8
NEXT_RUN = ("same workspace", "fresh clone")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_project(tmp_path_factory.mktemp("kill"))


def killed(
    world: World, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, after: float | None = None
) -> Result:
    """Runs `cml` in its own session; after `after` seconds, all processes of the session get KILL."""
    with (world.folder / "log").open("w+") as log:
        run = subprocess.Popen(
            ["cml", *arguments],
            cwd=cwd,
            env=world.environment({"TMPDIR": str(temp_folder(world)), **(env or {})}),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=reset_signals,  # noqa: PLW1509 - nothing but signals
        )
        try:
            run.wait(timeout=after or 120)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
        log.seek(0)
        return Result(run.returncode, "", log.read())


def run_again(world: World, how: str) -> None:
    """Runs again; fails unless the results are complete and nothing has to be cleaned up by hand."""
    workspace = world.project if how == "same workspace" else world.clone("again")
    done = world.cml(*PUSH, cwd=workspace, env={"TMPDIR": str(temp_folder(world))})
    assert done.code == 0, done.err
    assert_results(world)
    assert leftovers(world, workspace) == []
    if how == "same workspace":
        assert (world.project / ".git" / "info" / "exclude").read_text().splitlines() == [OWN_LINE, "cml-report/"]


def signal_at_effect(world: World, *, at: int, name: str, how: str) -> bool:
    """Sends a signal at the n-th effect and runs again; returns False if the first run has fewer effects."""
    inside = {"PYTHONPATH": INSIDE, "CML_CHAOS_AT": str(at), "CML_CHAOS_SIGNAL": str(int(SIGNALS[name]))}
    done = killed(world, *PUSH, cwd=world.project, env=inside)
    if done.code == 0:
        return False
    assert "Traceback" not in done.err, done.err
    if found := results_commits(world):
        assert_complete(world, *found)
    run_again(world, how)
    return True


@pytest.mark.parametrize("part", range(by_size(1, PARTS)))
@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_at_each_effect(base: World, tmp_path: Path, name: str, part: int) -> None:
    """At full size at each effect of a run, else at a few random ones."""
    drawn = iter(sorted(seeded_random(f"boundaries {name}").sample(range(5, 190), 6)))
    at, failed = part + 1 - PARTS, []
    while (at := at + PARTS if IS_FULL else next(drawn, 0)) and at < 1000:
        next_runs = NEXT_RUN if IS_FULL and name == "KILL" else NEXT_RUN[at // PARTS % 2 :][:1]
        is_over = False
        for how in next_runs:
            world = copy_project(base, tmp_path / f"{at}-{how[:4]}")
            try:
                with trial("kill", f"{name} at effect {at}, {how}"):
                    is_over = not signal_at_effect(world, at=at, name=name, how=how)
            except AssertionError as error:
                failed.append(f"{name} at effect {at}, {how}: {error}")
        if is_over:
            break
    assert not failed, "\n\n".join(failed)


# Moments at which a kill once did damage: a pattern of the first effect that counts, and the number of the effect.
DAMAGING_MOMENTS = {
    "info/exclude is half written": ("info/exclude", 2),
    "a tree is being written in a separate index": ("write-tree", 1),
    "the push is done, the work tree is not updated": ("--atomic", 2),
    "the index is new, HEAD is not": ("'update-ref', '-m'", 1),
    "the new dvc.lock is empty and not yet renamed": ("cml-new-", 1),
    "the new dvc.lock is complete and not yet renamed": ("rename.*cml-new-", 1),
    "rwlock is open and empty": (r"rwlock', 'w", 1),
    "an entry of the run cache is empty": (r"cache/runs/\w\w'", 4),
    "a .dir object is empty on the remote": (r"storage/files/md5/../\w+\.dir", 2),
    "an object is empty on the remote": (r"storage/files/md5/../\w+'", 2),
    "a temporary link exists next to an output": (r"project/\.[\w-]{22}\.tmp', None", 3),
}


@pytest.mark.parametrize("how", NEXT_RUN)
@pytest.mark.parametrize("instant", DAMAGING_MOMENTS)
def test_a_kill_at_a_moment_that_once_did_damage(base: World, tmp_path: Path, instant: str, how: str) -> None:
    world, (on, at) = copy_project(base, tmp_path), DAMAGING_MOMENTS[instant]
    inside = {"PYTHONPATH": INSIDE, "CML_CHAOS_ON": on, "CML_CHAOS_AT": str(at), "CML_CHAOS_SIGNAL": "9"}
    with trial("kill", f"{instant}, {how}"):
        assert killed(world, *PUSH, cwd=world.project, env=inside).code == -signal.SIGKILL
        if found := results_commits(world):
            assert_complete(world, *found)
        run_again(world, how)


def test_dvc_lock_is_never_opened_for_writing(base: World, tmp_path: Path) -> None:
    """A kill could then leave it empty or half written, but so rarely that a kill at random times would not show it."""
    world, trace = copy_project(base, tmp_path), tmp_path / "trace"
    done = world.cml(*PUSH, env={"PYTHONPATH": INSIDE, "CML_CHAOS_TRACE": str(trace)})
    assert done.code == 0, done.err
    effects = [line.split(" ", 2)[1:] for line in trace.read_text().splitlines() if "dvc.lock'" in line]
    assert {event for event, _ in effects} >= {"os.rename"}
    assert "open" not in {event for event, _ in effects}


# A `git` that takes these locks before a command, as a git that is killed would leave them.
GIT = """#!/bin/sh
case "$GIT_INDEX_FILE $*" in " {command}"*) for lock in {locks}; do : >"$(git rev-parse --git-path "$lock")"; done; {then};; esac
PATH=${{PATH#*:}} exec git "$@"
"""
LOCKS = {
    "diff": ["index.lock"],
    "push --porcelain --no-recurse-submodules --atomic": ["refs/remotes/origin/main.lock", "packed-refs.lock"],
    "update-index": ["index.lock"],
    "update-ref refs/tags": ["refs/tags/dvc_1234567.lock"],
    "update-ref -m": ["HEAD.lock", "refs/heads/main.lock"],
}


@pytest.mark.parametrize("worktree", ["project", "linked"])
@pytest.mark.parametrize("command", LOCKS)
def test_locks_of_a_killed_git_are_removed(base: World, tmp_path: Path, command: str, worktree: str) -> None:
    """Locks that existed before are kept: they belong to somebody else."""
    world, folder = copy_project(base, tmp_path), tmp_path / "bin"
    workspace = world.project
    if worktree == "linked":
        world.git("switch", "--quiet", "--detach")
        workspace = world.folder / "linked"
        world.git("worktree", "add", "--quiet", str(workspace), "main")
    theirs = world.project / ".git" / "theirs.lock"
    theirs.touch()
    env = with_git(folder, world, command, then="kill -9 0")
    with trial("kill", f"git {command}, {worktree}"):
        assert killed(world, *PUSH, cwd=workspace, env=env).code == -signal.SIGKILL
        processes_left = [
            Path(workspace, world.git("rev-parse", "--git-path", lock, cwd=workspace)) for lock in LOCKS[command]
        ]
        assert all(lock.exists() for lock in processes_left)
        done = world.cml(*PUSH, cwd=workspace, env={"TMPDIR": str(temp_folder(world))})
        assert done.code == 0, done.err
        assert_results(world)
        theirs.unlink()
        assert leftovers(world, workspace) == leftovers(world, world.project) == []
        assert not any(lock.exists() for lock in processes_left)


def with_git(folder: Path, world: World, command: str, *, then: str) -> dict[str, str]:
    """Returns an environment with a `git` that takes the locks of a command and then runs the shell command `then`."""
    folder.mkdir()
    (folder / "git").write_text(GIT.format(command=command, locks=" ".join(LOCKS[command]), then=then))
    (folder / "git").chmod(0o755)
    return {"PATH": f"{folder}:{world.environment()['PATH']}"}


def test_no_lock_is_left_if_only_git_is_killed(base: World, tmp_path: Path) -> None:
    world = copy_project(base, tmp_path)
    with trial("kill", "git alone"):
        done = world.cml(*PUSH, env=with_git(tmp_path / "bin", world, "update-index", then="kill -9 $$"))
        assert done.code == 0, done.err
        assert "your work tree was not updated" in done.err
        assert not list((world.project / ".git").glob("*.lock"))
        run_again(world, "same workspace")


def test_a_git_that_outlives_its_run_keeps_its_lock(base: World, tmp_path: Path) -> None:
    world, go = copy_project(base, tmp_path), tmp_path / "go"
    waits = f"kill -9 $PPID; until [ -e {go} ]; do sleep 0.1; done; rm .git/index.lock && : >{go}.kept"
    env = with_git(tmp_path / "bin", world, "update-index", then=waits)
    with trial("kill", "a run without its git"):
        run = subprocess.Popen(["cml", *PUSH], cwd=world.project, env=world.environment(env), stderr=subprocess.DEVNULL)
        assert run.wait(timeout=60) == -signal.SIGKILL
        done = world.cml(*PUSH)
        assert done.code == 0, done.err
        go.touch()
        for _ in range(100):
            if Path(f"{go}.kept").exists():
                break
            time.sleep(0.1)
        else:
            pytest.fail("the next run removed the lock of a git process that is still alive")
        run_again(world, "same workspace")


READ = dvc_yaml(train={"cmd": "cat data/* | wc -c > out.txt", "deps": ["data"], "outs": ["out.txt"]})


@pytest.mark.parametrize("mode", ["", "auto"])
@pytest.mark.parametrize("at", [2, 3, 9, 22, 40])
def test_no_stage_runs_on_the_partial_data_of_a_killed_pull(tmp_path: Path, at: int, mode: str) -> None:
    """The partial data is not taken for a change of the user either, and is not committed."""
    world = copy_project(make_project(tmp_path / "made", {"dvc.yaml": READ}), tmp_path)
    for number in range(6):
        world.write({f"data/{number}.txt": f"{number}" * 1000})
    world.dvc("add", "--quiet", "data")
    world.dvc("push", "--quiet")
    world.commit("Data")
    before, clone = (world.project / "data.dvc").read_text(), world.clone("killed")
    env = {"TMPDIR": str(temp_folder(world)), "dvc_pull": mode}
    inside = {"PYTHONPATH": INSIDE, "CML_CHAOS_ON": "killed/data/", "CML_CHAOS_AT": str(at), "CML_CHAOS_SIGNAL": "9"}
    with trial("kill", f"half of the data, {at}, {mode}"):
        assert killed(world, *PUSH, cwd=clone, env={**env, **inside}).code == -signal.SIGKILL
        done = world.cml(*PUSH, cwd=clone, env=env)
        assert done.code == 0, done.err
        assert (clone / "out.txt").read_text().strip() == "6000"
        assert (clone / "data.dvc").read_text() == before
        assert_results(world)
        assert leftovers(world, clone) == []


@pytest.mark.parametrize("part", range(4))
def test_a_kill_at_random_times(base: World, tmp_path: Path, part: int) -> None:
    """This also kills git and DVC's child processes in the middle of their work."""
    rng = seeded_random(f"instants {part}")
    since = time.monotonic()
    assert run_succeeds(copy_project(base, tmp_path / "whole"))
    whole = time.monotonic() - since
    for number in range(by_size(2, 30)):
        world = copy_project(base, tmp_path / str(number))
        with trial("kill"):
            killed(world, *PUSH, cwd=world.project, after=rng.uniform(0.2, whole))
            if found := results_commits(world):
                assert_complete(world, *found)
            run_again(world, NEXT_RUN[number % 2])


def run_succeeds(world: World) -> bool:
    return world.cml(*PUSH, env={"TMPDIR": str(temp_folder(world))}).code == 0


@pytest.mark.parametrize("part", range(by_size(1, 4)))
@pytest.mark.parametrize("name", FORGES)
def test_the_job_after_a_killed_one_shows_one_report(base: World, tmp_path: Path, name: str, part: int) -> None:
    """The runner is killed with its job; the next job starts in a new checkout."""
    rng = seeded_random(f"jobs {name} {part}")
    for number in range(by_size(3, 25)):
        world = copy_project(base, tmp_path / str(number))
        ci = open_jobs(name, world, tmp_path / str(number) / "forge")
        world.git("switch", "--quiet", "--create", "try")
        world.commit("Try", {"in.txt": '{"accuracy": 0.8}\n'})
        at = rng.randint(20, 330)
        try:
            with trial("kill", f"{name}, effect {at}"):
                pull = ci.open_pull("try")
                job = ci.pull(pull)
                token = {"github": "INPUT_REPO_TOKEN", "gitlab": "GITLAB_TOKEN"}[name]
                extra = {**job, token: ci.token, "tag_prefix": "dvc_", "PYTHONPATH": INSIDE, "CML_CHAOS_AT": str(at)}
                extra = {key: value for key, value in extra.items() if key not in ("HOME", "PATH")}
                killed(world, "run", cwd=ci.start(job), env={**extra, "CML_CHAOS_SIGNAL": "9"})
                if found := results_commits(world, "try"):
                    assert_complete(world, *found)
                if name == "github":
                    ci.forge.finish_run(job["GITHUB_RUN_ID"], "failure")
                else:
                    ci.forge.finish_job(job["CI_JOB_ID"], "failed")
                done = ci.run(ci.pull(pull), tag_prefix="dvc_")
                assert done.code == 0, done.err
                assert_results(world, branch="try")
                assert_shown_once(ci, pull)
        finally:
            close_jobs(ci)
