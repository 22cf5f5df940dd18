"""The workspace as GitLab's runner leaves it: `git init`, one fetch, and a detached HEAD.

In a merge request's pipeline no branch is fetched, only the pipeline's own ref. Not modelled: submodules,
LFS, and the strategies "clone", "none" and "empty".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from standins.git_http import environment, git

Credentials = Literal["url", "include", "helper"]
HELPER = '!f(){ if [ "$1" = "get" ] ; then echo "password=${CI_JOB_TOKEN}" ; fi ; } ; f'


def checkout(env: Mapping[str, str], *, depth: int = 20, credentials: Credentials = "url") -> Path:
    """Checks out the commit of the job's pipeline in CI_PROJECT_DIR over HTTP; returns the folder.

    `depth` 0 is the whole history. `credentials` is where the job token is: "url" in the remote's URL (older runners),
    "include" in a file beside the project that rewrites the plain URL (newer runners), "helper" only in the job's
    environment, which a credential helper in that file reads (FF_GIT_URLS_WITHOUT_TOKENS). An existing workspace is
    cleaned and used again.
    """
    project, url = Path(env["CI_PROJECT_DIR"]), env["CI_REPOSITORY_URL"]
    plain = _without_credentials(url)
    safe = {**environment([("safe.directory", "*"), ("advice.detachedHead", "false")])}
    safe["CI_JOB_TOKEN"] = env["CI_JOB_TOKEN"]
    project.mkdir(parents=True, exist_ok=True)
    remote = url if credentials == "url" else plain
    if (project / ".git").exists():
        git("remote", "set-url", "origin", remote, cwd=project, env=safe)
    else:
        git("init", "--quiet", "--initial-branch=none", ".", cwd=project, env=safe)
        for name, value in (("fetch.recurseSubmodules", "false"), ("credential.interactive", "never")):
            git("config", name, value, cwd=project, env=safe)
        git("config", "gc.autoDetach", "false", cwd=project, env=safe)
        git("remote", "add", "origin", remote, cwd=project, env=safe)
    _include(project, url, plain, credentials)
    options = ["--no-recurse-submodules", "--prune", "--quiet", *([f"--depth={depth}"] if depth else [])]
    git("fetch", "origin", *_refspecs(env, depth), *options, cwd=project, env=safe)
    git("checkout", "--force", "--quiet", "--detach", env["CI_COMMIT_SHA"], cwd=project, env=safe)
    git("clean", "-ffdxq", cwd=project, env=safe)
    return project


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _refspecs(env: Mapping[str, str], depth: int) -> list[str]:
    pipeline = f"refs/pipelines/{env['CI_PIPELINE_ID']}"
    refspecs = [f"+{pipeline}:{pipeline}"]
    if not depth:
        return [*refspecs, "+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
    if "CI_COMMIT_TAG" in env:
        return [*refspecs, f"+refs/tags/{env['CI_COMMIT_TAG']}:refs/tags/{env['CI_COMMIT_TAG']}"]
    is_fork = env.get("CI_MERGE_REQUEST_PROJECT_ID") not in (None, env["CI_PROJECT_ID"])
    if "CI_COMMIT_BRANCH" in env or is_fork:
        branch = env["CI_COMMIT_REF_NAME"]
        refspecs.append(f"+refs/heads/{branch}:refs/remotes/origin/{branch}")
    return refspecs


def _include(project: Path, url: str, plain: str, credentials: Credentials) -> None:
    folder = project.with_name(f"{project.name}.tmp")
    folder.mkdir(exist_ok=True)
    file = folder / ".gitlab-runner.ext.conf"
    file.unlink(missing_ok=True)
    if credentials == "url":
        return
    if credentials == "include":
        git("config", "--file", str(file), f"url.{url}.insteadOf", plain, cwd=project)
    else:
        host = "{0.scheme}://{0.netloc}".format(urlsplit(plain))
        git("config", "--file", str(file), f"credential.{host}.username", "gitlab-ci-token", cwd=project)
        git("config", "--file", str(file), f"credential.{host}.helper", HELPER, cwd=project)
    git("config", "--replace-all", "include.path", str(file), cwd=project)
