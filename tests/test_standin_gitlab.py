"""The stand-in GitLab refuses what GitLab refuses, to real git and to python-gitlab. Else our tests would prove nothing."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import requests
from gitlab import Gitlab, GitlabAuthenticationError, GitlabError
from gitlab.v4.objects import Project
from standins.git_http import GitFailed, git
from standins.gitlab import Forge

PATH = "lab/vision/digits"
AUTHOR = {f"GIT_{role}_{what}": "ada@example.invalid" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


def commit(clone: Path, files: dict[str, str], message: str = "A change") -> str:
    for name, text in files.items():
        (clone / name).write_text(text)
    git("add", "--all", cwd=clone)
    git("commit", "--quiet", "--allow-empty", "--message", message, cwd=clone, env=AUTHOR)
    return git("rev-parse", "HEAD", cwd=clone)


@pytest.fixture(scope="session")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository whose main has three commits, created once; tests use copies."""
    place = tmp_path_factory.mktemp("seed")
    git("init", "--quiet", "--initial-branch=main", "work", cwd=place)
    for number in range(3):
        commit(place / "work", {"a.txt": f"{number}\n"})
    git("clone", "--quiet", "--bare", "work", "digits.git", cwd=place)
    return place / "digits.git"


@pytest.fixture
def forge(seed: Path, tmp_path: Path) -> Iterator[Forge]:
    """A forge under a path of its host, with a private project in a subgroup."""
    shutil.copytree(seed, tmp_path / "digits.git")
    with Forge(tmp_path / "forge", path="/gitlab") as forge:
        forge.create_project(PATH, bare=tmp_path / "digits.git")
        yield forge


@pytest.fixture
def token(forge: Forge) -> str:
    return forge.token("project")


@pytest.fixture
def clone(seed: Path, tmp_path: Path) -> Path:
    """A clone without a forge."""
    git("clone", "--quiet", str(seed), "clone", cwd=tmp_path)
    return tmp_path / "clone"


@pytest.fixture
def project(forge: Forge, token: str) -> Project:
    return client(forge, token).projects.get(PATH)


def client(forge: Forge, token: str) -> Gitlab:
    if token.startswith("glcbt-"):
        return Gitlab(forge.url, job_token=token)
    return Gitlab(forge.url, private_token=token)


def url(forge: Forge, token: str, user: str | None = None, project: str = PATH) -> str:
    """Returns the address of a project with a credential in it."""
    user = user or ("gitlab-ci-token" if token.startswith("glcbt-") else "any")
    return forge.clone_url(project).replace("://", f"://{user}:{token}@")


def branch(forge: Forge, clone: Path, name: str, files: dict[str, str] | None = None, *, of: str = PATH) -> str:
    """Creates a branch with one commit on the server, ignoring all rules."""
    git("checkout", "--quiet", "-B", name, "origin/main", cwd=clone)
    sha = commit(clone, files or {"b.txt": f"{name}\n"})
    git("push", "--quiet", "--force", str(forge.state.projects[of].bare), f"{name}:refs/heads/{name}", cwd=clone)
    return sha


def tip(forge: Forge, ref: str = "refs/heads/main") -> str:
    return git("rev-parse", ref, cwd=forge.state.projects[PATH].bare)


def api(forge: Forge, token: str | None, method: str, path: str, **options: Any) -> requests.Response:
    """Makes a request with a token in GitLab's own header. Paths are under the project unless they begin with //."""
    name = "JOB-TOKEN" if (token or "").startswith("glcbt-") else "PRIVATE-TOKEN"
    headers = {"Connection": "close", **({name: token} if token else {}), **options.pop("headers", {})}
    where = path[1:] if path.startswith("//") else f"/projects/{quote(PATH, safe='')}{path}"
    return requests.request(method, f"{forge.api}{where}", headers=headers, timeout=20, **options)


# git


def test_git_clones_in_every_depth_and_pushes_large_packs(
    forge: Forge, token: str, clone: Path, tmp_path: Path
) -> None:
    git("clone", "--quiet", "--depth=1", url(forge, token), "shallow", cwd=tmp_path)
    git("clone", "--quiet", "--filter=tree:0", "--no-checkout", url(forge, token), "bare", cwd=tmp_path)
    git("clone", "--quiet", url(forge, token).removesuffix(".git"), "whole", cwd=tmp_path)
    assert git("rev-list", "--count", "HEAD", cwd=tmp_path / "shallow") == "1"
    git("fetch", "--quiet", "--depth=1", "origin", tip(forge, "main~1"), cwd=tmp_path / "shallow")
    (clone / "large.bin").write_bytes(os.urandom(3_000_000))  # more than http.postBuffer: chunked
    sha = commit(clone, {})
    git("push", "--quiet", "--atomic", url(forge, token), "HEAD:main", "HEAD:refs/tags/v1", cwd=clone)
    assert (tip(forge), tip(forge, "refs/tags/v1")) == (sha, sha)
    assert forge.unknown == []


UNSEEN = "The project you were looking for could not be found"
NO_UPLOAD, NO_PUSH = "You are not allowed to upload code.", "You are not allowed to push code to this project."


@pytest.mark.parametrize(
    ("kind", "facts", "push", "message"),
    [
        ("project", {}, True, ""),
        ("group", {}, True, ""),
        ("personal", {"role": "developer"}, True, ""),
        ("personal", {"role": "reporter"}, True, NO_PUSH),
        ("personal", {"role": "reporter"}, False, ""),
        ("personal", {"role": "guest"}, False, "You are not allowed to download code from this project."),
        ("personal", {"role": None}, False, UNSEEN),
        ("project", {"scopes": ["read_repository"]}, True, NO_UPLOAD),
        ("project", {"scopes": ["read_repository"]}, False, ""),
        ("project", {"scopes": ["read_api"]}, False, "Access denied"),
        ("project", {"is_expired": True}, False, "Access denied"),
        ("project", {"is_revoked": True}, False, "Access denied"),
        ("job", {}, False, ""),
        ("job", {}, True, NO_UPLOAD),
    ],
)
def test_git_requests_that_a_token_may_not_make_are_refused(
    forge: Forge, clone: Path, kind: Any, facts: Any, push: Any, message: str
) -> None:
    address = url(forge, forge.token(kind, **facts))
    command = ["push", address, "HEAD:refs/heads/topic"] if push else ["fetch", address, "main"]
    if message:
        with pytest.raises(GitFailed, match=message.replace(".", r"\.")):
            git(*command, cwd=clone)
    else:
        git(*command, cwd=clone)
    assert ("topic" in forge.state.projects[PATH].branches()) == (push and not message)


def test_git_accepts_only_one_credential_and_only_the_right_one(forge: Forge, token: str) -> None:
    job = forge.token("job")
    server = urlsplit(forge.clone_url())

    def status(*pairs: str) -> int:
        connection = HTTPConnection(server.netloc, timeout=20)
        connection.putrequest("GET", f"{server.path}/info/refs?service=git-upload-pack")
        for pair in pairs:
            connection.putheader("Authorization", f"basic {base64.b64encode(pair.encode()).decode()}")
        connection.endheaders()
        with contextlib.closing(connection):
            return connection.getresponse().status

    assert status() == 401
    assert status(f"any:{token}") == 200
    assert status(f"any:{token}", f"any:{token}") == 400
    assert status(f"any:{job}") == 401
    assert status(f"gitlab-ci-token:{job}") == 200
    forge.finish_job(next(iter(forge.state.projects[PATH].jobs)))
    assert status(f"gitlab-ci-token:{job}") == 401


def test_a_public_project_can_be_fetched_by_everybody(forge: Forge, clone: Path) -> None:
    forge.create_project("eve/open", private=False, forked_from=PATH)
    git("fetch", forge.clone_url("eve/open"), "main", cwd=clone)
    with pytest.raises(GitFailed, match="could not read Username"):
        git("push", forge.clone_url("eve/open"), "HEAD:topic", cwd=clone)


def test_a_job_token_reaches_only_its_own_private_project(forge: Forge, clone: Path) -> None:
    forge.create_project("eve/digits", forked_from=PATH)
    job = forge.token("job", project="eve/digits")
    git("fetch", url(forge, job, project="eve/digits"), "main", cwd=clone)
    with pytest.raises(GitFailed, match=f"Authentication by CI/CD job token not allowed from eve/digits to {PATH}"):
        git("fetch", url(forge, job), "main", cwd=clone)
    refused = api(forge, job, "GET", "/releases")
    assert refused.status_code == 403
    assert "not allowed from digits to digits" in refused.json()["message"]


# Protected branches and tags

REFUSED = "You are not allowed to push code to protected branches on this project."


def push(forge: Forge, clone: Path, role: Any, *refspecs: str) -> str:
    """Pushes with the token of a role; returns git's message, if it is refused."""
    try:
        git("push", "--porcelain", url(forge, forge.token("project", role=role)), *refspecs, cwd=clone)
    except GitFailed as error:
        return str(error)
    return ""


def test_a_protected_branch_refuses_the_whole_push_with_gitlabs_message(forge: Forge, clone: Path) -> None:
    commit(clone, {"c.txt": "1\n"})
    message = push(forge, clone, "developer", "HEAD:main", "HEAD:refs/tags/v1")
    assert f"remote: GitLab: {REFUSED}" in message
    assert "!\tHEAD:refs/heads/main\t[remote rejected] (pre-receive hook declined)" in message
    assert "!\tHEAD:refs/tags/v1\t[remote rejected] (pre-receive hook declined)" in message
    assert forge.state.projects[PATH].tags() == {}
    assert push(forge, clone, "maintainer", "HEAD:main", "HEAD:refs/tags/v1") == ""
    forge.protect("main", push="none")
    commit(clone, {"c.txt": "2\n"})
    assert REFUSED in push(forge, clone, "owner", "HEAD:main")
    forge.unprotect("main")
    assert push(forge, clone, "developer", "HEAD:main") == ""


@pytest.mark.parametrize(
    ("pattern", "rule", "refspec", "message"),
    [
        ("release-*", {}, "HEAD:refs/heads/release-1", "You are not allowed to create protected branches"),
        (
            "release-*",
            {"merge": "developer"},
            "HEAD:refs/heads/release-1",
            "only create protected branches using the web",
        ),
        ("release-*", {"push": "developer"}, "HEAD:refs/heads/release-1", ""),
        ("release-[1]", {}, "HEAD:refs/heads/release-1", ""),
        ("*", {"push": "developer"}, "HEAD:main", ""),
        ("kept", {"push": "developer"}, ":refs/heads/kept", "only delete protected branches using the web"),
        ("kept", {"push": "developer"}, "+HEAD~2:refs/heads/kept", "not allowed to force push code to a protected"),
        ("kept", {"push": "developer", "allow_force": True}, "+HEAD~2:refs/heads/kept", ""),
        ("kept", {}, "HEAD:refs/heads/kept", REFUSED),
        ("other", {}, ":refs/heads/main", "The default branch of a project cannot be deleted."),
        ("other", {}, "HEAD:refs/tags/main", "You cannot use default branch name to create a tag"),
        ("other", {}, "HEAD:refs/merge-requests/9/head", "deny updating a hidden ref"),
    ],
)
def test_what_a_developer_may_do_to_branches(
    forge: Forge, clone: Path, pattern: str, rule: Any, refspec: str, message: str
) -> None:
    branch(forge, clone, "kept")
    commit(clone, {"c.txt": "1\n"})
    forge.protect(pattern, **rule)
    answer = push(forge, clone, "developer", refspec)
    assert message in answer
    assert bool(answer) == bool(message)


@pytest.mark.parametrize(
    ("role", "message"), [("developer", "You are not allowed to create this tag as it is"), ("owner", "")]
)
def test_a_protected_tag_is_created_by_some_roles_and_moved_by_none(
    forge: Forge, clone: Path, role: Any, message: str
) -> None:
    forge.protect_tag("dvc_*")
    assert message in push(forge, clone, role, "HEAD:refs/tags/dvc_1")
    assert ("dvc_1" in forge.state.projects[PATH].tags()) == (not message)
    git("tag", "--force", "dvc_1", "main~1", cwd=forge.state.projects[PATH].bare)
    assert "Protected tags cannot be updated." in push(forge, clone, "owner", "+HEAD:refs/tags/dvc_1")
    assert "only delete protected tags using the web" in push(forge, clone, "owner", ":refs/tags/dvc_1")


def test_special_characters_in_names_have_no_effect(forge: Forge, clone: Path, tmp_path: Path) -> None:
    forge.protect("[ab]?\\")
    name = "a;b$(touch$IFS'done')`id`'é"
    assert push(forge, clone, "developer", f"HEAD:refs/heads/{name}") == ""
    assert push(forge, clone, "developer", "HEAD:refs/heads/ax") == ""
    assert name in forge.state.projects[PATH].branches()
    assert not list(tmp_path.glob("**/done"))
    found = api(forge, forge.token("project"), "GET", f"/repository/branches/{quote(name, safe='')}")
    assert found.json()["name"] == name


def test_a_repositorys_own_hooks_run_too(forge: Forge, clone: Path) -> None:
    hook = forge.state.projects[PATH].bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ngrep -q refs/heads/closed && echo 'closed today' >&2 && exit 1\nexit 0\n")
    hook.chmod(0o755)
    assert "remote: closed today" in push(forge, clone, "owner", "HEAD:refs/heads/closed")
    assert push(forge, clone, "owner", "HEAD:refs/heads/open") == ""


# Pipelines that pushes start


def test_a_push_starts_pipelines_for_its_branch_tag_and_merge_requests(forge: Forge, token: str, clone: Path) -> None:
    branch(forge, clone, "topic")
    forge.open_merge_request("topic")
    sha = commit(clone, {"c.txt": "1\n"})
    git("push", url(forge, token), "HEAD:topic", "HEAD:refs/tags/v1", cwd=clone)
    assert sorted(forge.pipelines_started) == [
        (sha, "refs/merge-requests/1/head", "merge_request"),
        (sha, "topic", "branch"),
        (sha, "v1", "tag"),
    ]


@pytest.mark.parametrize(
    ("message", "options"), [("A [ci skip] change", []), ("A\n\n[skip-ci]", []), ("A change", ["-o", "ci.skip"])]
)
def test_a_push_option_prevents_all_but_the_merge_request_pipeline(
    forge: Forge, token: str, clone: Path, message: str, options: list[str]
) -> None:
    branch(forge, clone, "topic")
    forge.open_merge_request("topic")
    commit(clone, {"c.txt": "1\n"}, message)
    git("push", *options, url(forge, token), "HEAD:topic", cwd=clone)
    assert [one.kind for one in forge.pipelines_started] == ["merge_request"]


def test_a_push_with_the_job_token_must_be_allowed_and_starts_no_pipeline(forge: Forge, clone: Path) -> None:
    branch(forge, clone, "topic")
    forge.open_merge_request("topic")
    job = forge.token("job", role="developer")
    sha = commit(clone, {"c.txt": "1\n"})
    with pytest.raises(GitFailed, match="upload code"):
        git("push", url(forge, job), "HEAD:topic", cwd=clone)
    forge.state.projects[PATH].job_token_may_push = True
    git("push", url(forge, job), "HEAD:topic", cwd=clone)
    assert tip(forge, "topic") == forge.merge_request(1).sha == sha
    assert forge.pipelines_started == []
    with pytest.raises(GitFailed, match=REFUSED):
        git("push", url(forge, job), "HEAD:main", cwd=clone)


# Merge requests


def test_merge_requests_follow_their_branches(forge: Forge, token: str, clone: Path, project: Project) -> None:
    head = branch(forge, clone, "topic")
    item = forge.open_merge_request("topic")
    assert tip(forge, "refs/merge-requests/1/head") == head
    assert git("rev-parse", "refs/merge-requests/1/merge^2", cwd=forge.state.projects[PATH].bare) == head
    sha = commit(clone, {"c.txt": "1\n"}, "More")
    git("push", url(forge, token), "HEAD:topic", cwd=clone)
    assert tip(forge, "refs/merge-requests/1/head") == sha
    git("fetch", url(forge, token), "refs/merge-requests/1/merge", cwd=clone)
    (note,) = forge.notes(1, system=True)
    assert f"added 1 commit\n\n<ul><li>{sha[:8]} - More" in note.body
    git("push", "--quiet", url(forge, token), ":refs/heads/topic", cwd=clone)
    answer = project.mergerequests.get(1)
    assert (answer.state, answer.sha, answer.source_branch, answer.id) == ("opened", sha, "topic", item.id)
    forge.close_merge_request(1, merge=True)
    assert project.mergerequests.get(1).state == "merged"
    branch(forge, clone, "conflict", {"a.txt": "other\n"})
    branch(forge, clone, "base", {"a.txt": "another\n"})
    assert forge.open_merge_request("conflict", "base").merge_sha is None


def test_a_merge_request_pushed_into_its_target_is_merged(forge: Forge, token: str, clone: Path) -> None:
    branch(forge, clone, "topic")
    forge.open_merge_request("topic")
    git("push", url(forge, token), "topic:main", cwd=clone)
    assert forge.merge_request(1).state == "merged"


def test_merge_requests_are_found_by_branch_state_and_commit(forge: Forge, clone: Path, project: Project) -> None:
    sha = branch(forge, clone, "topic")
    forge.create_project("eve/digits", forked_from=PATH)
    forge.open_merge_request("topic", fork="eve/digits", login="eve")
    forge.open_merge_request("topic")
    forge.open_merge_request("topic")
    forge.close_merge_request(3)

    def iids(**query: Any) -> list[int]:
        return [item.iid for item in project.mergerequests.list(get_all=True, **query)]

    assert iids() == [3, 2, 1]
    assert iids(state="opened", source_branch="topic", scope="all", sort="asc") == [1, 2]
    assert iids(source_branch="other") == []
    assert iids(author_username="eve") == [1]
    assert iids(iids=[1, 3]) == [3, 1]
    fork, own = project.mergerequests.get(1), project.mergerequests.get(2)
    assert fork.source_project_id != fork.target_project_id == own.source_project_id == project.id
    assert [one["iid"] for one in project.commits.get(sha).merge_requests(get_all=True)] == [3, 2, 1]
    assert forge.unknown == []


# Projects, branches and tokens


@pytest.mark.parametrize(
    ("role", "level", "push_main", "push_topic"),
    [("reporter", 20, False, False), ("developer", 30, False, True), ("maintainer", 40, True, True)],
)
def test_a_project_and_its_branches_say_what_a_role_may_do(
    forge: Forge, clone: Path, role: Any, level: int, push_main: Any, push_topic: Any
) -> None:
    branch(forge, clone, "a/topic")
    gitlab = client(forge, forge.token("project", role=role))
    project = gitlab.projects.get(forge.state.projects[PATH].id)
    assert (project.path_with_namespace, project.default_branch, project.visibility) == (PATH, "main", "private")
    assert project.permissions["project_access"]["access_level"] == level
    assert project.web_url == f"{forge.url}/{PATH}"
    main, topic = project.branches.get("main"), project.branches.get("a/topic")
    assert (main.protected, main.can_push, main.commit["id"]) == (True, push_main, tip(forge))
    assert (topic.protected, topic.can_push, topic.default) == (False, push_topic, False)
    with pytest.raises(GitlabError, match="404 Branch Not Found"):
        project.branches.get("nowhere")
    with pytest.raises(GitlabError, match="404 Commit Not Found"):
        project.commits.get("0" * 40)


def test_a_token_can_read_its_own_user(forge: Forge) -> None:
    bot = client(forge, forge.token("project"))
    bot.auth()
    assert bot.user and bot.user.username.startswith(f"project_{forge.state.projects[PATH].id}_bot_")
    group = client(forge, forge.token("group"))
    group.auth()
    assert group.user and group.user.username.startswith("group_")
    person = client(forge, forge.token("personal", login="bob", scopes=["read_user"]))
    person.auth()
    assert person.user and person.user.username == "bob"
    job = forge.pipeline("push")
    with pytest.raises(GitlabAuthenticationError):
        client(forge, job["CI_JOB_TOKEN"]).auth()
    own = api(forge, job["CI_JOB_TOKEN"], "GET", "//job").json()
    assert (str(own["id"]), own["status"], own["user"]["username"]) == (job["CI_JOB_ID"], "running", "ada")


SCOPE = {"error": "insufficient_scope"}


@pytest.mark.parametrize(
    ("kind", "facts", "request_", "status", "message"),
    [
        (None, {}, "GET ", 404, {"message": "404 Project Not Found"}),
        (None, {}, "GET /jobs/1", 401, {"message": "401 Unauthorized"}),
        ("unknown", {}, "GET ", 401, {"message": "401 Unauthorized"}),
        ("project", {"is_expired": True}, "GET ", 401, {"error": "invalid_token"}),
        ("project", {"is_revoked": True}, "GET ", 401, {"error": "invalid_token"}),
        ("project", {"scopes": ["read_repository"]}, "GET ", 403, {**SCOPE, "scope": "api read_api"}),
        ("project", {"scopes": ["read_api"]}, "POST /statuses/main", 403, {**SCOPE, "scope": "api"}),
        ("project", {"scopes": ["read_api"]}, "GET ", 200, {}),
        ("personal", {"role": None}, "GET ", 404, {"message": "404 Project Not Found"}),
        ("group", {"group": "other"}, "GET ", 404, {"message": "404 Project Not Found"}),
        ("project", {"role": "guest"}, "GET ", 200, {}),
        ("project", {"role": "guest"}, "GET /merge_requests/1", 403, {"message": "403 Forbidden"}),
        ("project", {"role": "guest"}, "GET /repository/branches/main", 403, {"message": "403 Forbidden"}),
        ("project", {"role": "reporter"}, "POST /statuses/main", 403, {"message": "403 Forbidden"}),
        ("project", {"role": "reporter"}, "POST /releases", 403, {"message": "403 Forbidden"}),
        ("project", {"role": "reporter"}, "POST /merge_requests/1/notes", 201, {}),
        ("project", {"role": "developer"}, "POST /statuses/topic", 201, {}),
        ("project", {"role": "developer"}, "POST /statuses/main", 403, {"message": "403 Forbidden"}),
        # a job's token: what GitLab's page of it lists, and nothing else
        ("job", {}, "GET ", 404, {"message": "404 Project Not Found"}),
        ("job", {}, "GET /repository/branches", 200, {}),
        ("job", {}, "GET /repository/branches/main", 404, {"message": "404 Project Not Found"}),
        ("job", {}, "GET /repository/commits/main", 200, {}),
        ("job", {}, "GET /repository/commits/main/statuses", 401, {"message": "401 Unauthorized"}),
        ("job", {}, "POST /statuses/main", 401, {"message": "401 Unauthorized"}),
        ("job", {}, "GET /merge_requests", 200, {}),
        ("job", {}, "GET /merge_requests/1", 200, {}),
        ("job", {}, "GET /merge_requests/1/notes", 200, {}),
        ("job", {}, "POST /merge_requests/1/notes", 401, {"message": "401 Unauthorized"}),
        ("job", {}, "GET /jobs", 401, {"message": "401 Unauthorized"}),
        ("job", {}, "GET /jobs/1", 401, {"message": "401 Unauthorized"}),
        ("job", {}, "GET /pipelines/1", 404, {"message": "404 Project Not Found"}),
        ("job", {}, "POST /uploads", 401, {"message": "401 Unauthorized"}),
        ("job", {}, "POST /releases", 201, {}),
        ("job", {"role": "reporter"}, "POST /releases", 403, {"message": "403 Forbidden"}),
    ],
)
def test_api_requests_that_a_token_may_not_make_are_refused(
    forge: Forge, clone: Path, kind: Any, facts: Any, request_: str, status: int, message: dict[str, str]
) -> None:
    branch(forge, clone, "topic")
    forge.open_merge_request("topic")
    git("tag", "v1", "main", cwd=forge.state.projects[PATH].bare)
    value = (
        {None: None, "unknown": "glpat-nobody"}.get(kind) if kind in (None, "unknown") else forge.token(kind, **facts)
    )
    method, path = request_.split(" ")
    body = {"/releases": {"tag_name": "v1"}, "/merge_requests/1/notes": {"body": "x"}}.get(path, {"state": "success"})
    answer = api(forge, value, method, path, json=body if method == "POST" else None)
    assert answer.status_code == status, answer.text
    if message:
        assert message.items() <= answer.json().items()


def test_a_job_token_is_invalid_after_the_end_of_the_job(forge: Forge) -> None:
    env = forge.pipeline("push")
    assert api(forge, env["CI_JOB_TOKEN"], "GET", "/releases").ok
    as_private = api(forge, None, "GET", "/releases", headers={"PRIVATE-TOKEN": env["CI_JOB_TOKEN"]})
    assert as_private.status_code == 404
    forge.finish_job(env["CI_JOB_ID"])
    assert api(forge, env["CI_JOB_TOKEN"], "GET", "/releases").status_code == 401
    assert [one.authorization for one in forge.exchanges] == ["job", "job", "unknown"]


def test_a_public_project_can_be_read_by_everybody(forge: Forge, clone: Path) -> None:
    forge.state.projects[PATH].private = False
    branch(forge, clone, "topic")
    forge.open_merge_request("topic")
    for path in ("", "/repository/branches/main", "/merge_requests/1", "/releases", "/pipelines"):
        assert api(forge, None, "GET", path).ok
    assert api(forge, None, "GET", "/merge_requests/1/notes").status_code == 401
    stranger = forge.token("personal", role=None)
    assert api(forge, stranger, "POST", "/merge_requests/1/notes", json={"body": "x"}).status_code == 201
    assert requests.get(f"{forge.url}/{PATH}/-/merge_requests/1", timeout=20, headers={"Connection": "close"}).ok


# Notes


@pytest.fixture
def request_(forge: Forge, clone: Path, project: Project) -> Any:
    branch(forge, clone, "topic")
    forge.open_merge_request("topic")
    return project.mergerequests.get(1)


def test_notes_are_written_and_listed_page_by_page(forge: Forge, request_: Any) -> None:
    for number in range(45):
        forge.comment(1, f"note {number}", login="bob", system=number % 2 == 1)
    every = list(request_.notes.list(iterator=True))
    assert [one.body for one in every] == [f"note {number}" for number in reversed(range(45))]
    assert every[0].author["username"] == "bob"
    assert sum(one.system for one in every) == 22
    page = request_.notes.list(page=2, per_page=30, sort="asc", order_by="created_at")
    assert [one.body for one in page] == [f"note {number}" for number in range(30, 45)]
    first = api(forge, forge.token(), "GET", "/merge_requests/1/notes", params={"per_page": 20})
    answer = {
        name: first.headers[name] for name in ("X-Total", "X-Total-Pages", "X-Page", "X-Next-Page", "X-Prev-Page")
    }
    assert list(answer.values()) == ["45", "3", "1", "2", ""]
    assert first.links["next"]["url"].startswith(f"{forge.api}/projects/{quote(PATH, safe='')}/merge_requests/1/notes?")
    only = request_.notes.list(get_all=True, activity_filter="only_comments")
    assert (len(only), forge.unknown) == (23, [])


def test_a_note_belongs_to_its_author_and_to_maintainers(forge: Forge, request_: Any) -> None:
    note = request_.notes.create({"body": "mine"})
    note.body = "mine still"
    note.save()
    developer, reporter = forge.token("project", role="developer"), forge.token("personal", role="reporter")
    path = f"/merge_requests/1/notes/{note.id}"
    assert api(forge, developer, "PUT", path, json={"body": "theirs"}).status_code == 403
    assert api(forge, reporter, "DELETE", path).status_code == 403
    assert [one.body for one in forge.notes(1)] == ["mine still"]
    system = forge.comment(1, "assigned to @ada", system=True)
    with pytest.raises(GitlabError, match="403 Forbidden"):
        request_.notes.delete(system.id)
    other = forge.comment(1, "hello", login="bob")
    request_.notes.delete(other.id)
    with pytest.raises(GitlabError, match="404 Not found"):
        request_.notes.get(other.id)
    with pytest.raises(GitlabError, match="404 Not found"):
        forge_project(request_).mergerequests.get(9)


def forge_project(item: Any) -> Any:
    return item.manager.gitlab.projects.get(PATH)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "body is missing"),
        ({"body": "  "}, "can't be blank"),
        ({"body": "x" * 1_000_001}, "is too long (maximum is 1000000 characters)"),
    ],
)
def test_a_note_with_a_wrong_body_is_refused(forge: Forge, request_: Any, body: Any, message: str) -> None:
    answer = api(forge, forge.token(), "POST", "/merge_requests/1/notes", json=body)
    assert answer.status_code == 400
    assert message in answer.text
    assert forge.notes(1) == []
    request_.notes.create({"body": "é" * 1_000_000})


def test_too_many_notes_a_minute_are_refused_until_it_is_over(forge: Forge, token: str, request_: Any) -> None:
    forge.limit(token, 2, seconds=1, notes=True)
    for _ in range(2):
        request_.notes.create({"body": "x"})
    answer = api(forge, token, "POST", "/merge_requests/1/notes", json={"body": "x"})
    assert (answer.status_code, answer.headers["Retry-After"], answer.headers["RateLimit-Remaining"]) == (429, "1", "0")
    assert "requested too many times" in answer.json()["message"]["error"]
    request_.notes.create({"body": "python-gitlab waits as the server asks"})
    assert len(forge.notes(1)) == 3


def test_quick_actions_are_executed_but_not_in_code(forge: Forge, request_: Any) -> None:
    quiet = "text /close\n\n```\n/close\n```\n\n<details>\n\n/merge\n\n</details>\n\n`x`\n/unknown"
    assert request_.notes.create({"body": quiet}).body == quiet
    assert request_.notes.create({"body": "## Report\n/close\n| a |\n"}).body == "## Report\n\n| a |"
    assert [one.commands for one in forge.notes(1)] == [[], ["/close"]]
    assert api(forge, forge.token(), "POST", "/merge_requests/1/notes", json={"body": "/close"}).status_code == 202
    assert len(forge.notes(1)) == 2


# Releases


def test_releases_are_created_for_tags_and_updated(forge: Forge, project: Project) -> None:
    bare = forge.state.projects[PATH].bare
    git("tag", "--annotate", "--message=v1", "v1", "main", cwd=bare, env=AUTHOR)
    with pytest.raises(GitlabError, match="404: 404 Not Found"):
        project.releases.get("v1")
    release = project.releases.create({"tag_name": "v1", "description": "## Report"})
    assert (release.name, release.commit["id"]) == ("v1", tip(forge))
    release.description = "x" * 1_000_000
    release.save()
    assert forge.releases()["v1"].description == "x" * 1_000_000
    assert project.tags.get("v1").release["tag_name"] == "v1"
    for body, message in (
        ({"tag_name": "v1"}, "409: Release already exists"),
        ({"tag_name": "v2"}, "422: Ref is not specified"),
        ({"tag_name": "v2", "ref": "nowhere"}, "400: Target nowhere is invalid"),
        (
            {"tag_name": "v2", "ref": "main", "description": "x" * 1_000_001},
            "400: Validation failed: Description is too",
        ),
    ):
        with pytest.raises(GitlabError, match=message):
            project.releases.create(body)
    assert list(forge.state.projects[PATH].tags()) == ["v1"]
    release.description += "x"
    with pytest.raises(GitlabError, match="is too long"):
        release.save()
    project.releases.create({"tag_name": "v2", "ref": "main~1"})
    assert (tip(forge, "v2"), forge.pipelines_started[-1].kind) == (tip(forge, "main~1"), "tag")
    assert [one.tag_name for one in project.releases.list(get_all=True)] == ["v2", "v1"]
    assert forge.unknown == []


def test_only_some_roles_may_create_a_release_for_a_protected_tag(forge: Forge, project: Project) -> None:
    git("tag", "v1", "main", cwd=forge.state.projects[PATH].bare)
    forge.protect_tag("v*")
    developer = forge.token("project", role="developer")
    refused = api(forge, developer, "POST", "/releases", json={"tag_name": "v1"})
    assert refused.status_code == 403
    assert refused.json() == {"message": "You are not allowed to create this tag as it is protected."}
    project.releases.create({"tag_name": "v1"})
    assert api(forge, developer, "PUT", "/releases/v1", json={"name": "x"}).json() == {"message": "403 Forbidden"}


# Commit statuses


@pytest.mark.parametrize(
    ("moves", "message", "left"),
    [
        ("pending running success", "", ["success"]),
        ("running failed", "", ["failed"]),
        ("pending canceled", "", ["canceled"]),
        ("pending skipped", "", ["skipped"]),
        ("success running", "", ["success", "running"]),
        ("success failed", "", ["success", "failed"]),
        ("success success", "", ["success", "success"]),
        ("canceled pending", "", ["canceled", "pending"]),
        ("pending pending", ":enqueue from :pending", ["pending"]),
        ("running running", ":run from :running", ["running"]),
        ("running pending", ":enqueue from :running", ["running"]),
        ("running skipped", ":skip from :running", ["running"]),
    ],
)
def test_the_states_of_a_status(forge: Forge, project: Project, moves: str, message: str, left: list[str]) -> None:
    statuses = project.commits.get(tip(forge)).statuses
    *good, last = [{"state": state, "name": "DVC Report", "description": state} for state in moves.split()]
    for body in good:
        statuses.create(body)
    if message:
        event = message.partition(" ")[0].strip(":")
        with pytest.raises(GitlabError) as refused:
            statuses.create(last)
        assert refused.value.error_message == (
            f'Cannot transition status via {message} (Reason(s): Status cannot transition via "{event}")'
        )
    else:
        statuses.create(last)
    assert [one.status for one in statuses.list(get_all=True, all=True)] == left
    assert [(one.status, one.description) for one in statuses.list(get_all=True)] == [(left[-1], left[-1])]
    assert [one.state for one in forge.statuses(tip(forge))] == left[-1:]


def test_a_status_belongs_to_a_pipeline_and_a_user(forge: Forge, clone: Path, project: Project) -> None:
    sha = branch(forge, clone, "topic")
    statuses = project.commits.get(sha).statuses
    outside = statuses.create({"state": "running", "name": "a"})
    assert (outside.ref, outside.sha) == ("topic", sha)
    env = forge.pipeline("push", ref="topic")
    inside = statuses.create({"state": "running", "name": "a", "ref": "topic"})
    assert (inside.pipeline_id, inside.id != outside.id) == (int(env["CI_PIPELINE_ID"]), True)
    forge.open_merge_request("topic")
    merge = forge.pipeline("merge_request_event", merge_request=1)
    newest = statuses.create({"state": "success", "name": "b"})
    assert (newest.pipeline_id, newest.ref) == (int(merge["CI_PIPELINE_ID"]), "refs/merge-requests/1/head")
    chosen = statuses.create({"state": "success", "name": "b", "pipeline_id": int(env["CI_PIPELINE_ID"])})
    assert chosen.pipeline_id == int(env["CI_PIPELINE_ID"])
    with pytest.raises(GitlabError, match="404 Pipeline for pipeline_id, sha and ref Not Found"):
        statuses.create({"state": "success", "pipeline_id": int(merge["CI_PIPELINE_ID"]), "ref": "topic"})
    other = client(forge, forge.token("personal", login="bob")).projects.get(PATH).commits.get(sha).statuses
    theirs = other.create({"state": "running", "name": "a", "ref": "topic"})
    assert theirs.id != inside.id
    assert theirs.author["username"] == "bob"
    rows = statuses.list(get_all=True, ref="topic", name="a")
    assert [row.id for row in rows] == [outside.id, theirs.id]
    assert {row.name for row in statuses.list(get_all=True)} == {"a", "b", "train"}
    assert forge.unknown == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"state": "done"}, "state does not have a valid value"),
        ({}, "state is missing"),
        ({"state": "success", "name": "train"}, "{'name': ['has already been taken']}"),
        ({"state": "success", "description": "x" * 256}, "is too long (maximum is 255 characters)"),
        ({"state": "success", "target_url": "http://x/" + "x" * 256}, "is too long (maximum is 255 characters)"),
        ({"state": "success", "target_url": "ftp://x"}, "is blocked: Only allowed schemes are http, https"),
        ({"state": "success", "description": "x" * 255, "coverage": 12.5}, ""),
    ],
)
def test_a_status_with_a_wrong_body_is_refused(forge: Forge, project: Project, body: Any, message: str) -> None:
    forge.pipeline("push")
    path = f"/statuses/{tip(forge)}"
    answer = api(forge, forge.token(), "POST", path, json=body)
    assert answer.status_code == (400 if message else 201)
    answer = answer.json()
    assert message in str(answer.get("message", answer.get("error", "")))
    assert bool(forge.statuses()) == (not message)


def test_a_status_for_a_commit_on_no_branch_needs_a_ref(forge: Forge, clone: Path, project: Project) -> None:
    sha = branch(forge, clone, "topic")
    git("update-ref", "-d", "refs/heads/topic", cwd=forge.state.projects[PATH].bare)
    statuses = project.commits.get(sha).statuses
    with pytest.raises(GitlabError, match="404 References for commit Not Found"):
        statuses.create({"state": "success"})
    assert statuses.create({"state": "success", "ref": "topic"}).name == "default"


# Uploads, jobs, limits


def test_uploads_are_unchanged_and_can_be_read_by_everybody(forge: Forge, project: Project) -> None:
    content = bytes(range(256)) * 5 + b"\r\n--boundary\r\n"
    answer: Any = project.upload("a plot.png", filedata=content)
    assert answer["markdown"] == f"![a plot]({answer['url']})"
    root = "{0.scheme}://{0.netloc}".format(urlsplit(forge.url))
    assert answer["full_path"].startswith(f"/gitlab/-/project/{project.id}/uploads/")
    shown = requests.get(root + quote(answer["full_path"]), timeout=20, headers={"Connection": "close"})
    assert (shown.content, shown.headers["Content-Type"]) == (content, "image/png")
    assert forge.uploads()[0].content == content
    assert requests.get(f"{forge.url}/{PATH}{quote(answer['url'])}", timeout=20, headers={"Connection": "close"}).ok
    forge.state.upload_limit = 10
    with pytest.raises(GitlabError, match="413"):
        project.upload("b.png", filedata=content)
    assert forge.unknown == []


def test_jobs_and_pipelines_have_a_status(forge: Forge, project: Project) -> None:
    env = forge.pipeline("push")
    job, run = int(env["CI_JOB_ID"]), int(env["CI_PIPELINE_ID"])
    answer = project.jobs.get(job)
    assert (answer.status, answer.name, answer.pipeline["id"], answer.web_url) == (
        "running",
        "train",
        run,
        env["CI_JOB_URL"],
    )
    assert (project.pipelines.get(run).status, project.pipelines.get(run).source) == ("running", "push")
    forge.finish_job(job, "failed")
    assert (project.jobs.get(job).status, project.pipelines.get(run).status) == ("failed", "failed")
    again = forge.pipeline("push", retry_of=job)
    assert (again["CI_PIPELINE_ID"], again["CI_JOB_ID"] != env["CI_JOB_ID"]) == (str(run), True)
    assert project.pipelines.get(run).status == "running"
    assert [one.id for one in project.pipelines.get(run).jobs.list(get_all=True)] == [int(again["CI_JOB_ID"])]
    assert [one.id for one in project.pipelines.list(get_all=True, sha=tip(forge))] == [run]
    with pytest.raises(GitlabError, match="404 Not found"):
        project.jobs.get(1)


def test_jobs_are_listed_by_state_and_not_counted(forge: Forge, project: Project) -> None:
    jobs = [int(forge.pipeline("push")["CI_JOB_ID"]) for _ in range(5)]
    forge.finish_job(jobs[0], "canceled")
    forge.finish_job(jobs[1])

    def listed(*states: str) -> list[int]:
        return [job.id for job in project.jobs.list(scope=list(states), iterator=True, per_page=2)]

    assert listed("running") == jobs[:1:-1]
    assert listed("success", "canceled") == [jobs[1], jobs[0]]
    assert "X-Total" not in api(forge, forge.token(), "GET", "/jobs").headers
    assert forge.unknown == []


def test_too_many_requests_are_refused_until_the_window_is_over(forge: Forge, token: str) -> None:
    forge.limit(token, 1, seconds=1)
    assert api(forge, token, "GET", "").headers["RateLimit-Remaining"] == "0"
    answer = api(forge, token, "GET", "")
    assert (answer.status_code, answer.text, answer.headers["Retry-After"]) == (429, "Retry later\n", "1")
    assert int(answer.headers["RateLimit-Reset"]) > 0
    assert client(forge, token).projects.get(PATH).id == forge.state.projects[PATH].id


def test_mistakes_of_the_client_are_recorded(forge: Forge, token: str, request_: Any) -> None:
    before = len(forge.exchanges)
    api(forge, token, "GET", "/issues")
    api(forge, token, "POST", "//graphql", json={})
    api(forge, token, "POST", "/merge_requests/1/notes", json={"body": "x", "bodi": "x"})
    api(forge, token, "GET", "/merge_requests", params={"source": "topic"})
    requests.get(f"{forge.url.removesuffix('/gitlab')}/api/v4/user", timeout=20, headers={"Connection": "close"})
    assert [one.note for one in forge.exchanges[before:]] == [
        f"unknown route: GET /projects/{quote(PATH, safe='')}/issues",
        "unknown route: POST /graphql",
        "unknown field: bodi",
        "unknown parameter: source",
        "outside of GitLab: /api/v4/user",
    ]


# Faults


@pytest.mark.parametrize("how", ["500", "502", "503", "504", "429", "429-wait", "html", "redirect"])
def test_faults_that_are_answers(forge: Forge, token: str, how: str) -> None:
    forge.fail("GET /projects/*", 1, how, seconds=7)
    bad = api(forge, token, "GET", "", allow_redirects=False)
    assert bad.status_code == {"html": 200, "redirect": 302}.get(how, int(how[:3]) if how[0].isdigit() else 0)
    assert bad.headers.get("Retry-After") == ("7" if how.endswith("-wait") else None)
    assert api(forge, token, "GET", "").json()["path_with_namespace"] == PATH
    assert forge.exchanges[0].fault


@pytest.mark.parametrize(
    ("how", "is_done"), [("reset", False), ("truncated", True), ("done-reset", True), ("done-502", True)]
)
def test_faults_in_the_middle_of_an_answer(forge: Forge, token: str, request_: Any, how: str, is_done: Any) -> None:
    forge.fail("POST */notes", None, how)
    with pytest.raises((requests.exceptions.RequestException, GitlabError)):
        request_.notes.create({"body": "x"})
    assert bool(forge.notes(1)) == is_done


def test_a_hang_ends_with_the_forge(tmp_path: Path) -> None:
    with Forge(tmp_path) as forge:
        forge.fail("*", None, "hang")
        with pytest.raises(requests.exceptions.ReadTimeout):
            requests.get(f"{forge.api}/user", timeout=0.1, headers={"Connection": "close"})


def test_a_push_that_is_carried_out_without_an_answer(forge: Forge, token: str, clone: Path) -> None:
    forge.fail("POST */git-receive-pack", 1, "done-reset")
    sha = commit(clone, {"e.txt": "1\n"})
    with pytest.raises(GitFailed):
        git("push", url(forge, token), "HEAD:main", cwd=clone)
    assert tip(forge) == sha


# Jobs


def test_the_environment_of_branches_tags_and_schedules(forge: Forge) -> None:
    env = forge.pipeline("push")
    assert (env["CI_PIPELINE_SOURCE"], env["CI_COMMIT_BRANCH"], env["CI_COMMIT_SHA"]) == ("push", "main", tip(forge))
    assert (env["CI_COMMIT_BEFORE_SHA"], env["CI_COMMIT_REF_PROTECTED"]) == (tip(forge, "main~1"), "true")
    assert env["CI_API_V4_URL"] == f"{env['CI_SERVER_URL']}/api/v4" == forge.api
    assert (env["CI_PROJECT_PATH"], env["CI_PROJECT_NAME"], env["CI_DEFAULT_BRANCH"]) == (PATH, "digits", "main")
    assert env["CI_REPOSITORY_URL"] == url(forge, env["CI_JOB_TOKEN"])
    assert env["CI_SERVER_FQDN"] == f"{env['CI_SERVER_HOST']}:{env['CI_SERVER_PORT']}"
    assert (env["GITLAB_USER_NAME"], env["GITLAB_USER_LOGIN"]) == ("Ada", "ada")
    assert not [name for name in env if name.startswith("CI_MERGE_REQUEST") or name == "CI_COMMIT_TAG"]
    git("tag", "v1.0", "main~1", cwd=forge.state.projects[PATH].bare)
    env = forge.pipeline("push", tag="v1.0")
    assert (env["CI_COMMIT_TAG"], env["CI_COMMIT_REF_SLUG"], env["CI_COMMIT_SHA"]) == (
        "v1.0",
        "v1-0",
        tip(forge, "v1.0"),
    )
    assert "CI_COMMIT_BRANCH" not in env
    env = forge.pipeline("schedule", login="bob")
    assert (env["CI_PIPELINE_SOURCE"], env["CI_PIPELINE_IID"], env["GITLAB_USER_LOGIN"]) == ("schedule", "3", "bob")


def test_the_environment_of_merge_requests(forge: Forge, clone: Path) -> None:
    head = branch(forge, clone, "my/Topic")
    item = forge.open_merge_request("my/Topic")
    detached = forge.pipeline("merge_request_event", merge_request=1)
    assert (detached["CI_COMMIT_SHA"], detached["CI_MERGE_REQUEST_SOURCE_BRANCH_SHA"]) == (head, "")
    assert (detached["CI_COMMIT_REF_NAME"], detached["CI_COMMIT_REF_SLUG"]) == ("my/Topic", "my-topic")
    assert detached["CI_MERGE_REQUEST_REF_PATH"] == "refs/merge-requests/1/head"
    assert detached["CI_OPEN_MERGE_REQUESTS"] == f"{PATH}!1"
    assert "CI_COMMIT_BRANCH" not in detached
    assert forge.pipeline("push", ref="my/Topic")["CI_OPEN_MERGE_REQUESTS"] == f"{PATH}!1"
    for event in ("merged_result", "merge_train"):
        merged = forge.pipeline("merge_request_event", merge_request=1, event_type=event)
        assert merged["CI_COMMIT_SHA"] == item.merge_sha
        assert merged["CI_MERGE_REQUEST_EVENT_TYPE"] == event
        assert merged["CI_MERGE_REQUEST_SOURCE_BRANCH_SHA"] == head
        assert merged["CI_MERGE_REQUEST_TARGET_BRANCH_SHA"] == merged["CI_MERGE_REQUEST_DIFF_BASE_SHA"] == tip(forge)


def test_a_forks_merge_request_has_its_pipeline_in_the_fork(forge: Forge, clone: Path) -> None:
    forge.create_project("eve/digits", forked_from=PATH)
    head = branch(forge, clone, "topic", of="eve/digits")
    forge.open_merge_request("topic", fork="eve/digits", login="eve")
    env = forge.pipeline("merge_request_event", merge_request=1, login="eve")
    assert (env["CI_PROJECT_PATH"], env["CI_MERGE_REQUEST_PROJECT_PATH"]) == ("eve/digits", PATH)
    assert (env["CI_MERGE_REQUEST_SOURCE_PROJECT_PATH"], env["CI_COMMIT_SHA"]) == ("eve/digits", head)
    workspace = forge.checkout(env)
    assert git("rev-parse", "HEAD", "refs/remotes/origin/topic", cwd=workspace).split() == [head, head]
    inside = forge.pipeline("merge_request_event", merge_request=1, in_target=True)
    assert inside["CI_PROJECT_PATH"] == PATH
    workspace = forge.checkout(inside)
    assert git("rev-parse", "HEAD", cwd=workspace) == head


@pytest.mark.parametrize("depth", [0, 1, 20])
@pytest.mark.parametrize("credentials", ["url", "include", "helper"])
def test_checkouts_are_as_the_runner_leaves_them(
    forge: Forge, clone: Path, depth: int, credentials: Any, tmp_path: Path
) -> None:
    branch(forge, clone, "topic")
    forge.open_merge_request("topic")
    env = forge.pipeline("push", ref="topic")
    workspace = forge.checkout(env, depth=depth, credentials=credentials)
    assert workspace == Path(env["CI_PROJECT_DIR"])
    assert git("rev-parse", "HEAD", cwd=workspace) == env["CI_COMMIT_SHA"]
    assert git("rev-parse", "--abbrev-ref", "HEAD", cwd=workspace) == "HEAD"
    assert git("rev-list", "--count", "HEAD", cwd=workspace) == ("1" if depth == 1 else "4")
    refs = git("for-each-ref", "--format=%(refname)", cwd=workspace).split()
    assert ("refs/remotes/origin/main" in refs) == (depth == 0)
    assert (env["CI_JOB_TOKEN"] in (workspace / ".git/config").read_text()) == (credentials == "url")
    git("fetch", "origin", "main", cwd=workspace, env={"CI_JOB_TOKEN": env["CI_JOB_TOKEN"]})
    if credentials == "helper":
        with pytest.raises(GitFailed, match=r"Access denied|could not read Password"):
            git("fetch", "origin", "main", cwd=workspace)
    (workspace / "rubbish").write_text("x")
    merge = forge.pipeline(
        "merge_request_event", merge_request=1, event_type="merged_result", place=Path(env["CI_BUILDS_DIR"])
    )
    assert forge.checkout(merge, depth=depth, credentials=credentials) == workspace
    assert git("rev-parse", "HEAD", cwd=workspace) == merge["CI_COMMIT_SHA"]
    assert not (workspace / "rubbish").exists()
    assert forge.unknown == []


def test_the_checkout_of_a_merge_request_has_no_branch_of_origin(forge: Forge, clone: Path) -> None:
    branch(forge, clone, "topic")
    forge.open_merge_request("topic")
    env = forge.pipeline("merge_request_event", merge_request=1)
    refs = git("for-each-ref", "--format=%(refname)", cwd=forge.checkout(env))
    assert refs == f"refs/pipelines/{env['CI_PIPELINE_ID']}"


# A process of its own


def test_it_runs_as_a_process(forge: Forge, tmp_path: Path) -> None:
    (tmp_path / "served" / "lab" / "vision").mkdir(parents=True)
    forge.state.projects[PATH].bare.rename(tmp_path / "served" / f"{PATH}.git")
    command = [sys.executable, "-m", "standins.gitlab", "--folder", str(tmp_path / "served"), "--token", "project"]
    command += ["--path", "/gitlab"]
    with subprocess.Popen(command, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        answer = json.loads(process.stdout.readline())
        root, quiet = answer["url"].removesuffix("/gitlab"), {"Connection": "close"}
        env = requests.post(
            f"{root}/_standin/pipeline", json={"source": "push", "place": str(tmp_path)}, timeout=20, headers=quiet
        ).json()
        git("clone", "--quiet", env["CI_REPOSITORY_URL"], "copy", cwd=tmp_path)
        project = Gitlab(answer["url"], private_token=answer["tokens"][0]).projects.get(PATH)
        project.commits.get("main").statuses.create({"state": "success", "name": "DVC Report"})
        state = requests.get(f"{root}/_standin/state", timeout=20, headers=quiet).json()
        assert [one["name"] for one in state["projects"][PATH]["statuses"]] == ["DVC Report"]
        assert state["exchanges"][0]["path"].startswith(f"/gitlab/{PATH}.git/info/refs")
        assert state["errors"] == []
        process.terminate()
