"""How a run saves its results (data, then commit and tag, then the report) when others, servers and signals interfere."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.world import DVC_YAML, TRAIN, World

from cml.run import report_folder

PUSH = ("run", "--push", "true", "--tag-prefix", "dvc_")


def sneak(world: World, files: dict[str, str], message: str = "Meanwhile") -> str:
    """Pushes a commit to main from another clone."""
    other = world.clone(f"other-{len(list(world.folder.iterdir()))}")
    world.write(files, cwd=other)
    world.git("add", "--all", cwd=other)
    world.git("commit", "--quiet", "--message", message, cwd=other)
    world.git("push", "--quiet", "origin", "HEAD", cwd=other)
    return world.tip()


def test_results_are_committed_on_top_of_what_others_pushed(world: World) -> None:
    meanwhile = sneak(world, {"README.md": "words\n"})
    done = world.cml(*PUSH)
    assert done.code == 0, done.err
    tip = world.tip()
    assert world.git("rev-parse", f"{tip}~1") == meanwhile
    assert world.tags() == [f"dvc_{tip[:7]}"]
    assert world.git("rev-parse", "HEAD") == tip
    assert (world.project / "README.md").read_text() == "words\n"
    assert world.git("status", "--porcelain") == ""
    world.assert_complete("main")


def test_of_two_simultaneous_pushes_the_second_is_rebased(world: World) -> None:
    """Another commit arrives after the server has checked the branch, and before it locks it."""
    meanwhile = sneak(world, {"README.md": "words\n"})
    world.git("update-ref", "refs/heads/main", f"{meanwhile}~1", cwd=world.origin)
    hook = world.origin / "hooks" / "pre-receive"
    hook.write_text(f'#!/bin/sh\nunset GIT_QUARANTINE_PATH\ngit update-ref refs/heads/main {meanwhile}\nrm "$0"\n')
    hook.chmod(0o755)
    done = world.cml(*PUSH)
    assert done.code == 0, done.err
    assert world.git("rev-parse", f"{world.tip()}~1", cwd=world.origin) == meanwhile
    assert world.tags() == [f"dvc_{world.tip()[:7]}"]


def test_results_of_an_older_tree_are_not_pushed(world: World) -> None:
    meanwhile = sneak(world, {"train.py": TRAIN + "# changed\n"})
    done = world.cml(*PUSH)
    assert done.code == 1
    assert "change inputs of train" in done.err
    assert world.tip() == meanwhile
    assert world.tags() == []
    assert world.report()["failure"]["step"] == "push"


@pytest.mark.dvc
def test_lock_files_with_different_stages_are_merged(world: World) -> None:
    extra = "  other:\n    cmd: echo other > other.txt\n    outs: [other.txt]\n"
    world.commit("Two pipelines", {"dvc.yaml": DVC_YAML + extra})
    theirs = world.clone("theirs")
    world.dvc("pull", "raw.csv", cwd=theirs)
    assert world.cml("run", "--push", "true", "--repro-targets", "other", cwd=theirs).code == 0
    done = world.cml(*PUSH, "--repro-targets", "train")
    assert done.code == 0, done.err
    world.git("checkout", "--quiet", "main", cwd=theirs)
    world.git("pull", "--quiet", cwd=theirs)
    world.dvc("pull", cwd=theirs)
    assert "up to date" in world.dvc("status", cwd=theirs)
    assert (theirs / ".gitignore").read_text().count("/other.txt") == 1
    world.assert_complete("main")


@pytest.mark.dvc
def test_a_stage_that_both_sides_changed_is_refused(world: World) -> None:
    world.commit("Dice", {"train.py": TRAIN + "import os; pathlib.Path('model.bin').write_text(os.urandom(9).hex())\n"})
    theirs = world.clone("theirs")
    world.dvc("pull", "raw.csv", cwd=theirs)
    assert world.cml(*PUSH, cwd=theirs).code == 0
    tip = world.tip()
    done = world.cml(*PUSH, "--dvc-pull", "raw.csv")
    if "restored" in done.err:
        pytest.fail("the run cache gave the other's result, so nothing was at stake")
    assert done.code == 1
    assert "another" in done.err
    assert world.tip() == tip


def test_two_runs_with_the_same_results_make_one_commit(world: World) -> None:
    theirs = world.clone("theirs")
    assert world.cml(*PUSH, cwd=theirs).code == 0
    tip = world.tip()
    done = world.cml(*PUSH)
    assert done.code == 0, done.err
    assert world.tip() == tip
    assert world.tags() == [f"dvc_{tip[:7]}"]
    assert world.outputs()["sha"] == tip


def test_a_tag_is_pushed_if_others_pushed_the_same_results_without_one(world: World) -> None:
    theirs = world.clone("theirs")
    assert world.cml("run", "--push", cwd=theirs).code == 0
    tip = world.tip()
    assert world.tags() == []
    done = world.cml(*PUSH)
    assert done.code == 0, done.err
    assert world.tip() == tip
    assert world.tags() == [f"dvc_{tip[:7]}"]


@pytest.mark.dvc
def test_files_that_a_remote_has_lost_are_uploaded_before_the_commit(trained_world: World) -> None:
    world = trained_world
    directory = next(world.storage.rglob("*.dir"))
    children = [path for path in (world.storage / "files").rglob("*") if path.is_file() and path != directory]
    for child in children:
        child.unlink()
    world.commit("Slower", {"params.yaml": "train:\n  rate: 0.1\n"})
    done = world.cml(*PUSH)
    assert done.code == 0, done.err
    assert "that the DVC remote had lost" in done.err
    world.assert_complete("main")


def test_nothing_is_committed_if_the_remote_cannot_be_written(world: World) -> None:
    before = world.tip()
    world.dvc("remote", "modify", "storage", "url", "/proc/nowhere")
    world.commit("A remote that takes nothing")
    before = world.tip()
    done = world.cml(*PUSH, "--dvc-pull", "-", "--repro-targets", "train")
    assert done.code == 1, done.err
    assert len([line for line in done.err.splitlines() if line.startswith("error: ")]) == 1
    assert world.tip() == before
    assert world.tags() == []
    assert world.report()["failure"]["step"] == "push"


@pytest.mark.parametrize("refused", ["refs/heads/main", "refs/tags/*"])
def test_branch_and_tag_are_pushed_together_or_not_at_all(world: World, refused: str) -> None:
    hook = world.origin / "hooks" / "update"
    hook.write_text(f'#!/bin/sh\ncase "$1" in {refused}) echo "no, said the server" >&2; exit 1;; esac\n')
    hook.chmod(0o755)
    before = world.tip()
    done = world.cml(*PUSH)
    assert done.code == 1
    assert "no, said the server" in done.err
    assert world.tip() == before
    assert world.tags() == []
    hook.unlink()
    done = world.cml(*PUSH)
    assert done.code == 0, done.err
    assert world.tags() == [f"dvc_{world.tip()[:7]}"]


def test_the_users_own_changes_stay_and_are_not_committed(world: World) -> None:
    world.write({"notes.txt": "mine\n", "staged.txt": "staged\n"})
    world.git("add", "staged.txt")
    done = world.cml(*PUSH)
    assert done.code == 0, done.err
    assert world.git("status", "--porcelain").splitlines() == ["A  staged.txt", "?? notes.txt"]
    assert "notes.txt" not in world.git("ls-tree", "-r", "--name-only", "main")


def start(world: World, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["cml", *arguments],
        cwd=world.project,
        env=world.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.05)
    pytest.fail(f"{path.name} never came")


SLOW = TRAIN + "pathlib.Path('started').touch()\nimport time; time.sleep(int(os.environ.get('SLEEP', '60')))\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancel_ends_in_time_and_leaves_no_process(world: World, number: signal.Signals) -> None:
    world.commit("Slow", {"train.py": SLOW})
    run = start(world, *PUSH)
    wait_for(world.project / "started")
    os.kill(run.pid, number)
    since = time.monotonic()
    output, _ = run.communicate(timeout=30)
    assert time.monotonic() - since < 7.5
    assert run.returncode == 1
    assert f"cancelled by {number.name}" in output
    with pytest.raises(ProcessLookupError):
        os.killpg(run.pid, 0)


@pytest.mark.dvc
def test_a_run_after_kill_converges(world: World) -> None:
    world.commit("Slow", {"train.py": SLOW})
    run = start(world, *PUSH)
    wait_for(world.project / "started")
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    (world.project / ".dvc" / "tmp" / "rwlock").write_text("")
    done = world.cml(*PUSH, env={"SLEEP": "0"})
    assert done.code == 0, done.err
    assert world.git("rev-list", "--count", "main", cwd=world.origin) == "3"
    assert world.tags() == [f"dvc_{world.tip()[:7]}"]
    world.assert_complete("main")


@pytest.mark.dvc
def test_what_dvc_remembers_of_a_remote_is_not_trusted(trained_world: World) -> None:
    """DVC's site cache has an index of the directories that it has pushed, and a user's own site cache stays in use."""
    world = trained_world
    world.dvc("push")
    for file in [path for path in (world.storage / "files").rglob("*") if path.is_file() and path.suffix != ".dir"]:
        file.unlink()
    world.dvc("push")
    [directory] = world.storage.rglob("*.dir")
    files = [entry["md5"] for entry in json.loads(directory.read_text())]
    assert not any(list(world.storage.rglob(md5[2:])) for md5 in files), "DVC trusts its index"
    done = world.cml(*PUSH)
    assert done.code == 0, done.err
    assert re.search(r"\b[1-9]\d* files? uploaded", done.err)
    world.assert_complete("main")


@pytest.mark.dvc
def test_data_of_results_committed_by_hand_is_uploaded(world: World) -> None:
    assert world.cml("run").code == 0
    world.commit("Results, by hand")
    done = world.cml(*PUSH)
    assert done.code == 0, done.err
    assert re.search(r"\b[1-9]\d* files uploaded ", done.err)
    world.assert_complete("main")


def test_inputs_of_stages_must_not_change_during_the_run(world: World) -> None:
    before = world.tip()
    done = world.cml(*PUSH, "--setup", "echo '# later' >> train.py")
    assert done.code == 1
    assert "train.py changed during the run" in done.err
    assert world.tip() == before


def test_a_file_of_template_variables_must_be_committed(world: World) -> None:
    dvc_yaml = "vars: [conf.yaml]\n" + DVC_YAML.replace("python train.py", "python train.py ${word}")
    world.commit("Vars", {"conf.yaml": "word: one\n", "dvc.yaml": dvc_yaml})
    world.write({"conf.yaml": "word: two\n"})
    done = world.cml(*PUSH)
    assert done.code == 2
    assert "conf.yaml" in done.err


def test_a_folder_among_the_images_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "plots" / "a" / "mine.png"
    other.parent.mkdir(parents=True)
    for path in (other, tmp_path / "plots" / "0.png", tmp_path / "plots" / "b.png", tmp_path / "report.md"):
        path.write_text("x")
    report_folder.clear(tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [other]


@pytest.mark.parametrize("kind", ["link", "link inside", "file", "tracked"])
def test_a_report_folder_that_is_not_ours_is_left_alone(world: World, kind: str, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "plots").mkdir(parents=True)
    (outside / "plots" / "mine.csv").write_text("mine")
    (outside / "report.md").write_text("mine")
    place = world.project / "cml-report"
    match kind:
        case "link":
            place.symlink_to(outside)
        case "link inside":
            place.mkdir()
            (place / "plots").symlink_to(outside / "plots")
        case "file":
            place.write_text("mine")
        case _:
            world.commit("Mine", {"cml-report/plots/mine.svg": "<svg/>"})
    for command in ("run", "report"):
        done = world.cml(command)
        assert done.code == 2, done.err
        assert "cml-report" in done.err
    assert (outside / "plots" / "mine.csv").read_text() == "mine"
    assert sorted(path.name for path in outside.rglob("*")) == ["mine.csv", "plots", "report.md"]


def test_the_user_may_commit_during_the_run(world: World) -> None:
    done = world.cml(*PUSH, "--setup", "git commit --quiet --allow-empty --message Mine")
    assert done.code == 0, done.err
    assert "git pull" in done.err
    assert world.git("log", "-1", "--format=%s") == "Mine"
    assert world.git("log", "-1", "--format=%s", "main", cwd=world.origin) == "Update DVC results"
    assert (world.project / "cml-report" / "report.html").exists()


def test_a_branch_that_was_deleted_during_the_run_is_not_created_again(world: World) -> None:
    world.git("switch", "--quiet", "--create", "feature")
    world.git("push", "--quiet", "origin", "feature")
    done = world.cml(*PUSH, "--setup", f"git --git-dir={world.origin} update-ref -d refs/heads/feature")
    assert done.code == 1
    assert "the branch feature no longer exists on origin" in done.err
    assert "feature" not in world.git("branch", "--list", cwd=world.origin)


def test_a_diverged_branch_is_refused_before_any_stage_runs(world: World) -> None:
    sneak(world, {"README.md": "words\n"})
    world.commit("Mine", {"notes.md": "mine\n"}, push=False)
    done = world.cml(*PUSH)
    assert done.code == 1
    assert "git pull --rebase origin main" in done.err
    assert "train ran" not in done.err


def test_a_closed_log_does_not_end_the_run(world: World) -> None:
    done = world.try_run("bash", "-c", "cml run --push --tag-prefix dvc_ 2>&1 | head -1; exit ${PIPESTATUS[0]}")
    assert done.code == 0
    assert world.git("log", "-1", "--format=%s", "main", cwd=world.origin) == "Update DVC results"


def test_a_pre_push_hook_of_the_clone_is_quoted(world: World) -> None:
    hook = world.project / ".git" / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'not on a friday' >&2\nexit 1\n")
    hook.chmod(0o755)
    done = world.cml(*PUSH)
    assert done.code == 1
    assert "not on a friday" in done.err


def test_a_failed_run_shows_no_metrics_of_an_earlier_one(trained_world: World) -> None:
    world = trained_world
    world.commit("Broken", {"train.py": "raise SystemExit(3)\n"})
    done = world.cml("run", "--push", "--metrics-gate", "accuracy > 0.1", "--baseline", "HEAD~1")
    assert done.code == 1
    assert world.report()["metrics"] == []
    assert world.report()["gates"] == []
    assert "Baseline: HEAD~1 (" in world.markdown()


def test_megabytes_of_output_without_a_line_break_are_shown(world: World) -> None:
    loud = "import sys\nsys.stdout.write('x' * 30_000_000)\nraise SystemExit(3)\n"
    world.commit("Loud", {"train.py": loud})
    done = world.try_run("bash", "-c", "cml run 2>&1 | wc -c")
    assert int(done.out) > 30_000_000
    assert len(world.markdown()) < 100_000


def test_a_run_that_was_killed_after_its_push_uses_its_results(world: World) -> None:
    head = world.git("rev-parse", "HEAD")
    assert world.cml(*PUSH).code == 0
    tip = world.tip()
    world.git("reset", "--quiet", "--mixed", head)
    assert world.git("status", "--porcelain") != ""
    done = world.cml(*PUSH)
    assert done.code == 0, done.err
    assert world.tip() == world.git("rev-parse", "HEAD") == tip
    assert world.git("status", "--porcelain") == ""
    assert world.outputs()["sha"] == tip


def test_the_results_of_a_duplicate_run_are_checked_out(world: World) -> None:
    theirs = world.clone("theirs")
    assert world.cml(*PUSH, cwd=theirs).code == 0
    world.write({"notes.txt": "mine\n"})
    done = world.cml(*PUSH)
    assert done.code == 0, done.err
    assert world.git("rev-parse", "HEAD") == world.tip()
    assert world.git("status", "--porcelain") == "?? notes.txt"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancel_inside_the_push_leaves_no_process(world: World, number: signal.Signals) -> None:
    hook = world.origin / "hooks" / "pre-receive"
    hook.write_text(f"#!/bin/sh\necho $$ > {world.project}/started\nsleep 30\n")
    hook.chmod(0o755)
    run = start(world, *PUSH)
    wait_for(world.project / "started")
    os.kill(run.pid, number)
    since = time.monotonic()
    output, _ = run.communicate(timeout=30)
    assert time.monotonic() - since < 7.5
    assert f"cancelled by {number.name}" in output
    assert not Path("/proc", (world.project / "started").read_text().strip()).exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancel_while_the_private_folder_is_made_leaves_no_folder(world: World, number: int, tmp_path: Path) -> None:
    inside = Path(__file__).parent / "chaos" / "inside"
    (tmp_path / "tmp").mkdir()
    env = {"PYTHONPATH": str(inside), "CML_CHAOS_ON": "os.mkdir.*cml-credentials", "CML_CHAOS_AT": "1"}
    done = world.cml(*PUSH, env={**env, "CML_CHAOS_SIGNAL": str(int(number)), "TMPDIR": str(tmp_path / "tmp")})
    assert done.code == 1, done.err
    assert "cancelled by" in done.err
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_signal_during_the_first_imports_is_one_line(world: World) -> None:
    code = (
        "import builtins, os, signal, sys\n"
        "ours = builtins.__import__\n"
        "def bring(name, *rest):\n"
        "    if name == 'cml.process' and sys._getframe(1).f_code.co_name == '_exit':\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return ours(name, *rest)\n"
        "builtins.__import__ = bring\n"
        "sys.argv = ['cml', 'run']\n"
        "from cml.cli import main\n"
        "main()\n"
    )
    done = world.try_run(sys.executable, "-c", code)
    assert done.code == 1, done.err
    assert done.err.splitlines() == [
        "error: cancelled by SIGINT; no incomplete results were pushed. Run again to continue"
    ]
