"""`kill -9` anywhere, and every other signal: the next run converges, from the same workspace and from a fresh clone."""

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
from chaos.size import IS_FULL, dice, sized
from chaos.stage import INSIDE, OWN_LINE, PUSH, copied, hears_all, judge, leftovers, make, results, temporary, witness
from chaos.test_api import shown

SIGNALS = {"KILL": signal.SIGKILL, "TERM": signal.SIGTERM, "INT": signal.SIGINT, "HUP": signal.SIGHUP}
PARTS = 8
NEXT = ("same workspace", "fresh clone")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make(tmp_path_factory.mktemp("kill"))


def killed(
    world: World, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, after: float | None = None
) -> Result:
    """Runs `cml` in a session of its own, all of which gets KILL `after` so many seconds."""
    with (world.folder / "log").open("w+") as log:
        run = subprocess.Popen(
            ["cml", *arguments],
            cwd=cwd,
            env=world.environment({"TMPDIR": str(temporary(world)), **(env or {})}),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=hears_all,  # noqa: PLW1509 - nothing but signals
        )
        try:
            run.wait(timeout=after or 120)
        except subprocess.TimeoutExpired:
            os.killpg(run.pid, signal.SIGKILL)
            run.wait()
        log.seek(0)
        return Result(run.returncode, "", log.read())


def again(world: World, how: str) -> None:
    """The next run, and its judgement: nothing is left to be cleaned by hand."""
    workspace = world.project if how == "same workspace" else world.clone("again")
    done = world.cml(*PUSH, cwd=workspace, env={"TMPDIR": str(temporary(world))})
    assert done.code == 0, done.err
    judge(world)
    assert leftovers(world, workspace) == []
    if how == "same workspace":
        assert (world.project / ".git" / "info" / "exclude").read_text().splitlines() == [OWN_LINE, "cml-report/"]


def try_it(world: World, *, at: int, name: str, how: str) -> bool:
    """Sends a signal at the n-th effect and runs again; returns whether the first run came so far."""
    inside = {"PYTHONPATH": INSIDE, "CML_CHAOS_AT": str(at), "CML_CHAOS_SIGNAL": str(int(SIGNALS[name]))}
    done = killed(world, *PUSH, cwd=world.project, env=inside)
    if done.code == 0:
        return False
    assert "Traceback" not in done.err, done.err
    if found := results(world):
        witness(world, *found)
    again(world, how)
    return True


@pytest.mark.parametrize("part", range(sized(1, PARTS)))
@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_at_every_boundary(made: World, tmp_path: Path, name: str, part: int) -> None:
    """At full size at every effect of a run, else at a few drawn by the seed."""
    drawn = iter(sorted(dice(f"boundaries {name}").sample(range(5, 190), 6)))
    at, failed = part + 1 - PARTS, []
    while (at := at + PARTS if IS_FULL else next(drawn, 0)) and at < 1000:
        hows = NEXT if IS_FULL and name == "KILL" else NEXT[at // PARTS % 2 :][:1]
        is_over = False
        for how in hows:
            world = copied(made, tmp_path / f"{at}-{how[:4]}")
            try:
                with trial("kill", f"{name} at effect {at}, {how}"):
                    is_over = not try_it(world, at=at, name=name, how=how)
            except AssertionError as error:
                failed.append(f"{name} at effect {at}, {how}: {error}")
        if is_over:
            break
    assert not failed, "\n\n".join(failed)


# Instants at which a kill once left something behind: the effect that comes next, and how many come before the kill.
FIXED = {
    "info/exclude is half written": ("info/exclude", 2),
    "a tree is built in an index of its own": ("write-tree", 1),
    "the push is over, the work tree knows nothing of it": ("--atomic", 2),
    "the index is new, HEAD is not": ("'update-ref', '-m'", 1),
    "dvc.lock is new and empty, and not yet in its place": ("cml-new-", 1),
    "dvc.lock is new and whole, and not yet in its place": ("rename.*cml-new-", 1),
    "rwlock is open and empty": (r"rwlock', 'w", 1),
    "an entry of the run cache has nothing in it": (r"cache/runs/\w\w'", 4),
    "a listing is empty on the remote": (r"storage/files/md5/../\w+\.dir", 2),
    "an object is empty on the remote": (r"storage/files/md5/../\w+'", 2),
    "a link is made beside an output": (r"project/\.[\w-]{22}\.tmp', None", 3),
}


@pytest.mark.parametrize("how", NEXT)
@pytest.mark.parametrize("instant", FIXED)
def test_a_kill_at_an_instant_that_was_found(made: World, tmp_path: Path, instant: str, how: str) -> None:
    world, (on, at) = copied(made, tmp_path), FIXED[instant]
    inside = {"PYTHONPATH": INSIDE, "CML_CHAOS_ON": on, "CML_CHAOS_AT": str(at), "CML_CHAOS_SIGNAL": "9"}
    with trial("kill", f"{instant}, {how}"):
        assert killed(world, *PUSH, cwd=world.project, env=inside).code == -signal.SIGKILL
        if found := results(world):
            witness(world, *found)
        again(world, how)


def test_dvc_lock_is_never_open_to_be_written(made: World, tmp_path: Path) -> None:
    """Else a kill could leave it empty, or half of it: where the one is not met by chance, neither is the other."""
    world, trace = copied(made, tmp_path), tmp_path / "trace"
    done = world.cml(*PUSH, env={"PYTHONPATH": INSIDE, "CML_CHAOS_TRACE": str(trace)})
    assert done.code == 0, done.err
    effects = [line.split(" ", 2)[1:] for line in trace.read_text().splitlines() if "dvc.lock'" in line]
    assert {event for event, _ in effects} >= {"os.rename"}
    assert "open" not in {event for event, _ in effects}


# A git that is killed, and the run with it, while it holds these locks.
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


@pytest.mark.parametrize("place", ["project", "linked"])
@pytest.mark.parametrize("command", LOCKS)
def test_locks_of_a_git_that_was_killed_stand_in_nobodys_way(
    made: World, tmp_path: Path, command: str, place: str
) -> None:
    """Nor are locks removed that were there before it: they are another's."""
    world, folder = copied(made, tmp_path), tmp_path / "bin"
    workspace = world.project
    if place == "linked":
        world.git("switch", "--quiet", "--detach")
        workspace = world.folder / "linked"
        world.git("worktree", "add", "--quiet", str(workspace), "main")
    theirs = world.project / ".git" / "theirs.lock"
    theirs.touch()
    env = with_git(folder, world, command, then="kill -9 0")
    with trial("kill", f"git {command}, {place}"):
        assert killed(world, *PUSH, cwd=workspace, env=env).code == -signal.SIGKILL
        left = [Path(workspace, world.git("rev-parse", "--git-path", lock, cwd=workspace)) for lock in LOCKS[command]]
        assert all(lock.exists() for lock in left)
        done = world.cml(*PUSH, cwd=workspace, env={"TMPDIR": str(temporary(world))})
        assert done.code == 0, done.err
        judge(world)
        theirs.unlink()
        assert leftovers(world, workspace) == leftovers(world, world.project) == []
        assert not any(lock.exists() for lock in left)


def with_git(folder: Path, world: World, command: str, *, then: str) -> dict[str, str]:
    """An environment with a git that takes the command's locks and then does what the shell is told."""
    folder.mkdir()
    (folder / "git").write_text(GIT.format(command=command, locks=" ".join(LOCKS[command]), then=then))
    (folder / "git").chmod(0o755)
    return {"PATH": f"{folder}:{world.environment()['PATH']}"}


def test_a_git_that_is_killed_alone_leaves_no_lock(made: World, tmp_path: Path) -> None:
    world = copied(made, tmp_path)
    with trial("kill", "git alone"):
        done = world.cml(*PUSH, env=with_git(tmp_path / "bin", world, "update-index", then="kill -9 $$"))
        assert done.code == 0, done.err
        assert "your work tree stays behind it" in done.err
        assert not list((world.project / ".git").glob("*.lock"))
        again(world, "same workspace")


def test_a_git_that_outlives_its_run_keeps_its_locks(made: World, tmp_path: Path) -> None:
    world, go = copied(made, tmp_path), tmp_path / "go"
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
            pytest.fail("the lock of a living git was taken away")
        again(world, "same workspace")


READ = dvc_yaml(train={"cmd": "cat data/* | wc -c > out.txt", "deps": ["data"], "outs": ["out.txt"]})


@pytest.mark.parametrize("mode", ["", "auto"])
@pytest.mark.parametrize("at", [2, 3, 9, 22, 40])
def test_no_stage_runs_on_data_that_a_killed_pull_left_half_in_place(tmp_path: Path, at: int, mode: str) -> None:
    """Neither is a file of half the data taken for the user's own change and committed."""
    world = copied(make(tmp_path / "made", {"dvc.yaml": READ}), tmp_path)
    for number in range(6):
        world.write({f"data/{number}.txt": f"{number}" * 1000})
    world.dvc("add", "--quiet", "data")
    world.dvc("push", "--quiet")
    world.commit("Data")
    before, place = (world.project / "data.dvc").read_text(), world.clone("killed")
    env = {"TMPDIR": str(temporary(world)), "dvc_pull": mode}
    inside = {"PYTHONPATH": INSIDE, "CML_CHAOS_ON": "killed/data/", "CML_CHAOS_AT": str(at), "CML_CHAOS_SIGNAL": "9"}
    with trial("kill", f"half of the data, {at}, {mode}"):
        assert killed(world, *PUSH, cwd=place, env={**env, **inside}).code == -signal.SIGKILL
        done = world.cml(*PUSH, cwd=place, env=env)
        assert done.code == 0, done.err
        assert (place / "out.txt").read_text().strip() == "6000"
        assert (place / "data.dvc").read_text() == before
        judge(world)
        assert leftovers(world, place) == []


@pytest.mark.parametrize("part", range(4))
def test_a_kill_at_random_instants(made: World, tmp_path: Path, part: int) -> None:
    """Git and DVC's children are killed in the middle of what they do, too."""
    drawn = dice(f"instants {part}")
    since = time.monotonic()
    assert world_runs(copied(made, tmp_path / "whole"))
    whole = time.monotonic() - since
    for number in range(sized(2, 30)):
        world = copied(made, tmp_path / str(number))
        with trial("kill"):
            killed(world, *PUSH, cwd=world.project, after=drawn.uniform(0.2, whole))
            if found := results(world):
                witness(world, *found)
            again(world, NEXT[number % 2])


def world_runs(world: World) -> bool:
    return world.cml(*PUSH, env={"TMPDIR": str(temporary(world))}).code == 0


@pytest.mark.parametrize("part", range(sized(1, 4)))
@pytest.mark.parametrize("name", FORGES)
def test_a_killed_job_is_followed_by_one_that_shows_one_report(
    made: World, tmp_path: Path, name: str, part: int
) -> None:
    """A runner dies with its job; the next one has the same workspace, cleaned by its checkout, or a new one."""
    drawn = dice(f"jobs {name} {part}")
    for number in range(sized(3, 25)):
        world = copied(made, tmp_path / str(number))
        place = open_jobs(name, world, tmp_path / str(number) / "forge")
        world.git("switch", "--quiet", "--create", "try")
        world.commit("Try", {"in.txt": '{"accuracy": 0.8}\n'})
        at = drawn.randint(20, 330)
        try:
            with trial("kill", f"{name}, effect {at}"):
                pull = place.open_pull("try")
                job = place.pull(pull)
                token = {"github": "INPUT_REPO_TOKEN", "gitlab": "GITLAB_TOKEN"}[name]
                extra = {**job, token: place.token, "tag_prefix": "dvc_", "PYTHONPATH": INSIDE, "CML_CHAOS_AT": str(at)}
                extra = {key: value for key, value in extra.items() if key not in ("HOME", "PATH")}
                killed(world, "run", cwd=place.start(job), env={**extra, "CML_CHAOS_SIGNAL": "9"})
                if found := results(world, "try"):
                    witness(world, *found)
                if name == "github":
                    place.forge.finish_run(job["GITHUB_RUN_ID"], "failure")
                else:
                    place.forge.finish_job(job["CI_JOB_ID"], "failed")
                done = place.run(place.pull(pull), tag_prefix="dvc_")
                assert done.code == 0, done.err
                judge(world, branch="try")
                shown(place, pull)
        finally:
            close_jobs(place)
