"""The state of the stand-in GitHub: plain data, and pull requests that follow their branches. No HTTP here."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timezone
from pathlib import Path
from typing import Any, Literal

from standins.base import BaseState, token_digest
from standins.git_http import git, is_ancestor, resolve, write_request_refs

Kind = Literal["installation", "personal", "fine-grained"]
ACTIONS_APP = 15368
PREFIXES = {"installation": "ghs_", "personal": "ghp_", "fine-grained": "github_pat_"}
HOURLY = {"installation": 1000, "personal": 5000, "fine-grained": 5000}
PERMISSIVE = dict.fromkeys(("actions", "checks", "contents", "issues", "pull_requests", "statuses"), "write")


@dataclass(kw_only=True)
class Token:
    """A token. `permissions` are for installation and fine-grained tokens, `access` and `scopes` for those of a person."""

    value: str
    kind: Kind
    login: str
    repository: str | None = None
    permissions: dict[str, str] = field(default_factory=dict)
    access: Literal["read", "write", "admin"] = "write"
    scopes: tuple[str, ...] = ()
    app_id: int = ACTIONS_APP
    app_slug: str = "github-actions"
    is_expired: bool = False
    used: int = 0
    limit: int = 1000

    def grants(self, need: str) -> bool:
        """Whether the permissions cover a need such as "checks:write"."""
        name, _, level = need.partition(":")
        return self.permissions.get(name) in (("write",) if level == "write" else ("read", "write"))


@dataclass(kw_only=True)
class Comment:
    id: int
    issue: int
    body: str
    login: str
    app_id: int | None
    created_at: str
    updated_at: str


@dataclass(kw_only=True)
class CheckRun:
    id: int
    name: str
    head_sha: str
    app_id: int
    app_slug: str
    status: str = "queued"
    conclusion: str | None = None
    started_at: str | None = None
    completed_at: str | None = None
    details_url: str | None = None
    external_id: str = ""
    output: dict[str, Any] = field(default_factory=dict)
    annotations: list[dict[str, Any]] = field(default_factory=list)
    actions: list[dict[str, str]] = field(default_factory=list)
    is_job: bool = False


@dataclass(kw_only=True)
class Status:
    id: int
    sha: str
    state: str
    context: str
    description: str | None
    target_url: str | None
    login: str
    created_at: str


@dataclass(kw_only=True)
class Job:
    """A job of a workflow run; it has the id of its check run, as on GitHub."""

    id: int
    name: str
    attempt: int
    status: str = "in_progress"
    conclusion: str | None = None
    started_at: str
    completed_at: str | None = None


@dataclass(kw_only=True)
class Run:
    """A workflow run of an event."""

    id: int
    name: str
    event: str
    head_sha: str
    head_branch: str | None
    number: int
    attempt: int = 1
    status: str = "in_progress"
    conclusion: str | None = None
    pull_numbers: list[int] = field(default_factory=list)
    head_repository: str
    created_at: str
    updated_at: str
    jobs: list[Job] = field(default_factory=list)


@dataclass(kw_only=True)
class Pull:
    """A pull request. `merge_sha` is the commit of refs/pull/N/merge, None if the branches conflict."""

    id: int
    number: int
    title: str
    body: str | None
    login: str
    head_repository: str
    head_branch: str
    base_branch: str
    head_sha: str
    base_sha: str
    merge_sha: str | None
    draft: bool = False
    state: Literal["open", "closed"] = "open"
    is_merged: bool = False
    created_at: str
    updated_at: str
    closed_at: str | None = None


@dataclass(kw_only=True)
class Protection:
    """The protection of a branch: only the tokens in `allowed` may push to it."""

    code: Literal["GH006", "GH013"]
    allowed: tuple[str, ...] = ()


@dataclass(kw_only=True)
class Repository:
    id: int
    full_name: str
    bare: Path
    private: bool
    default_branch: str
    parent: str | None = None
    protected: dict[str, Protection] = field(default_factory=dict)
    pulls: dict[int, Pull] = field(default_factory=dict)
    comments: list[Comment] = field(default_factory=list)
    check_runs: list[CheckRun] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    @property
    def owner(self) -> str:
        return self.full_name.partition("/")[0]

    @property
    def name(self) -> str:
        return self.full_name.partition("/")[2]

    def resolve(self, ref: str) -> str | None:
        """Returns the commit of a sha, a branch, a tag, "heads/x" or "tags/x"."""
        return resolve(self.bare, f"refs/heads/{ref}", f"refs/tags/{ref}", f"refs/{ref}", ref)

    def branches(self) -> dict[str, str]:
        lines = git("for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", cwd=self.bare).splitlines()
        return {ref.removeprefix("refs/heads/"): sha for ref, sha in (line.split(" ") for line in lines)}


class State(BaseState):
    """Everything that the stand-in knows."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, api_path="/api/v3")
        self.repositories: dict[str, Repository] = {}
        self.tokens: dict[str, Token] = {}

    def now(self) -> str:
        return self.clock().astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def add_token(self, kind: Kind, **facts: Any) -> Token:
        token = Token(
            value=PREFIXES[kind] + token_digest(len(self.tokens))[:36], kind=kind, limit=HOURLY[kind], **facts
        )
        self.tokens[token.value] = token
        return token

    def refresh(self, repository: Repository) -> None:
        """Updates the open pull requests from their branches, as GitHub does after every push."""
        with self.lock:
            for pull in repository.pulls.values():
                if pull.state == "open":
                    self._follow(repository, pull)

    def _follow(self, repository: Repository, pull: Pull) -> None:
        source = self.repositories[pull.head_repository]
        head = resolve(source.bare, f"refs/heads/{pull.head_branch}")
        base = resolve(repository.bare, f"refs/heads/{pull.base_branch}")
        if head is None or base is None:
            self.close(pull, is_merged=False)
        elif (head, base) != (pull.head_sha, pull.base_sha):
            pull.head_sha, pull.base_sha, pull.updated_at = head, base, self.now()
            self.write_pull_refs(repository, pull)
            if is_ancestor(repository.bare, head, base):
                self.close(pull, is_merged=True)

    def write_pull_refs(self, repository: Repository, pull: Pull) -> None:
        pull.merge_sha = write_request_refs(
            repository.bare,
            f"refs/pull/{pull.number}",
            source=self.repositories[pull.head_repository].bare,
            head=pull.head_sha,
            base=pull.base_sha,
            name="GitHub",
            email="noreply@github.com",
        )

    def close(self, pull: Pull, *, is_merged: bool) -> None:
        pull.state, pull.is_merged = "closed", is_merged
        pull.closed_at = pull.updated_at = self.now()
