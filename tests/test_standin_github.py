"""The stand-in GitHub refuses what GitHub refuses, to real git and to PyGithub. Else our tests would prove nothing."""

from __future__ import annotations

import base64
import gzip
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import requests
from github import Auth, Github, GithubException
from github.Repository import Repository
from standins.git_http import GitFailed, git
from standins.github import Forge

AUTHOR = {f"GIT_{role}_{what}": "ada@example.invalid" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def header(token: str) -> str:
    return f"Authorization: basic {base64.b64encode(f'x-access-token:{token}'.encode()).decode()}"


def authorized(token: str, url: str) -> dict[str, str]:
    """Returns what cml sets: exactly one credential for a server, whatever the clone has."""
    key = f"http.{url}/.extraheader"
    settings = {"GIT_CONFIG_KEY_0": key, "GIT_CONFIG_VALUE_0": "", "GIT_CONFIG_KEY_1": key}
    return {**AUTHOR, **settings, "GIT_CONFIG_VALUE_1": header(token), "GIT_CONFIG_COUNT": "2"}


def commit(clone: Path, files: dict[str, str], message: str = "A change") -> str:
    for name, text in files.items():
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(text)
    git("add", "--all", cwd=clone)
    git("commit", "--quiet", "--allow-empty", "--message", message, cwd=clone, env=AUTHOR)
    return git("rev-parse", "HEAD", cwd=clone)


@pytest.fixture(scope="session")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository whose main has two commits, created once; tests use copies."""
    place = tmp_path_factory.mktemp("seed")
    git("init", "--quiet", "--initial-branch=main", "work", cwd=place)
    commit(place / "work", {"a.txt": "1\n"})
    commit(place / "work", {"b.txt": "1\n"})
    git("clone", "--quiet", "--bare", "work", "r.git", cwd=place)
    return place / "r.git"


@pytest.fixture
def forge(seed: Path, tmp_path: Path) -> Iterator[Forge]:
    """A forge with the private repository o/r."""
    shutil.copytree(seed, tmp_path / "r.git")
    with Forge(tmp_path / "forge") as forge:
        forge.create_repository("o/r", bare=tmp_path / "r.git")
        yield forge


@pytest.fixture
def token(forge: Forge) -> str:
    return forge.token("installation")


@pytest.fixture
def clone(forge: Forge, seed: Path, tmp_path: Path) -> Path:
    """A clone without credentials."""
    git("clone", "--quiet", str(seed), "clone", cwd=tmp_path)
    git("remote", "set-url", "origin", forge.clone_url(), cwd=tmp_path / "clone")
    return tmp_path / "clone"


def branch(forge: Forge, clone: Path, name: str, files: dict[str, str] | None = None) -> str:
    """Creates a branch with one commit on the server, ignoring all rules."""
    git("checkout", "--quiet", "-B", name, "origin/main", cwd=clone)
    sha = commit(clone, files or {f"{name.replace('/', '-')}.txt": "1\n"})
    git("push", "--quiet", "--force", str(forge._repository(None).bare), name, cwd=clone)
    return sha


def client(forge: Forge, token: str | None = None) -> Github:
    auth = Auth.Token(token) if token else None
    return Github(base_url=forge.api, auth=auth, retry=None, seconds_between_requests=None, seconds_between_writes=None)


@pytest.fixture
def repo(forge: Forge, token: str) -> Iterator[Repository]:
    with client(forge, token) as github:
        yield github.get_repo("o/r")


def tip(forge: Forge, ref: str = "refs/heads/main") -> str:
    return git("rev-parse", ref, cwd=forge._repository(None).bare)


def api(forge: Forge, token: str | None, method: str, path: str, **options: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {token}", "Connection": "close"} if token else {"Connection": "close"}
    return requests.request(method, f"{forge.api}{path}", headers=headers, timeout=20, **options)


# git


def test_git_clones_in_every_depth_and_pushes_large_packs(
    forge: Forge, token: str, clone: Path, tmp_path: Path
) -> None:
    env = authorized(token, forge.url)
    git("clone", "--quiet", "--depth=1", forge.clone_url(), "shallow", cwd=tmp_path, env=env)
    git("clone", "--quiet", "--filter=tree:0", "--no-checkout", forge.clone_url(), "bare", cwd=tmp_path, env=env)
    assert git("rev-list", "--count", "HEAD", cwd=tmp_path / "shallow") == "1"
    git("fetch", "--quiet", "--depth=1", "origin", tip(forge, "main~1"), cwd=tmp_path / "shallow", env=env)
    (clone / "large.bin").write_bytes(os.urandom(3_000_000))  # more than http.postBuffer: chunked
    sha = commit(clone, {})
    git("push", "--quiet", "--atomic", "origin", "HEAD", "HEAD:refs/tags/v1", cwd=clone, env=env)
    assert (tip(forge), tip(forge, "refs/tags/v1")) == (sha, sha)
    assert forge.unknown == []


def test_git_speaks_protocol_2_and_sends_compressed_bodies(forge: Forge, token: str, clone: Path) -> None:
    listed = git("ls-remote", "origin", cwd=clone, env=authorized(token, forge.url))
    assert f"{tip(forge)}\trefs/heads/main" in listed
    assert forge.requests[-1].path == "/o/r.git/git-upload-pack"  # only version 2 lists refs by a POST
    body = gzip.compress(b"0014command=ls-refs\n00010000")
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/x-git-upload-pack-request"}
    headers |= {"Git-Protocol": "version=2", "Authorization": header(token).partition(" ")[2], "Connection": "close"}
    answer = requests.post(f"{forge.url}/o/r/git-upload-pack", data=body, headers=headers, timeout=20)
    assert f"{tip(forge)} refs/heads/main" in answer.text


@pytest.mark.parametrize(
    ("kind", "facts", "push", "message"),
    [
        ("installation", {}, True, ""),
        (
            "installation",
            {"permissions": {"contents": "read"}},
            True,
            "Permission to o/r.git denied to github-actions[bot].",
        ),
        ("installation", {"permissions": {"checks": "write"}}, False, "Write access to repository not granted."),
        ("fork", {}, True, "Permission to o/r.git denied to github-actions[bot]."),
        ("fork", {}, False, ""),
        ("personal", {"access": "read", "login": "eve"}, True, "Permission to o/r.git denied to eve."),
        ("personal", {"scopes": ()}, False, "Repository not found."),
        ("installation", {"repository": "other/one"}, False, "Repository not found."),
        ("fine-grained", {"permissions": {"contents": "write"}}, True, ""),
    ],
)
def test_git_requests_that_a_token_may_not_make_are_refused(
    forge: Forge, clone: Path, kind: Any, facts: Any, push: Any, message: str
) -> None:
    env = authorized(forge.token(kind, **facts), forge.url)
    command = ["push", "--dry-run", "origin", "HEAD:refs/heads/x"] if push else ["fetch", "origin"]
    if message:
        with pytest.raises(GitFailed, match=rf"remote: {message.replace('[', '.').replace(']', '.')}"):
            git(*command, cwd=clone, env=env)
    else:
        git(*command, cwd=clone, env=env)


def test_git_is_refused_without_a_credential_and_with_two(forge: Forge, token: str, clone: Path) -> None:
    with pytest.raises(GitFailed, match="could not read Username"):
        git("fetch", "origin", cwd=clone)
    git("config", f"http.{forge.url}/.extraheader", header(token), cwd=clone)
    git("fetch", "origin", cwd=clone)
    twice = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"http.{forge.url}/.extraheader"}
    with pytest.raises(GitFailed, match=r'(?s)Duplicate header: "Authorization".*error: 400'):
        git("fetch", "origin", cwd=clone, env={**twice, "GIT_CONFIG_VALUE_0": header(token)})
    forge.expire(token)
    with pytest.raises(GitFailed, match="could not read Username"):
        git("fetch", "origin", cwd=clone)
    assert [one.authorization for one in forge.requests if one.status >= 400] == ["none", "several", "expired"]


@pytest.mark.parametrize(
    ("ruleset", "message"),
    [
        (False, r"(?s)GH006: Protected branch update failed for refs/heads/main\..*\(protected branch hook declined\)"),
        (True, r"(?s)GH013: Repository rule .*\(push declined due to repository rule violations\)"),
    ],
)
def test_a_protected_branch_accepts_only_allowed_tokens(
    forge: Forge, token: str, clone: Path, ruleset: Any, message: str
) -> None:
    robot = forge.token("installation", app_id=7, app_slug="robot")
    forge.protect("main", allowed=[robot], ruleset=ruleset)
    sha = commit(clone, {"c.txt": "1\n"})
    push = ["push", "--atomic", "origin", "HEAD:refs/heads/main", "HEAD:refs/tags/v1"]
    with pytest.raises(GitFailed, match=message):
        git(*push, cwd=clone, env=authorized(token, forge.url))
    assert tip(forge) != sha
    assert git("tag", cwd=forge._repository(None).bare) == ""
    git(*push, cwd=clone, env=authorized(robot, forge.url))
    assert tip(forge) == sha


def test_a_jobs_token_cannot_push_workflows_nor_pull_request_refs(forge: Forge, token: str, clone: Path) -> None:
    env = authorized(token, forge.url)
    branch(forge, clone, "topic")
    forge.open_pull("topic")
    with pytest.raises(GitFailed, match="deny updating a hidden ref"):
        git("push", "origin", "HEAD:refs/pull/1/head", cwd=clone, env=env)
    commit(clone, {".github/workflows/ci.yml": "on: push\n"})
    with pytest.raises(
        GitFailed, match=r"refusing to allow a GitHub App to create or update workflow `\.github/workflows/ci"
    ):
        git("push", "origin", "HEAD:topic", cwd=clone, env=env)


def test_the_repositorys_own_hooks_still_run(forge: Forge, token: str, clone: Path) -> None:
    hook = forge._repository(None).bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no thanks >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(GitFailed, match=r"(?s)no thanks.*pre-receive hook declined"):
        git("push", "origin", "HEAD:refs/heads/x", cwd=clone, env=authorized(token, forge.url))


# Pull requests


def test_a_pull_request_follows_its_branches(forge: Forge, token: str, clone: Path, repo: Repository) -> None:
    head = branch(forge, clone, "feature/x")
    pull = forge.open_pull("feature/x")
    assert tip(forge, "refs/pull/1/head") == head
    assert (
        git("show", "-s", "--format=%P", "refs/pull/1/merge", cwd=forge._repository(None).bare)
        == f"{tip(forge)} {head}"
    )
    newer = commit(clone, {"d.txt": "1\n"})
    git("push", "--quiet", "origin", "HEAD:feature/x", cwd=clone, env=authorized(token, forge.url))
    assert tip(forge, "refs/pull/1/head") == newer
    assert forge.pull(1).head_sha == repo.get_pull(1).head.sha == newer
    assert [one.number for one in repo.get_pulls(head="o:feature/x")] == [1]
    assert list(repo.get_pulls(head="o:other")) == []
    assert [one.number for one in repo.get_commit(newer).get_pulls()] == [1]
    assert list(repo.get_commit(tip(forge)).get_pulls()) == []
    forge.close_pull(1, merge=True)
    assert (repo.get_pull(1).merged, repo.get_pull(1).state) == (True, "closed")
    assert tip(forge) == pull.merge_sha
    assert repo.get_branch("feature/x").commit.sha == newer


def test_a_conflict_has_no_merge_and_a_deleted_branch_closes(forge: Forge, clone: Path, repo: Repository) -> None:
    branch(forge, clone, "topic", {"a.txt": "2\n"})
    forge.open_pull("topic")
    branch(forge, clone, "main", {"a.txt": "3\n"})
    assert forge.pull(1).merge_sha is None
    assert repo.get_pull(1).mergeable is False
    git("update-ref", "-d", "refs/heads/topic", cwd=forge._repository(None).bare)
    assert repo.get_pull(1).state == "closed"


# REST


def test_comments_are_listed_in_pages_changed_and_limited(forge: Forge, clone: Path, repo: Repository) -> None:
    branch(forge, clone, "topic")
    forge.open_pull("topic")
    for number in range(35):
        forge.comment(1, f"talk {number}")
    mine = repo.get_pull(1).create_issue_comment("<!-- mine --> 1")
    assert len(list(repo.get_pull(1).get_issue_comments())) == 36
    listed = [one for one in forge.requests if "page=2" in one.path]
    assert len(listed) == 1
    assert mine.user.login == "github-actions[bot]"
    mine.edit("x" * 65536)
    assert forge.comments(1)[-1].body == "x" * 65536
    with pytest.raises(GithubException) as caught:
        mine.edit("x" * 65537)
    assert caught.value.status == 422
    assert caught.value.data["errors"][0]["message"] == "Body is too long (maximum is 65536 characters)"
    mine.delete()
    assert len(forge.comments(1)) == 35
    with pytest.raises(GithubException) as caught:
        repo.get_issue(99)
    assert (caught.value.status, caught.value.data["message"]) == (404, "Not Found")


def test_pages_link_to_each_other(forge: Forge, token: str, clone: Path) -> None:
    branch(forge, clone, "topic")
    forge.open_pull("topic")
    for number in range(201):
        forge.comment(1, str(number))
    answer = api(forge, token, "GET", "/repos/o/r/issues/1/comments?per_page=500&page=2")
    assert [one["body"] for one in answer.json()][::99] == ["100", "199"]
    assert sorted(answer.links) == ["first", "last", "next", "prev"]
    assert answer.links["last"]["url"].endswith("page=3")
    assert answer.headers["x-github-request-id"]
    assert answer.headers["x-ratelimit-remaining"] == "999"


def test_a_check_run_from_start_to_end(forge: Forge, repo: Repository) -> None:
    sha = tip(forge)
    started = datetime.now(timezone.utc)
    check = repo.create_check_run("DVC Report", sha, status="in_progress", started_at=started)
    assert (check.status, check.app.slug, check.app.id) == ("in_progress", "github-actions", 15368)
    note = {"path": "a.txt", "start_line": 1, "end_line": 1, "annotation_level": "warning", "message": "careful"}
    for _ in range(2):
        check.edit(output={"title": "t", "summary": "s", "annotations": [note] * 50})
    check.edit(conclusion="success", output={"title": "good", "summary": "s" * 65535})
    assert (check.status, check.output.annotations_count) == ("completed", 100)
    assert forge.check_runs(sha)[0].conclusion == "success"
    again = repo.create_check_run("DVC Report", sha, conclusion="failure")
    commit = repo.get_commit(sha)
    assert [one.id for one in commit.get_check_runs(check_name="DVC Report")] == [again.id]
    assert [one.id for one in commit.get_check_runs(filter="all")] == [again.id, check.id]
    assert list(commit.get_check_runs(check_name="Other")) == []
    assert forge.unknown == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"status": "completed"}, '"conclusion" wasn\'t supplied.'),
        ({"conclusion": "good"}, "For 'properties/conclusion', \"good\" is not a member of"),
        ({"output": {"title": "t"}}, '"summary" wasn\'t supplied.'),
        ({"output": {"title": "t", "summary": "s" * 65536}}, "Only 65535 characters are allowed; 65536 were supplied."),
        ({"output": {"title": "t", "summary": "é" * 40000}}, "Validation Failed"),
        ({"output": {"title": "t", "summary": "s", "annotations": [{}] * 51}}, "weren't supplied"),
        ({"details_url": "ftp://x"}, "details_url must use http or https scheme"),
        ({"sumary": "s"}, '"sumary" is not a permitted key.'),
        ({"external_id": 5}, "For 'properties/external_id', 5 is not a string."),
        ({"head_sha": "0" * 40}, "No commit found for SHA"),
    ],
)
def test_a_check_run_with_a_wrong_body_is_refused(forge: Forge, token: str, body: dict[str, Any], message: str) -> None:
    answer = api(forge, token, "POST", "/repos/o/r/check-runs", json={"name": "n", "head_sha": tip(forge), **body})
    assert answer.status_code == 422
    assert message in answer.json()["message"]
    assert forge.check_runs() == []


def test_more_than_50_annotations_and_a_summary_of_too_many_bytes_are_refused(forge: Forge, token: str) -> None:
    note = {"path": "a", "start_line": 1, "end_line": 1, "annotation_level": "notice", "message": "m"}
    base = {"name": "n", "head_sha": tip(forge)}
    output: dict[str, Any] = {"title": "t", "summary": "s", "annotations": [note] * 51}
    answer = api(forge, token, "POST", "/repos/o/r/check-runs", json={**base, "output": output})
    assert "No more than 50 items are allowed; 51 were supplied." in answer.json()["message"]
    answer = api(
        forge, token, "POST", "/repos/o/r/check-runs", json={**base, "output": {"title": "t", "summary": "é" * 32768}}
    )
    assert answer.json()["errors"][0]["message"] == "summary exceeds a maximum bytesize of 65535"


def test_check_runs_belong_to_the_app_that_made_them(forge: Forge, token: str, repo: Repository) -> None:
    robot = forge.token("installation", app_id=7, app_slug="robot")
    check = repo.create_check_run("n", tip(forge))
    answer = api(forge, robot, "PATCH", f"/repos/o/r/check-runs/{check.id}", json={"conclusion": "success"})
    assert answer.status_code == 403
    assert "can only be modified by the GitHub App that created it" in answer.json()["message"]


@pytest.mark.parametrize(
    ("kind", "facts", "request_", "status", "message"),
    [
        ("personal", {}, "POST /check-runs", 403, "You must authenticate via a GitHub App."),
        ("fine-grained", {}, "POST /check-runs", 403, "Resource not accessible by personal access token"),
        (
            "installation",
            {"permissions": {"contents": "read"}},
            "POST /check-runs",
            403,
            "Resource not accessible by integration",
        ),
        (
            "installation",
            {"permissions": {"contents": "read"}},
            "GET /issues/1/comments",
            403,
            "Resource not accessible by integration",
        ),
        ("fork", {}, "POST /issues/1/comments", 403, "Resource not accessible by integration"),
        ("installation", {"permissions": {}}, "GET ", 200, ""),
        ("installation", {"repository": "o/other"}, "GET ", 404, "Not Found"),
        ("personal", {"scopes": ()}, "GET ", 404, "Not Found"),
        ("personal", {"access": "read"}, "POST /statuses/0", 404, "Not Found"),
        (None, {}, "GET ", 404, "Not Found"),
        ("installation", {}, "GET /branches/main/protection", 403, "Resource not accessible by integration"),
    ],
)
def test_api_requests_that_a_token_may_not_make_are_refused(
    forge: Forge, kind: Any, facts: Any, request_: str, status: int, message: str
) -> None:
    method, path = request_.split(" ")
    answer = api(forge, forge.token(kind, **facts) if kind else None, method, f"/repos/o/r{path}", json={})
    assert (answer.status_code, answer.json().get("message", "")) == (status, message)
    if "integration" in message and "comments" in path:
        level = "read" if method == "GET" else "write"
        assert answer.headers["x-accepted-github-permissions"] == f"issues={level}; pull_requests={level}"


def test_bad_tokens_and_too_many_requests_are_refused(forge: Forge, token: str) -> None:
    unknown = api(forge, "ghs_nobody", "GET", "/repos/o/r")
    assert (unknown.status_code, unknown.json()["message"]) == (401, "Bad credentials")
    twice = requests.get(
        f"{forge.api}/repos/o/r", headers={"Authorization": f"Bearer {token}", "Connection": "close"}, timeout=20
    )
    assert twice.json()["permissions"]["push"] is False
    forge.limit(token, 0)
    used_up = api(forge, token, "GET", "/repos/o/r")
    assert (used_up.status_code, used_up.headers["x-ratelimit-remaining"]) == (403, "0")
    assert "API rate limit exceeded" in used_up.json()["message"]


def test_a_public_repository_can_be_read_by_everybody(forge: Forge) -> None:
    forge._repository(None).private = False
    assert api(forge, None, "GET", "/repos/o/r/commits/main/status").json()["state"] == "pending"
    assert api(forge, None, "POST", "/repos/o/r/issues/1/comments", json={"body": "x"}).status_code == 401
    assert requests.get(f"{forge.url}/o/r/commit/{tip(forge)}", timeout=20, headers={"Connection": "close"}).ok


def test_commit_statuses(forge: Forge, repo: Repository) -> None:
    commit = repo.get_commit(tip(forge))
    commit.create_status("pending", context="cml")
    commit.create_status("success", context="cml", description="d" * 140, target_url="https://example.invalid/")
    commit.create_status("failure", context="other")
    combined = commit.get_combined_status()
    assert (combined.state, combined.total_count, len(list(commit.get_statuses()))) == ("failure", 2, 3)
    with pytest.raises(GithubException, match="maximum is 140 characters"):
        commit.create_status("success", description="d" * 141)


def test_unknown_routes_are_recorded(forge: Forge, token: str) -> None:
    assert api(forge, token, "GET", "/repos/o/r/releases").status_code == 404
    assert api(forge, token, "POST", "/graphql", json={}).status_code == 404
    assert [one.note for one in forge.unknown] == [
        "unknown route: GET /repos/o/r/releases",
        "unknown route: POST /graphql",
    ]


# Faults


@pytest.mark.parametrize(
    "how", ["500", "502", "503", "504", "429", "403", "429-wait", "403-wait", "primary", "html", "redirect"]
)
def test_faults_that_are_answers(forge: Forge, token: str, how: str) -> None:
    forge.fail("GET /repos/*", 1, how, seconds=7)
    bad = api(forge, token, "GET", "/repos/o/r", allow_redirects=False)
    assert bad.status_code == {"html": 200, "redirect": 302, "primary": 403}.get(
        how, int(how[:3]) if how[0].isdigit() else 0
    )
    assert bad.headers.get("Retry-After") == ("7" if how.endswith("-wait") else None)
    assert api(forge, token, "GET", "/repos/o/r").json()["full_name"] == "o/r"
    assert forge.requests[0].fault


@pytest.mark.parametrize(
    ("how", "is_done"), [("reset", False), ("truncated", True), ("done-reset", True), ("done-500", True)]
)
def test_faults_in_the_middle_of_an_answer(forge: Forge, token: str, how: str, is_done: Any) -> None:
    forge.fail("POST */statuses/*", None, how)
    path = f"/repos/o/r/statuses/{tip(forge)}"
    if how == "done-500":
        assert api(forge, token, "POST", path, json={"state": "success"}).status_code == 500
    else:
        with pytest.raises(requests.exceptions.RequestException):
            api(forge, token, "POST", path, json={"state": "success"}).json()
    assert bool(forge.statuses()) == is_done


def test_a_hang_ends_with_the_forge(tmp_path: Path) -> None:
    with Forge(tmp_path) as forge:
        forge.fail("*", None, "hang")
        with pytest.raises(requests.exceptions.ReadTimeout):
            requests.get(forge.api, timeout=0.1, headers={"Connection": "close"})


def test_a_push_that_is_carried_out_without_an_answer(forge: Forge, token: str, clone: Path) -> None:
    forge.fail("POST */git-receive-pack", 1, "done-reset")
    sha = commit(clone, {"e.txt": "1\n"})
    with pytest.raises(GitFailed):
        git("push", "origin", "HEAD:main", cwd=clone, env=authorized(token, forge.url))
    assert tip(forge) == sha


# Jobs


def payload(env: dict[str, str]) -> Any:
    return json.loads(Path(env["GITHUB_EVENT_PATH"]).read_text())


def test_the_environment_of_a_push_and_of_a_tag(forge: Forge) -> None:
    env = forge.event("push")
    assert (env["GITHUB_REF"], env["GITHUB_REF_NAME"], env["GITHUB_SHA"]) == ("refs/heads/main", "main", tip(forge))
    assert payload(env)["repository"]["default_branch"] == "main"
    assert payload(env)["before"] == tip(forge, "main~1")
    assert Path(env["GITHUB_OUTPUT"]).read_text() == ""
    git("tag", "v1", "main", cwd=forge._repository(None).bare)
    env = forge.event("push", ref="refs/tags/v1")
    assert (env["GITHUB_REF_TYPE"], env["GITHUB_REF_NAME"], env["GITHUB_REF"]) == ("tag", "v1", "refs/tags/v1")


def test_the_environment_of_pull_requests(forge: Forge, clone: Path) -> None:
    head = branch(forge, clone, "topic")
    forge.create_repository("eve/r", fork_of="o/r", private=False)
    forge.open_pull("topic")
    forge.open_pull("topic", from_fork="eve/r")
    env = forge.event("pull_request", pull=1, action="opened")
    assert (env["GITHUB_REF"], env["GITHUB_SHA"]) == ("refs/pull/1/merge", tip(forge, "refs/pull/1/merge"))
    assert (env["GITHUB_HEAD_REF"], env["GITHUB_BASE_REF"]) == ("topic", "main")
    assert forge.runs()[-1].head_sha == head
    fork = payload(forge.event("pull_request", pull=2))["pull_request"]
    assert (fork["head"]["repo"]["full_name"], fork["head"]["repo"]["fork"], fork["head"]["sha"]) == (
        "eve/r",
        True,
        head,
    )
    target = forge.event("pull_request_target", pull=2)
    assert (target["GITHUB_REF"], target["GITHUB_SHA"]) == ("refs/heads/main", tip(forge))
    forge.close_pull(1, merge=True)
    closed = forge.event("pull_request", pull=1, action="closed")
    assert (closed["GITHUB_REF"], payload(closed)["pull_request"]["merged"]) == ("refs/heads/main", True)


def test_the_environment_of_the_other_events(forge: Forge, clone: Path, repo: Repository) -> None:
    branch(forge, clone, "topic")
    forge.open_pull("topic")
    forge.comment(1, "/retrain")
    first = forge.event("pull_request", pull=1)
    forge.finish_run(first["GITHUB_RUN_ID"], "failure")
    after = forge.event("workflow_run", run=int(first["GITHUB_RUN_ID"]))
    about = payload(after)["workflow_run"]
    assert (about["event"], about["conclusion"], about["pull_requests"][0]["number"]) == ("pull_request", "failure", 1)
    assert after["GITHUB_SHA"] == tip(forge)
    assert payload(forge.event("workflow_dispatch", ref="topic", inputs={"rate": "1"}))["inputs"] == {"rate": "1"}
    assert payload(forge.event("schedule")) == {"schedule": "0 6 * * *"}
    assert payload(forge.event("issue_comment", pull=1))["comment"]["body"] == "/retrain"
    queued = forge.event("merge_group", pull=1)
    assert queued["GITHUB_REF_NAME"].startswith("gh-readonly-queue/main/pr-1-")
    again = forge.event("pull_request", pull=1, rerun_of=int(first["GITHUB_RUN_ID"]))
    assert (again["GITHUB_RUN_ID"], again["GITHUB_RUN_ATTEMPT"]) == (first["GITHUB_RUN_ID"], "2")
    run = repo.get_workflow_run(int(first["GITHUB_RUN_ID"]))
    assert [(job.name, job.status) for job in run.jobs()] == [("train", "in_progress")]
    assert run.id in [one.id for one in repo.get_workflow_runs(head_sha=run.head_sha)]


@pytest.mark.parametrize("depth", [0, 1])
@pytest.mark.parametrize("credentials", ["config", "included", "none"])
def test_checkouts_are_as_the_action_leaves_them(
    forge: Forge, token: str, clone: Path, depth: int, credentials: Any
) -> None:
    branch(forge, clone, "topic")
    forge.open_pull("topic")
    env = forge.event("pull_request", pull=1)
    workspace = forge.checkout(env, token=token, depth=depth, credentials=credentials)
    assert git("rev-parse", "HEAD", cwd=workspace) == env["GITHUB_SHA"]
    assert git("rev-parse", "--abbrev-ref", "HEAD", cwd=workspace) == "HEAD"
    assert git("rev-list", "--count", "HEAD", cwd=workspace) == ("1" if depth else "4")
    assert ("extraheader" in (workspace / ".git/config").read_text()) == (credentials == "config")
    if credentials == "none":
        with pytest.raises(GitFailed, match="could not read Username"):
            git("fetch", "origin", cwd=workspace)
    else:
        git("fetch", "origin", cwd=workspace)
    (workspace / "rubbish").write_text("x")
    push = forge.event("push", ref="topic", place=Path(env["RUNNER_TEMP"]).parent)
    assert forge.checkout(push, token=token, credentials=credentials) == workspace
    assert git("rev-parse", "--abbrev-ref", "HEAD", cwd=workspace) == "topic"
    assert not (workspace / "rubbish").exists()
    assert forge.unknown == []


# A process of its own


def test_it_runs_as_a_process(forge: Forge, tmp_path: Path) -> None:
    (tmp_path / "served" / "o").mkdir(parents=True)
    forge._repository(None).bare.rename(tmp_path / "served" / "o" / "r.git")
    command = [sys.executable, "-m", "standins.github", "--folder", str(tmp_path / "served"), "--token", "installation"]
    with subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        answer = json.loads(process.stdout.readline())
        control, quiet = f"{answer['url']}/_standin", {"Connection": "close"}
        git(
            "clone",
            "--quiet",
            f"{answer['url']}/o/r",
            "copy",
            cwd=tmp_path,
            env=authorized(answer["tokens"][0], answer["url"]),
        )
        assert (
            requests.post(f"{control}/event", json={"name": "push"}, timeout=20, headers=quiet).json()[
                "GITHUB_REPOSITORY"
            ]
            == "o/r"
        )
        state = requests.get(f"{control}/state", timeout=20, headers=quiet).json()
        assert {one["path"] for one in state["requests"]} == {
            "/o/r/info/refs?service=git-upload-pack",
            "/o/r/git-upload-pack",
        }
        process.terminate()
