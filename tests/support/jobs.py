"""`cml run` as a CI job on GitHub, as a CI job on GitLab, or on a laptop, with one interface for all three.

Everything is real except the forge, which is a stand-in. `open_jobs` starts it, `close_jobs` stops it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from standins import github, gitlab

from support.world import Result, World

REPORT_NAME = "DVC Report"
Env = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class JobResult(Result):
    """The result of `cml run` in a job, with the job's workspace and outputs."""

    workspace: Path
    outputs: dict[str, str]


class Jobs(Protocol):
    """Jobs for one world. `Env` is the environment of a job."""

    name: str
    world: World

    def push(self, branch: str) -> Env:
        """Returns the job that a push to a branch starts."""

    def start(self, env: Env) -> Path:
        """Starts a job; returns its workspace after the checkout."""

    def run(self, env: Env, *, workspace: Path | None = None, **variables: str) -> JobResult:
        """Runs `cml run` with these variables in a workspace, by default in that of a newly started job."""

    def conclusion(self, sha: str) -> str:
        """Returns what a commit shows: "success", "failure", or "" for nothing."""


class ForgeJobs(Jobs, Protocol):
    """Jobs on a forge with pull requests and an API."""

    def open_pull(self, branch: str) -> int:
        """Opens a pull request to main; returns its number."""

    def pull(self, number: int) -> Env:
        """Returns the job that a push to the branch of a pull request starts."""

    def reports(self, number: int) -> list[str]:
        """Returns the reports in the comments of a pull request."""

    def break_down(self) -> None:
        """From now on the API answers each request with 429 and `Retry-After: 300`."""


def push_branch(world: World, name: str, rate: float) -> str:
    """Pushes a new branch with another parameter; returns its head."""
    world.git("switch", "--quiet", "--create", name, "main")
    sha = world.commit(f"Rate {rate}", {"params.yaml": f"train:\n  rate: {rate}\n"})
    world.git("switch", "--quiet", "main")
    return sha


def _run(world: World, workspace: Path, env: Env, variables: Mapping[str, str], secrets: tuple[str, ...]) -> JobResult:
    extra = {**env, **variables}
    extra.pop("HOME", None)
    extra.pop("PATH", None)
    done = world.try_run("cml", "run", cwd=workspace, env=extra)
    assert "Traceback" not in done.err
    assert not [secret for secret in secrets if secret in done.err + done.out]
    folder = Path(workspace, variables.get("working_directory", "."), "cml-report")
    outputs = folder / "cml.env"
    lines = outputs.read_text().splitlines() if outputs.exists() else []
    pairs = (line.removeprefix("CML_").partition("=") for line in lines)
    return JobResult(done.code, done.out, done.err, workspace=workspace, outputs={k.lower(): v for k, _, v in pairs})


class LocalJobs:
    name = "local"

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self._clones = 0

    def push(self, branch: str) -> Env:
        return {"BRANCH": branch}

    def start(self, env: Env) -> Path:
        self._clones += 1
        return self.world.clone(f"laptop-{self._clones}", "--branch", env["BRANCH"])

    def run(self, env: Env, *, workspace: Path | None = None, **variables: str) -> JobResult:
        return _run(self.world, workspace or self.start(env), env, {"push": "true", **variables}, ())

    def conclusion(self, sha: str) -> str:
        return ""


class GitHubJobs:
    """A world whose origin is served by a stand-in GitHub."""

    name = "github"

    def __init__(self, world: World, folder: Path) -> None:
        self.world = world
        self.forge = github.Forge(folder).start()
        self.forge.create_repository("ada/digits", bare=world.origin)
        self.token = self.forge.token("installation")

    def push(self, branch: str) -> Env:
        return self.forge.event("push", ref=branch)

    def pull(self, number: int) -> Env:
        return self.forge.event("pull_request", pull=number, action="synchronize")

    def open_pull(self, branch: str) -> int:
        return self.forge.open_pull(branch).number

    def start(self, env: Env) -> Path:
        return self.forge.checkout(env, token=self.token)

    def run(self, env: Env, *, workspace: Path | None = None, **variables: str) -> JobResult:
        return _run(
            self.world, workspace or self.start(env), env, {"INPUT_REPO_TOKEN": self.token, **variables}, (self.token,)
        )

    def reports(self, number: int) -> list[str]:
        return [comment.body for comment in self.forge.comments(number)]

    def conclusion(self, sha: str) -> str:
        found = [one.conclusion or "" for one in self.forge.check_runs(sha) if one.name == REPORT_NAME]
        assert len(found) < 2
        return "".join(found)

    def break_down(self) -> None:
        self.forge.fail("* /repos/*", times=None, how="429-wait", seconds=300)


class GitLabJobs:
    """A world whose origin is served by a stand-in GitLab. `token` becomes GITLAB_TOKEN; None leaves the job's token."""

    name = "gitlab"

    def __init__(self, world: World, folder: Path, *, path: str = "", project: str = "ada/digits") -> None:
        self.world = world
        self.forge = gitlab.Forge(folder, path=path).start()
        self.project = self.forge.create_project(project, bare=world.origin)
        self.token: str | None = self.forge.token("project")

    def push(self, branch: str) -> Env:
        return self._wait(self.forge.pipeline("push", ref=branch))

    def pull(self, number: int) -> Env:
        return self._wait(self.forge.pipeline("merge_request_event", merge_request=number))

    def _wait(self, env: Env) -> Env:
        for project in self.forge.state.projects.values():
            if job := project.jobs.get(int(env["CI_JOB_ID"])):
                job.status = "pending"  # until a runner takes it
        return env

    def start(self, env: Env, **checkout: Any) -> Path:
        for project in self.forge.state.projects.values():
            if job := project.jobs.get(int(env["CI_JOB_ID"])):
                job.status, job.started_at = "running", self.forge.state.now()
        return self.forge.checkout(env, **checkout)

    def open_pull(self, branch: str) -> int:
        return self.forge.open_merge_request(branch).iid

    def run(self, env: Env, *, workspace: Path | None = None, **variables: str) -> JobResult:
        workspace = workspace or self.start(env)
        token = {"GITLAB_TOKEN": self.token} if self.token else {}
        secrets = tuple(filter(None, (self.token, env["CI_JOB_TOKEN"])))
        done = _run(self.world, workspace, env, {**token, **variables}, secrets)
        self.forge.finish_job(env["CI_JOB_ID"], "success" if done.code == 0 else "failed")
        return done

    def reports(self, number: int) -> list[str]:
        return [note.body for note in self.forge.notes(number)]

    def conclusion(self, sha: str) -> str:
        states = {status.state for status in self.forge.statuses(sha) if status.name == REPORT_NAME}
        assert len(states) < 2
        return {"failed": "failure"}.get(*states, *states) if states else ""

    def break_down(self) -> None:
        self.forge.fail("* /projects/*", times=None, how="429-wait", seconds=300)


FORGES: dict[str, Callable[[World, Path], ForgeJobs]] = {"github": GitHubJobs, "gitlab": GitLabJobs}
FORGES_AND_LOCAL: dict[str, Callable[[World, Path], Jobs]] = {"local": LocalJobs, **FORGES}


def open_jobs(name: str, world: World, folder: Path) -> Any:
    """Returns the jobs for a world on "local", "github" or "gitlab". The forge runs until `close_jobs`."""
    return FORGES_AND_LOCAL[name](world, folder)


def close_jobs(jobs: Any) -> None:
    """Stops the forge; fails if the stand-in had an exception."""
    forge = getattr(jobs, "forge", None)
    if forge:
        forge.stop()
        assert not forge.errors, "\n".join(forge.errors)
