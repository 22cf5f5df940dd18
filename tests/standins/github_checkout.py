"""The workspace as actions/checkout leaves it. Not modelled: submodules, LFS, ssh keys, sparse checkouts."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from standins.git_http import environment, git

Credentials = Literal["config", "included", "none"]


def checkout(
    env: Mapping[str, str],
    *,
    token: str,
    depth: int = 1,
    credentials: Credentials = "config",
    ref: str | None = None,
    repository: str | None = None,
) -> Path:
    """Checks out the commit of the job's event, or `ref`, in GITHUB_WORKSPACE over HTTP; returns the folder.

    `depth` 0 is the whole history. `credentials`: "config" as up to version 5 (in .git/config), "included" as since
    version 6 (in a file under RUNNER_TEMP), "none" as with `persist-credentials: false`. An existing workspace is
    cleaned and used again, as on a self-hosted runner. `ref` is a branch, a sha or a full ref.
    """
    workspace = Path(env["GITHUB_WORKSPACE"])
    server = "{0.scheme}://{0.netloc}".format(urlsplit(env["GITHUB_SERVER_URL"]))
    key = f"http.{server}/.extraheader"
    header = f"AUTHORIZATION: basic {base64.b64encode(f'x-access-token:{token}'.encode()).decode()}"
    safe = environment([("safe.directory", "*"), ("advice.detachedHead", "false")])
    if (workspace / ".git").exists():
        _clean(workspace, key)
    else:
        git("init", "--quiet", "--initial-branch=master", str(workspace), cwd=workspace, env=safe)
        git("remote", "add", "origin", f"{server}/{repository or env['GITHUB_REPOSITORY']}", cwd=workspace, env=safe)
    git("config", "--local", "gc.auto", "0", cwd=workspace, env=safe)
    git("config", "--local", key, header, cwd=workspace, env=safe)
    wanted = ref or env["GITHUB_REF"]
    if wanted.startswith("refs/") or re.fullmatch(r"[0-9a-f]{40}", wanted):
        sha = env["GITHUB_SHA"] if ref in (None, env["GITHUB_REF"]) else ""
    else:
        wanted, sha = f"refs/heads/{wanted}", ""
    _fetch(workspace, wanted, sha, depth)
    _switch(workspace, wanted)
    if credentials != "config":
        git("config", "--local", "--unset-all", key, cwd=workspace, env=safe)
    if credentials == "included":
        _include(workspace, Path(env["RUNNER_TEMP"]), key, header)
    return workspace


def _clean(workspace: Path, key: str) -> None:
    """Removes what the checkout of an earlier job left, as the action does."""
    git("checkout", "--quiet", "--detach", cwd=workspace)
    for branch in git("for-each-ref", "--format=%(refname:short)", "refs/heads", cwd=workspace).splitlines():
        git("branch", "--quiet", "-D", branch, cwd=workspace)
    git("clean", "-ffdxq", cwd=workspace)
    git("reset", "--quiet", "--hard", "HEAD", cwd=workspace)
    settings = git("config", "--local", "--name-only", "--list", cwd=workspace).splitlines()
    for name in {name for name in settings if name.startswith("includeif.gitdir:") or name == key.lower()}:
        git("config", "--local", "--unset-all", name, cwd=workspace)


def _tracking(ref: str) -> str:
    """Returns the local name of a fetched ref: a branch under origin, a pull request under pull, a tag unchanged."""
    if ref.startswith("refs/heads/"):
        return f"refs/remotes/origin/{ref.removeprefix('refs/heads/')}"
    return ref if ref.startswith("refs/tags/") else f"refs/remotes/{ref.removeprefix('refs/')}"


def _fetch(workspace: Path, ref: str, sha: str, depth: int) -> None:
    is_sha = not ref.startswith("refs/")
    one = ref if is_sha else f"+{sha or ref}:{_tracking(ref)}"
    every = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
    if depth:
        options, refspecs = ["--no-tags", f"--depth={depth}"], [one]
    else:
        is_there = ref.startswith(("refs/heads/", "refs/tags/")) or is_sha
        options, refspecs = [], every if is_there else [*every, one]
    command = ["fetch", "--quiet", "--prune", "--no-recurse-submodules", *options, "origin", *refspecs]
    git("-c", "protocol.version=2", *command, cwd=workspace)


def _switch(workspace: Path, ref: str) -> None:
    if ref.startswith("refs/heads/"):
        branch = ref.removeprefix("refs/heads/")
        git("checkout", "--quiet", "--force", "-B", branch, f"refs/remotes/origin/{branch}", cwd=workspace)
    else:
        git("checkout", "--quiet", "--force", _tracking(ref) if ref.startswith("refs/") else ref, cwd=workspace)


def _include(workspace: Path, temp: Path, key: str, header: str) -> None:
    """Includes the credentials by the paths of the machine and by those inside a container action."""
    file = temp / "git-credentials-5c0ffee0-0000-4000-8000-000000000000.config"
    git("config", "--file", str(file), key, header, cwd=workspace)
    inside = f"/github/runner_temp/{file.name}"
    for git_dir, path in ((workspace / ".git", str(file)), (Path("/github/workspace/.git"), inside)):
        git("config", "--local", f"includeIf.gitdir:{git_dir}.path", path, cwd=workspace)
        git("config", "--local", f"includeIf.gitdir:{git_dir}/worktrees/*.path", path, cwd=workspace)
