"""The state of the stand-in GitLab as plain data. Nothing here changes by itself."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from standins.git_http import git, resolve

Kind = Literal["personal", "project", "group", "job"]
Role = Literal["guest", "reporter", "developer", "maintainer", "owner"]
EventType = Literal["detached", "merged_result", "merge_train"]
LEVELS: dict[str | None, int] = {
    None: 0,
    "guest": 10,
    "reporter": 20,
    "developer": 30,
    "maintainer": 40,
    "owner": 50,
    "none": 60,  # nobody, in a protection
}
ZEROS = "0" * 40


@dataclass(kw_only=True)
class Window:
    """A limit of requests in a number of seconds, after which it starts again."""

    limit: int
    seconds: float = 60
    start: float = 0
    observed: int = 0

    def count(self, now: float) -> bool:
        """Counts one request; returns whether it was too many."""
        if now >= self.start + self.seconds:
            self.start, self.observed = now, 0
        self.observed += 1
        return self.observed > self.limit


@dataclass(kw_only=True)
class Token:
    """A token. `role` is for its `project` or `group`, or everywhere if it has neither; `roles` (by the path of a project)
    come first. A job token has no scopes: certain routes accept it.
    """

    value: str
    kind: Kind
    login: str
    role: Role | None
    scopes: tuple[str, ...] = ()
    project: str | None = None
    group: str | None = None
    roles: dict[str, Role | None] = field(default_factory=dict)
    job: int | None = None
    is_expired: bool = False
    is_revoked: bool = False
    window: Window = field(default_factory=lambda: Window(limit=2000))
    notes: Window = field(default_factory=lambda: Window(limit=60))

    def role_in(self, path: str) -> Role | None:
        if path in self.roles:
            return self.roles[path]
        if self.group is not None:
            return self.role if path.startswith(f"{self.group}/") else None
        return self.role if self.project in (None, path) else None


@dataclass(kw_only=True)
class Note:
    """`commands` are the quick actions that GitLab removed from the body and executed."""

    id: int
    merge_request: int
    body: str
    login: str
    is_system: bool = False
    commands: list[str] = field(default_factory=list)
    created_at: str
    updated_at: str


@dataclass(kw_only=True)
class Release:
    tag_name: str
    name: str
    description: str | None
    login: str
    created_at: str
    released_at: str


@dataclass(kw_only=True)
class Upload:
    id: int
    secret: str
    name: str
    content: bytes
    login: str


@dataclass(kw_only=True)
class Status:
    """A commit status of an outside service. `is_retried`: a later one of the same name and pipeline counts instead."""

    id: int
    sha: str
    ref: str
    pipeline: int
    name: str
    login: str
    state: str = "created"
    target_url: str | None = None
    description: str | None = None
    coverage: float | None = None
    is_retried: bool = False
    created_at: str
    started_at: str | None = None
    finished_at: str | None = None


@dataclass(kw_only=True)
class Job:
    id: int
    name: str
    stage: str
    pipeline: int
    login: str
    status: str = "running"
    is_retried: bool = False
    token: str = ""
    created_at: str
    started_at: str
    finished_at: str | None = None


@dataclass(kw_only=True)
class Pipeline:
    """`ref` is a branch, a tag, or a ref under refs/merge-requests."""

    id: int
    iid: int
    source: str
    ref: str
    sha: str
    login: str
    is_tag: bool = False
    merge_request: int | None = None
    merge_request_project: str | None = None
    event_type: EventType | None = None
    source_branch: str | None = None
    source_sha: str = ""
    target_sha: str = ""
    before_sha: str = ZEROS
    created_at: str


class Started(NamedTuple):
    """A pipeline that a push started; kind: branch, tag or merge_request."""

    sha: str
    ref: str
    kind: Literal["branch", "tag", "merge_request"]


@dataclass(kw_only=True)
class MergeRequest:
    """`merge_sha` is the commit of refs/merge-requests/N/merge, None if the branches conflict."""

    id: int
    iid: int
    title: str
    description: str
    login: str
    source_project: str
    source_branch: str
    target_branch: str
    sha: str
    target_sha: str
    merge_sha: str | None
    state: Literal["opened", "closed", "merged"] = "opened"
    draft: bool = False
    created_at: str
    updated_at: str
    closed_at: str | None = None
    merged_at: str | None = None


@dataclass(kw_only=True)
class Protection:
    """The roles that may push to the branches of a pattern ("none": nobody), or create its tags (`push`)."""

    push: Role | Literal["none"] = "maintainer"
    merge: Role | Literal["none"] = "maintainer"
    allow_force: bool = False


@dataclass(kw_only=True)
class Project:
    id: int
    path: str
    bare: Path
    private: bool
    default_branch: str
    parent: str | None = None
    job_token_may_push: bool = False
    protected_branches: dict[str, Protection] = field(default_factory=dict)
    protected_tags: dict[str, Protection] = field(default_factory=dict)
    merge_requests: dict[int, MergeRequest] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)
    releases: dict[str, Release] = field(default_factory=dict)
    statuses: list[Status] = field(default_factory=list)
    pipelines: dict[int, Pipeline] = field(default_factory=dict)
    jobs: dict[int, Job] = field(default_factory=dict)
    uploads: list[Upload] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def resolve(self, ref: str) -> str | None:
        """Returns the commit of a sha, a branch or a tag."""
        return resolve(self.bare, f"refs/heads/{ref}", f"refs/tags/{ref}", ref)

    def branches(self) -> dict[str, str]:
        return self._refs("refs/heads")

    def tags(self) -> dict[str, str]:
        """Returns name -> commit."""
        return self._refs("refs/tags")

    def _refs(self, prefix: str) -> dict[str, str]:
        form = "%(refname)%00%(if)%(*objectname)%(then)%(*objectname)%(else)%(objectname)%(end)"
        lines = git("for-each-ref", f"--format={form}", prefix, cwd=self.bare).splitlines()
        return {ref.removeprefix(f"{prefix}/"): sha for ref, sha in (line.split("\0") for line in lines)}

    def branch_rules(self, branch: str) -> list[Protection]:
        """Returns the rules of a branch. The ref of a merge request, which its pipelines have, matches none."""
        rules = self.protected_branches.items()
        return [rule for pattern, rule in rules if matches(branch, pattern) and not branch.startswith("refs/")]

    def tag_rules(self, tag: str) -> list[Protection]:
        return [rule for pattern, rule in self.protected_tags.items() if matches(tag, pattern)]

    def level(self, branch: str, action: Literal["push", "merge"]) -> int:
        """Returns the level that an action on a branch needs. Of several rules the mildest counts."""
        needed = [LEVELS[rule.push if action == "push" else rule.merge] for rule in self.branch_rules(branch)]
        return max(min(needed, default=0), LEVELS["developer"])

    def may_create_tag(self, role: Role | None, tag: str) -> bool:
        needed = [LEVELS[rule.push] for rule in self.tag_rules(tag)]
        return LEVELS[role] >= max(min(needed, default=0), LEVELS["developer"])


def matches(name: str, pattern: str) -> bool:
    """Whether a name matches the pattern of a protection: * is the only wild card, and matches slashes, too."""
    return fnmatch.fnmatchcase(name, re.sub(r"([\[?])", r"[\1]", pattern))
