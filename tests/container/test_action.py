"""`uses: org/cml@v1`: the container action, run as GitHub's runner does, against the stand-in GitHub."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from container.conftest import Runner, docker, job_folder

FAILING = "print('no such luck')\nraise SystemExit(3)\n"


def test_a_push_is_saved_once(runner: Runner) -> None:
    head = runner.branch("try", 0.1)
    env = runner.forge.event("push", ref="try")
    runner.checkout(env)
    done = runner.action(env, tag_prefix="dvc_")
    assert done.code == 0, done.err
    tip = runner.world.tip("try")
    assert runner.world.git("rev-parse", f"{tip}~1", cwd=runner.world.origin) == head
    assert runner.outputs(env)["sha"] == tip
    assert runner.outputs(env)["tag"] == f"dvc_{tip[:7]}"
    assert runner.outputs(env)["report"] == "cml-report/report.md"
    assert (Path(env["GITHUB_WORKSPACE"]) / "cml-report" / "report.html").is_file()
    assert Path(env["GITHUB_STEP_SUMMARY"]).read_text().startswith("## DVC Report")
    assert {check.conclusion for check in runner.forge.check_runs(tip)} == {"success"}
    assert runner.strangers(env) == []
    runner.forge.finish_run(env["GITHUB_RUN_ID"])
    again = runner.forge.event("push", ref="try")
    runner.checkout(again)
    done = runner.action(again, tag_prefix="dvc_")
    assert done.code == 0, done.err
    assert runner.outputs(again)["skipped"] == "true", "the results commit is not run again"
    assert runner.world.tip("try") == tip
    assert runner.forge.unknown == []
    runner.world.assert_complete("origin/try")


def test_a_pull_request_gets_one_comment(runner: Runner) -> None:
    head = runner.branch("try", 0.1)
    pull = runner.forge.open_pull("try").number
    env = runner.forge.event("pull_request", pull=pull)
    runner.checkout(env)
    done = runner.action(env)
    assert done.code == 0, done.err
    tip = runner.world.tip("try")
    assert runner.world.git("rev-parse", f"{tip}~1", cwd=runner.world.origin) == head
    (comment,) = runner.forge.comments(pull)
    assert "accuracy" in comment.body
    assert runner.strangers(env) == []
    runner.forge.finish_run(env["GITHUB_RUN_ID"])
    again = runner.forge.event("pull_request", pull=pull, action="synchronize")
    runner.checkout(again)
    assert runner.action(again).code == 0
    assert len(runner.forge.comments(pull)) == 1
    assert runner.world.tip("try") == tip
    assert runner.forge.unknown == []


def test_a_fork_pull_request_gets_a_report_and_no_push(runner: Runner) -> None:
    pull = runner.fork("try")
    token = runner.forge.token("fork")
    before = runner.world.git("for-each-ref", cwd=runner.world.origin)
    for _ in range(2):
        env = runner.forge.event("pull_request", pull=pull)
        runner.checkout(env, token=token)
        done = runner.action(env, token=token)
        assert done.code == 0, done.err
        assert "accuracy" in Path(env["GITHUB_STEP_SUMMARY"]).read_text()
        assert runner.outputs(env)["changed"] == "true"
        assert runner.strangers(env) == []
        runner.forge.finish_run(env["GITHUB_RUN_ID"])
    assert runner.world.git("for-each-ref", cwd=runner.world.origin) == before
    assert runner.forge.comments(pull) == []


def test_a_failing_stage_is_reported_and_run_again(runner: Runner) -> None:
    head = runner.branch("try", 0.1, {"train.py": FAILING})
    pull = runner.forge.open_pull("try").number
    for _ in range(2):
        env = runner.forge.event("pull_request", pull=pull)
        runner.checkout(env)
        done = runner.action(env)
        assert done.code == 1, done.err
        assert "no such luck" in done.err
        assert runner.outputs(env)["verdict"] == "failed"
        assert runner.strangers(env) == []
        runner.forge.finish_run(env["GITHUB_RUN_ID"], "failure")
    assert runner.world.tip("try") == head
    (comment,) = runner.forge.comments(pull)
    assert "train failed" in comment.body
    assert {check.conclusion for check in runner.forge.check_runs(head)} == {"failure"}


def test_setup_installs_what_the_pipeline_needs(runner: Runner) -> None:
    train = (runner.world.project / "train.py").read_text()
    runner.branch("try", 0.1, {"train.py": "import six\n" + train, "requirements.txt": "six\n"})
    env = runner.forge.event("push", ref="try")
    runner.checkout(env)
    done = runner.action(env, setup="pip install --quiet -r requirements.txt\npython -c 'import six'")
    assert done.code == 0, done.err
    assert runner.strangers(env) == []


def test_variables_in_the_environment_are_used_for_missing_inputs(runner: Runner) -> None:
    """An input overrides `env:`, and an empty input does not."""
    runner.branch("try", 0.1)
    env = runner.forge.event("push", ref="try")
    runner.checkout(env)
    done = runner.action(env, report_name="Ours", variables={"tag_prefix": "exp_", "report_name": "Theirs"})
    assert done.code == 0, done.err
    assert runner.outputs(env)["tag"].startswith("exp_")
    assert Path(env["GITHUB_STEP_SUMMARY"]).read_text().startswith("## Ours")


@pytest.mark.parametrize("credentials", ["config", "included", "none"])
def test_every_version_of_checkout_works(runner: Runner, credentials: str) -> None:
    runner.branch("try", 0.1)
    pull = runner.forge.open_pull("try").number
    env = runner.forge.event("pull_request", pull=pull)
    runner.checkout(env, credentials=credentials)
    done = runner.action(env)
    assert done.code == 0, done.err
    assert runner.outputs(env)["changed"] == "true"


def test_a_reused_workspace_works_and_keeps_its_owner(runner: Runner) -> None:
    """A self-hosted runner reuses its folder, so its user must be able to remove the files of the first job."""
    runner.branch("one", 0.1)
    first = runner.forge.event("push", ref="one")
    runner.checkout(first)
    assert runner.action(first).code == 0
    runner.forge.finish_run(first["GITHUB_RUN_ID"])
    assert runner.strangers(first) == []
    runner.branch("two", 0.4)
    second = runner.forge.event("push", ref="two", place=job_folder(first))
    runner.checkout(second)
    done = runner.action(second)
    assert done.code == 0, done.err
    assert runner.strangers(second) == []


def test_a_cancelled_job_ends_its_check(runner: Runner) -> None:
    """The runner sends INT to the docker client, which forwards it to process 1."""
    head = runner.branch("try", 0.1)
    env = runner.forge.event("push", ref="try")
    workspace = runner.checkout(env)
    options = runner.action_options(env, setup="touch under-way; sleep 600")
    name = options[options.index("--name") + 1]
    run = subprocess.Popen(
        ["docker", "run", "--rm", *options, runner.image], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 60
        while not (workspace / "under-way").exists():
            assert time.monotonic() < deadline
            time.sleep(0.2)
        since = time.monotonic()
        run.send_signal(2)
        assert run.wait(30) == 1
        assert time.monotonic() - since < 7.5
    finally:
        docker("rm", "--force", name)
    (check,) = [one for one in runner.forge.check_runs(head) if one.name == "DVC Report"]
    assert (check.status, check.conclusion) == ("completed", "cancelled")
    assert runner.strangers(env) == []
