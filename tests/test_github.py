"""`cml run` as a job on GitHub, against the stand-in: what is pushed, published and refused, for every event."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from standins.github import Forge
from support.world import TRAIN, Result, World

NAME = "DVC Report"


@dataclass
class Hub:
    """A world whose origin is served by a stand-in GitHub."""

    world: World
    forge: Forge
    token: str

    def job(
        self,
        env: Mapping[str, str],
        *arguments: str,
        token: str | None = None,
        checkout: Mapping[str, Any] | None = None,
        **variables: str,
    ) -> Result:
        """Runs a job: checkout, then `cml run` with the token as the action gets it."""
        token = token or self.token
        workspace = self.forge.checkout(env, token=token, **(checkout or {}))
        return self.again(env, *arguments, token=token, workspace=workspace, **variables)

    def again(
        self, env: Mapping[str, str], *arguments: str, token: str | None = None, workspace: Path, **variables: str
    ) -> Result:
        runners = {name: value for name, value in env.items() if name not in ("HOME", "PATH")}
        extra = {**runners, "INPUT_REPO_TOKEN": token or self.token, **variables}
        done = self.world.try_run("cml", *(arguments or ("run",)), cwd=workspace, env=extra)
        assert "Traceback" not in done.err
        assert (token or self.token) not in done.err + done.out
        return done

    def outputs(self, env: Mapping[str, str]) -> dict[str, str]:
        """The step's outputs, read as the runner reads GITHUB_OUTPUT."""
        found, lines = {}, iter(Path(env["GITHUB_OUTPUT"]).read_text().splitlines())
        for line in lines:
            name, _, mark = line.partition("<<")
            value = []
            for inner in lines:
                if inner == mark:
                    break
                value.append(inner)
            found[name] = "\n".join(value)
        return found

    def check(self, sha: str) -> Any:
        (check,) = [one for one in self.forge.check_runs(sha) if one.name == NAME]
        return check

    def branch(self, name: str, rate: float) -> str:
        """Pushes a branch with another parameter; returns its head."""
        self.world.git("switch", "--quiet", "--create", name, "main")
        sha = self.world.commit(f"Rate {rate}", {"params.yaml": f"train:\n  rate: {rate}\n"})
        self.world.git("switch", "--quiet", "main")
        return sha


@pytest.fixture
def hub(trained_world: World, tmp_path: Path) -> Iterator[Hub]:
    world = trained_world
    world.dvc("remote", "modify", "--quiet", "storage", "url", str(world.storage))
    world.commit("A remote by its whole path")
    with Forge(tmp_path / "github") as forge:
        forge.create_repository("ada/digits", bare=world.origin)
        yield Hub(world, forge, forge.token("installation"))


def test_a_push_saves_and_shows_a_check_on_both_commits(hub: Hub) -> None:
    head = hub.branch("try", 0.1)
    env = hub.forge.event("push", ref="try")
    done = hub.job(env, tag_prefix="dvc_")
    assert done.code == 0, done.err
    tip = hub.world.tip("try")
    assert hub.world.git("rev-parse", f"{tip}~1", cwd=hub.world.origin) == head
    assert f"dvc_{tip[:7]}" in hub.world.tags()
    assert hub.world.git("log", "-1", "--format=%an", tip, cwd=hub.world.origin) == "github-actions[bot]"
    for sha in (head, tip):
        check = hub.check(sha)
        assert (check.status, check.conclusion) == ("completed", "success")
        assert check.output["summary"].startswith("## DVC Report")
        assert "accuracy" in check.output["summary"]
    outputs = hub.outputs(env)
    assert outputs["changed"] == "true"
    assert outputs["sha"] == tip
    assert outputs["tag"] == f"dvc_{tip[:7]}"
    assert outputs["verdict"] == "none"
    assert outputs["report_url"].startswith(hub.forge.url)
    assert Path(env["GITHUB_STEP_SUMMARY"]).read_text().startswith("## DVC Report")
    assert hub.forge.unknown == []
    hub.world.assert_complete("origin/try")


def test_the_work_of_a_killed_run_is_repeated_and_its_check_run_ended(hub: Hub) -> None:
    head = hub.branch("try", 0.1)
    dead = hub.forge.event("push", ref="try")
    workspace = hub.forge.checkout(dead, token=hub.token)
    extra = {**dead, "INPUT_REPO_TOKEN": hub.token, "setup": "kill -9 $PPID"}
    extra.pop("HOME"), extra.pop("PATH", None)
    assert hub.world.try_run("cml", "run", cwd=workspace, env=extra).code < 0
    assert hub.check(head).status == "in_progress"
    hub.forge.finish_run(dead["GITHUB_RUN_ID"], "failure")
    env = hub.forge.event("push", ref="try", rerun_of=int(dead["GITHUB_RUN_ID"]))
    done = hub.job(env)
    assert done.code == 0, done.err
    assert all(check.status == "completed" for check in hub.forge.check_runs(head))


def test_a_cancelled_run_ends_its_check(hub: Hub) -> None:
    head = hub.branch("try", 0.1)
    env = hub.forge.event("push", ref="try")
    done = hub.job(env, setup="kill -TERM $PPID; sleep 20")
    assert done.code == 1
    check = hub.check(head)
    assert (check.status, check.conclusion) == ("completed", "cancelled")


def left_open(hub: Hub, route: str, skip: int = 0) -> tuple[str, int, str]:
    """A pull request whose run saved its results, and was refused the end of its check by the API; the API is well
    again. Returns the commit with that check, the pull request and the run.
    """
    head = hub.branch("try", 0.1)
    pull = hub.forge.open_pull("try")
    env = hub.forge.event("pull_request", pull=pull.number)
    hub.forge.fail(route, times=None, how="501", skip=skip)
    done = hub.job(env, tag_prefix="dvc_")
    assert done.code == 0, done.err
    hub.forge.recover()
    assert hub.world.git("rev-parse", "try~1", cwd=hub.world.origin) == head
    assert hub.check(head).status == "in_progress"
    return head, pull.number, env["GITHUB_RUN_ID"]


@pytest.mark.parametrize(("route", "skip"), [("PATCH /repos/*/check-runs/*", 0), ("* /repos/*check-runs*", 3)])
def test_a_check_run_that_was_left_open_is_ended_by_the_run_of_the_results(hub: Hub, route: str, skip: int) -> None:
    """Also if the results commit has no check run; never while the run is still running."""
    head, number, run = left_open(hub, route, skip)
    for status in ("in_progress", "completed"):
        env = hub.forge.event("pull_request", pull=number, action="synchronize")
        assert hub.job(env, tag_prefix="dvc_").code == 0
        assert hub.outputs(env)["skipped"] == "true"
        assert hub.check(head).status == status
        hub.forge.finish_run(run)
    assert hub.check(head).conclusion == "cancelled"


@pytest.mark.parametrize("event", ["pull_request", "schedule"])
def test_a_check_run_that_was_left_open_is_ended_by_the_next_run(hub: Hub, event: str) -> None:
    """The next run is for a later commit, since GitHub starts none for a push with the job token, or for the results."""
    head, number, run = left_open(hub, "PATCH /repos/*/check-runs/*")
    hub.forge.finish_run(run)
    hub.world.git("fetch", "--quiet")
    hub.world.git("switch", "--quiet", "--detach", "origin/try")
    if event == "schedule":
        hub.world.git("push", "--quiet", "origin", "HEAD:main")
        env = hub.forge.event("schedule")
    else:
        hub.world.git("commit", "--quiet", "--allow-empty", "--message", "A change")
        hub.world.git("push", "--quiet", "origin", "HEAD:try")
        env = hub.forge.event("pull_request", pull=number, action="synchronize")
    assert hub.job(env, checkout={"depth": 0}).code == 0
    assert hub.check(head).status == "completed"


def test_a_cancelled_run_with_a_personal_token_ends_its_status(hub: Hub) -> None:
    head = hub.branch("try", 0.1)
    env = hub.forge.event("push", ref="try")
    assert hub.job(env, token=hub.forge.token("personal"), setup="kill -TERM $PPID; sleep 20").code == 1
    assert [status.state for status in hub.forge.statuses(head)] == ["pending", "error"]


def test_a_failing_stage_fails_the_check_and_pushes_nothing(hub: Hub) -> None:
    hub.world.git("switch", "--quiet", "--create", "try")
    head = hub.world.commit("Broken", {"train.py": "print('::error::not a command')\nraise SystemExit(3)\n"})
    pull = hub.forge.open_pull("try")
    env = hub.forge.event("pull_request", pull=pull.number)
    done = hub.job(env)
    assert done.code == 1
    assert hub.world.tip("try") == head
    assert hub.check(head).conclusion == "failure"
    assert "not a command" in hub.check(head).output["summary"]
    assert "train failed" in hub.forge.comments(pull.number)[0].body
    assert hub.outputs(env)["verdict"] == "failed"
    stopped = done.err.index("::stop-commands::")
    assert stopped < done.err.index("::error::not a command") < done.err.index("::error::reproduce")
    assert len([line for line in done.err.splitlines() if line.startswith("::error::reproduce")]) == 1


def test_a_forks_pull_request_gets_a_report_and_no_push(hub: Hub) -> None:
    fork = hub.forge.create_repository("bob/digits", fork_of="ada/digits")
    clone = hub.world.folder / "bobs"
    hub.world.git("clone", "--quiet", str(fork.bare), str(clone), cwd=hub.world.folder)
    hub.world.git("switch", "--quiet", "--create", "try", cwd=clone)
    hub.world.write({"params.yaml": "train:\n  rate: 0.1\n"}, cwd=clone)
    hub.world.git("commit", "--quiet", "--all", "--message", "From a fork", cwd=clone)
    hub.world.git("push", "--quiet", "origin", "try", cwd=clone)
    pull = hub.forge.open_pull("try", from_fork="bob/digits")
    token = hub.forge.token("fork")
    env = hub.forge.event("pull_request", pull=pull.number)
    before = hub.world.git("for-each-ref", cwd=hub.world.origin)
    done = hub.job(env, token=token)
    assert done.code == 0, done.err
    assert hub.world.git("for-each-ref", cwd=hub.world.origin) == before
    assert hub.forge.comments(pull.number) == []
    assert "accuracy" in Path(env["GITHUB_STEP_SUMMARY"]).read_text()
    assert hub.outputs(env)["changed"] == "true"
    assert "::warning::" in done.err


@pytest.mark.parametrize("dvc_pull", ["", "auto"])
def test_a_fork_that_cannot_read_the_remote_gets_a_report_only(hub: Hub, dvc_pull: str) -> None:
    fork = hub.forge.create_repository("bob/digits", fork_of="ada/digits")
    clone = hub.world.folder / "bobs"
    hub.world.git("clone", "--quiet", str(fork.bare), str(clone), cwd=hub.world.folder)
    hub.world.git("switch", "--quiet", "--create", "try", cwd=clone)
    hub.world.dvc("remote", "modify", "--quiet", "storage", "url", "s3://no-bucket-of-mine", cwd=clone)
    hub.world.write({"params.yaml": "train:\n  rate: 0.1\n"}, cwd=clone)
    hub.world.git("commit", "--quiet", "--all", "--message", "From a fork", cwd=clone)
    hub.world.git("push", "--quiet", "origin", "try", cwd=clone)
    pull = hub.forge.open_pull("try", from_fork="bob/digits")
    env = hub.forge.event("pull_request", pull=pull.number)
    done = hub.job(env, token=hub.forge.token("fork"), dvc_pull=dvc_pull)
    assert done.code == 0, done.err
    assert "gets no secrets and cannot read the DVC remote" in done.err
    assert "train ran" not in done.err


@pytest.mark.parametrize("event", ["pull_request_target", "merge_group", "closed", "tag", "workflow_run"])
def test_events_that_never_push(hub: Hub, event: str) -> None:
    hub.branch("try", 0.1)
    pull = hub.forge.open_pull("try")
    before = hub.world.git("for-each-ref", "refs/heads", "refs/tags", cwd=hub.world.origin)
    match event:
        case "closed":
            hub.forge.close_pull(pull.number)
            env = hub.forge.event("pull_request", pull=pull.number, action="closed")
        case "tag":
            hub.world.git("tag", "v1", "try", cwd=hub.world.origin)
            before = hub.world.git("for-each-ref", "refs/heads", "refs/tags", cwd=hub.world.origin)
            env = hub.forge.event("push", ref="refs/tags/v1")
        case "workflow_run":
            run = hub.forge.event("push", ref="try")["GITHUB_RUN_ID"]
            env = hub.forge.event("workflow_run", run=int(run))
        case _:
            env = hub.forge.event(event, pull=pull.number)  # type: ignore[arg-type]
            before = hub.world.git("for-each-ref", "refs/heads", "refs/tags", cwd=hub.world.origin)
    done = hub.job(env)
    assert done.code == 0, done.err
    assert hub.world.git("for-each-ref", "refs/heads", "refs/tags", cwd=hub.world.origin) == before
    if event in ("pull_request_target", "workflow_run"):
        assert "train ran" not in done.err


@pytest.mark.parametrize(
    ("missing", "line"),
    [("checks", "checks: write"), ("pull_requests", "pull-requests: write"), ("contents", "contents: write")],
)
def test_a_missing_permission_is_named(hub: Hub, missing: str, line: str) -> None:
    hub.branch("try", 0.1)
    pull = hub.forge.open_pull("try")
    levels = {"contents": "write", "checks": "write", "pull_requests": "write", "actions": "read", missing: "read"}
    token = hub.forge.token("installation", permissions=levels)
    done = hub.job(hub.forge.event("pull_request", pull=pull.number), token=token)
    assert line in done.err
    if missing == "contents":
        assert done.code == 1
        assert "train ran" not in done.err, "refused before any training"
    else:
        assert done.code == 0, done.err


def test_a_personal_token_gets_a_commit_status(hub: Hub) -> None:
    head = hub.branch("try", 0.1)
    token = hub.forge.token("personal")
    done = hub.job(hub.forge.event("push", ref="try"), token=token)
    assert done.code == 0, done.err
    assert [status.state for status in hub.forge.statuses(head)][-1:] == ["success"]
    assert hub.forge.statuses(hub.world.tip("try"))


def test_a_protected_branch_is_refused_with_what_to_do(hub: Hub) -> None:
    hub.forge.protect("main")
    hub.world.write({"params.yaml": "train:\n  rate: 0.4\n"})
    hub.world.git("commit", "--quiet", "--all", "--message", "On main")
    hub.world.git("push", "--quiet", "origin", "main")
    done = hub.job(hub.forge.event("push", ref="main"))
    assert done.code == 1
    assert "protected" in done.err.lower()


@pytest.mark.parametrize(("credentials", "depth"), [("config", 1), ("included", 1), ("none", 0)])
def test_every_checkout_works(hub: Hub, credentials: str, depth: int) -> None:
    hub.branch("try", 0.1)
    pull = hub.forge.open_pull("try")
    env = hub.forge.event("pull_request", pull=pull.number)
    done = hub.job(env, checkout={"depth": depth, "credentials": credentials})
    assert done.code == 0, done.err
    assert hub.world.git("log", "-1", "--format=%s", "try", cwd=hub.world.origin) == "Update DVC results"


@pytest.mark.parametrize(
    ("route", "how"),
    [
        ("POST /repos/*/check-runs", "403-wait"),
        ("PATCH /repos/*/check-runs/*", "done-reset"),
        ("POST /repos/*/comments", "done-reset"),
    ],
)
def test_errors_of_the_api_duplicate_nothing_and_lose_nothing(hub: Hub, route: str, how: str) -> None:
    """`make chaos` tries every endpoint in every way."""
    head = hub.branch("try", 0.1)
    pull = hub.forge.open_pull("try")
    hub.forge.fail(route, times=1, how=how, seconds=1)
    done = hub.job(hub.forge.event("pull_request", pull=pull.number))
    assert done.code == 0, done.err
    assert len(hub.forge.comments(pull.number)) == 1
    assert len(hub.forge.check_runs(head)) == 1
    assert hub.check(hub.world.tip("try")).conclusion == "success"


def test_a_redirect_is_not_taken_for_an_answer(hub: Hub) -> None:
    """PyGithub takes the redirect of an update for success."""
    hub.branch("try", 0.1)
    pull = hub.forge.open_pull("try")
    assert hub.job(hub.forge.event("pull_request", pull=pull.number)).code == 0
    (before,) = hub.forge.comments(pull.number)
    text = before.body
    hub.world.git("switch", "--quiet", "try")
    hub.world.git("pull", "--quiet", "--ff-only", "origin", "try")
    hub.world.commit("More", {"params.yaml": "train:\n  rate: 0.3\n"})
    hub.forge.fail("PATCH /repos/*/issues/comments/*", times=1, how="redirect-elsewhere")
    done = hub.job(hub.forge.event("pull_request", pull=pull.number))
    assert done.code == 0, done.err
    (after,) = hub.forge.comments(pull.number)
    assert after.body != text, done.err


def test_a_broken_event_file_is_bad_input(hub: Hub) -> None:
    hub.branch("try", 0.1)
    env = hub.forge.event("push", ref="try")
    workspace = hub.forge.checkout(env, token=hub.token)
    path = Path(env["GITHUB_EVENT_PATH"])
    text = path.read_text()
    for broken in (text[: len(text) // 2], "", "[]", "null", "{" * 5000):
        path.write_text(broken)
        done = hub.again(env, workspace=workspace)
        assert done.code == 2, done.err
        assert len([line for line in done.err.splitlines() if line.startswith("::error::")]) == 1


def test_the_comment_is_found_on_any_page_and_only_our_own(hub: Hub) -> None:
    hub.branch("try", 0.1)
    pull = hub.forge.open_pull("try")
    fake = hub.forge.comment(pull.number, "<!-- cml-report: DVC Report -->\nmine", login="mallory")
    for number in range(120):
        hub.forge.comment(pull.number, f"comment {number}")
    assert hub.job(hub.forge.event("pull_request", pull=pull.number)).code == 0
    ours = [comment for comment in hub.forge.comments(pull.number) if comment.login == "github-actions[bot]"]
    assert len(ours) == 1
    assert fake.body.endswith("mine")
    hub.world.git("fetch", "--quiet")
    hub.world.git("switch", "--quiet", "--detach", "origin/try")
    hub.world.write({"train.py": TRAIN + "# again\n"})
    hub.world.git("commit", "--quiet", "--all", "--message", "Again")
    hub.world.git("push", "--quiet", "origin", "HEAD:try")
    assert hub.job(hub.forge.event("pull_request", pull=pull.number)).code == 0
    assert len([comment for comment in hub.forge.comments(pull.number) if comment.login != "ada"]) == 2


def test_matrix_jobs_keep_their_own_reports(hub: Hub) -> None:
    hub.branch("try", 0.1)
    pull = hub.forge.open_pull("try")
    for name in ("small", "large"):
        done = hub.job(hub.forge.event("pull_request", pull=pull.number), report_name=name, push="false")
        assert done.code == 0, done.err
    bodies = [comment.body for comment in hub.forge.comments(pull.number)]
    assert [body.splitlines()[1] for body in bodies] == ["## small", "## large"]


def test_few_calls_of_the_api_are_made(hub: Hub) -> None:
    hub.branch("try", 0.1)
    pull = hub.forge.open_pull("try")
    assert hub.job(hub.forge.event("pull_request", pull=pull.number)).code == 0
    calls = [one for one in hub.forge.requests if one.path.startswith("/api/")]
    assert len(calls) <= 12, json.dumps([f"{one.method} {one.path}" for one in calls], indent=1)


def test_a_shallow_clone_lists_the_branchs_experiments(hub: Hub) -> None:
    for number in range(60):
        hub.world.git("commit", "--quiet", "--allow-empty", "--message", f"A change {number}")
    hub.world.git("push", "--quiet", "origin", "main")
    hub.branch("try", 0.1)
    done = hub.job(hub.forge.event("push", ref="try"), tag_prefix="dvc_")
    assert done.code == 0, done.err
    assert "Latest 2 experiments of this branch" in hub.check(hub.world.tip("try")).output["summary"]


def test_data_that_changes_is_saved_every_day(hub: Hub) -> None:
    source = hub.world.folder / "news.csv"
    days = (("schedule", "a,b\n9,9\n"), ("workflow_dispatch", "a,b\n9,9\n"), ("schedule", "a,b\n7,7\n"))
    for number, (event, news) in enumerate(days):
        source.write_text(news)
        before = hub.world.tip("main")
        env = hub.forge.event(event)  # type: ignore[arg-type]
        done = hub.job(env, setup=f"cp {source} raw.csv && dvc add --quiet raw.csv")
        assert done.code == 0, done.err
        tip = hub.world.tip("main")
        assert (tip != before) == (number != 1), f"day {number}: {done.err}"
        assert hub.outputs(env)["sha"] == tip
        hub.forge.finish_run(env["GITHUB_RUN_ID"])
    assert "raw.csv.dvc" in hub.world.git("show", "--format=", "--name-only", tip, cwd=hub.world.origin).split()


def test_a_re_run_by_hand_trains_again_after_a_failure(hub: Hub) -> None:
    hub.branch("try", 0.1)
    first = hub.forge.event("push", ref="try")
    assert hub.job(first, setup='test "$GITHUB_RUN_ATTEMPT" = 2').code == 1
    hub.forge.finish_run(first["GITHUB_RUN_ID"], "failure")
    again = hub.forge.event("push", ref="try", rerun_of=int(first["GITHUB_RUN_ID"]))
    done = hub.job(again, setup='test "$GITHUB_RUN_ATTEMPT" = 2')
    assert done.code == 0, done.err
    assert "train ran" in done.err


def test_an_expired_token_is_named_and_a_report_written(hub: Hub) -> None:
    hub.branch("try", 0.1)
    env = hub.forge.event("push", ref="try")
    workspace = hub.forge.checkout(env, token=hub.token, credentials="none")
    hub.forge.expire(hub.token)
    done = hub.again(env, workspace=workspace)
    assert done.code in (1, 2)
    assert len([line for line in done.err.splitlines() if line.startswith("::error::")]) == 1
    done = hub.again(env, workspace=workspace, push="false", baseline="HEAD")
    assert done.code == 0, done.err
    assert "401 Bad credentials" in done.err


def test_a_wrong_address_of_the_api_costs_no_results(hub: Hub) -> None:
    hub.branch("try", 0.1)
    done = hub.job(hub.forge.event("push", ref="try"), GITHUB_API_URL="api.example.invalid")
    assert done.code == 0, done.err
    assert "GitHub refuses the check run" in done.err
    assert hub.world.git("log", "-1", "--format=%s", "try", cwd=hub.world.origin) == "Update DVC results"


@pytest.mark.parametrize("repository", ["digits", "a/b/c", "/"])
def test_a_wrong_repository_is_bad_input(hub: Hub, repository: str) -> None:
    env = hub.forge.event("push", ref="main")
    workspace = hub.forge.checkout(env, token=hub.token)
    done = hub.again({**env, "GITHUB_REPOSITORY": repository}, workspace=workspace)
    assert done.code in (1, 2)
    assert len([line for line in done.err.splitlines() if line.startswith("::error::")]) == 1


def test_a_stage_cannot_get_the_token_through_a_hook(hub: Hub, tmp_path: Path) -> None:
    hub.branch("try", 0.1)
    stolen = tmp_path / "stolen"
    hook = f"printf '#!/bin/sh\\nenv > {stolen}\\n' > .git/hooks/pre-push; chmod +x .git/hooks/pre-push"
    done = hub.job(hub.forge.event("push", ref="try"), setup=f"mkdir -p .git/hooks; {hook}")
    assert done.code == 0, done.err
    assert not stolen.exists()


def test_a_deleted_head_branch_is_not_created_again(hub: Hub) -> None:
    hub.branch("try", 0.1)
    pull = hub.forge.open_pull("try")
    env = hub.forge.event("pull_request", pull=pull.number)
    workspace = hub.forge.checkout(env, token=hub.token)
    hub.world.git("update-ref", "-d", "refs/heads/try", cwd=hub.world.origin)
    done = hub.again(env, workspace=workspace)
    assert done.code == 1
    assert "the branch try no longer exists" in done.err
    assert "train ran" not in done.err
    assert "try" not in hub.world.git("branch", "--list", cwd=hub.world.origin)


def test_a_comment_of_another_bot_is_never_changed(hub: Hub) -> None:
    hub.branch("try", 0.1)
    pull = hub.forge.open_pull("try")
    theirs = hub.forge.comment(pull.number, "<!-- cml-report: DVC Report -->\ntheirs", login="echo[bot]")
    assert hub.job(hub.forge.event("pull_request", pull=pull.number)).code == 0
    assert theirs.body.endswith("theirs")
    assert len(hub.forge.comments(pull.number)) == 2


def test_a_skipped_run_does_not_write_through_a_link(hub: Hub, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (hub.world.project / "cml-report").mkdir(exist_ok=True)
    (hub.world.project / "cml-report" / "cml.env").unlink(missing_ok=True)
    (hub.world.project / "cml-report" / "cml.env").symlink_to(victim)
    hub.world.git("add", "--force", "cml-report/cml.env")
    hub.world.git("commit", "--quiet", "--message", "A link [skip ci]")
    hub.world.git("push", "--quiet", "origin", "main")
    env = hub.forge.event("push", ref="main")
    done = hub.job(env)
    assert done.code == 0, done.err
    assert hub.outputs(env)["skipped"] == "true"
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("how", ["done-500", "done-reset", "502", "reset"])
def test_a_push_without_an_answer_is_checked_and_repeated(hub: Hub, how: str) -> None:
    head = hub.branch("try", 0.1)
    env = hub.forge.event("push", ref="try")
    workspace = hub.forge.checkout(env, token=hub.token)
    hub.forge.fail("POST */git-receive-pack", how=how)
    done = hub.again(env, workspace=workspace, tag_prefix="dvc_")
    assert done.code == 0, done.err
    assert "did not answer" in done.err or "reset" in how  # git itself asks again on another connection
    tip = hub.world.tip("try")
    assert hub.world.git("rev-parse", "try~1", cwd=hub.world.origin) == head
    assert f"dvc_{tip[:7]}" in hub.world.tags()
    assert hub.outputs(env)["sha"] == tip == hub.world.git("rev-parse", "HEAD", cwd=workspace)


@pytest.mark.parametrize("route", ["GET *info/refs", "POST */git-upload-pack"])
def test_a_short_outage_of_the_git_server_costs_no_training(hub: Hub, route: str) -> None:
    head = hub.branch("try", 0.1)
    env = hub.forge.event("push", ref="try")
    workspace = hub.forge.checkout(env, token=hub.token)
    hub.forge.fail(route, how="503", skip=2)
    done = hub.again(env, workspace=workspace)
    assert done.code == 0, done.err
    assert hub.world.git("rev-parse", "try~1", cwd=hub.world.origin) == head


# A git that says whether a push is allowed when it may, and a file that says when it was asked.
DRY = """#!/bin/sh
case " $* " in *" --dry-run "*)
    echo $$ >{folder}/git
    for _ in $(seq 600); do [ -e {folder}/api ] && break; sleep 0.1; done
    [ -e {folder}/api ] || exit 9;;
esac
PATH=${{PATH#*:}} exec git "$@"
"""


def with_slow_git(hub: Hub, folder: Path) -> str:
    """A PATH with a git that waits for the API, while the check runs of the API wait for git."""
    (folder / "bin").mkdir(parents=True)
    git = folder / "bin" / "git"
    git.write_text(DRY.format(folder=folder))
    git.chmod(0o755)
    answer = hub.forge._site.answer

    def wait_for_git(request: Any, exchange: Any) -> Any:
        until = time.monotonic() + 20
        while "check-runs" in exchange.path and not (folder / "git").exists() and time.monotonic() < until:
            time.sleep(0.1)
        if (folder / "git").exists() and not (folder / "stays").exists():
            (folder / "api").touch()
        return answer(request, exchange)

    hub.forge._site.answer = wait_for_git
    return f"{git.parent}:{hub.world.environment()['PATH']}"


def test_origin_and_the_api_are_asked_in_parallel(hub: Hub, tmp_path: Path) -> None:
    """If they were asked one after the other, each would wait until its time is over."""
    hub.branch("try", 0.1)
    env = hub.forge.event("push", ref="try")
    done = hub.job(env, PATH=with_slow_git(hub, tmp_path / "slow"))
    assert done.code == 0, done.err
    assert (tmp_path / "slow" / "api").exists()
    assert hub.outputs(env)["changed"] == "true"


def test_results_of_a_duplicate_run_do_not_wait_for_origin(hub: Hub, tmp_path: Path) -> None:
    hub.branch("try", 0.1)
    first, second = (hub.forge.event("push", ref="try") for _ in range(2))
    assert hub.job(first).code == 0
    folder, path = tmp_path / "slow", with_slow_git(hub, tmp_path / "slow")
    (folder / "stays").touch()
    since = time.monotonic()
    done = hub.job(second, PATH=path)
    assert done.code == 0, done.err
    assert "another run has already processed this commit" in done.out + done.err
    assert time.monotonic() - since < 40
    assert not Path("/proc", (folder / "git").read_text().strip()).exists(), "git goes on after its run"
