"""All that a stand-in GitLab knows, and how merge requests follow their branches. No HTTP here."""

from __future__ import annotations

import hashlib
import itertools
import shutil
import threading
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from standins.git_http import git, is_ancestor, merge, resolve
from standins.gitlab_model import Kind, MergeRequest, Note, Project, Started, Token

PREFIXES = {"personal": "glpat-", "project": "glpat-", "group": "glpat-", "job": "glcbt-"}


class State:
    """Ids count up from the same start; times are the clock's, which a test may set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = ""
        self.projects: dict[str, Project] = {}
        self.tokens: dict[str, Token] = {}
        self.started: list[Started] = []
        self.clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
        self.lock = threading.RLock()
        self.upload_limit = 100 * 1024 * 1024
        self._ids = itertools.count(1_000_001)
        self._people: dict[str, int] = {}

    @property
    def api(self) -> str:
        return f"{self.base}/api/v4"

    def next_id(self) -> int:
        return next(self._ids)

    def now(self) -> str:
        return self.clock().astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def user_id(self, login: str) -> int:
        return self._people.setdefault(login, len(self._people) + 101)

    def url(self, project: Project) -> str:
        return f"{self.base}/{project.path}"

    def project_of_id(self, number: int) -> Project | None:
        return next((project for project in self.projects.values() if project.id == number), None)

    def create_project(self, path: str, *, bare: Path | None, forked_from: str | None, **facts: Any) -> Project:
        place = bare or self.folder / f"{path}.git"
        if not place.exists() and forked_from:
            shutil.copytree(self.projects[forked_from].bare, place)
        elif not place.exists():
            place.mkdir(parents=True)
            git("init", "--quiet", "--bare", f"--initial-branch={facts['default_branch']}", cwd=place)
        project = Project(id=self.next_id(), path=path, bare=place.resolve(), parent=forked_from, **facts)
        self.projects[path] = project
        return project

    def add_token(self, kind: Kind, **facts: Any) -> Token:
        digest = hashlib.sha256(f"token {len(self.tokens)}".encode()).hexdigest()
        value = PREFIXES[kind] + ("64_" if kind == "job" else "") + digest[:20]
        if "login" not in facts:
            place = facts["project"] if kind == "project" else facts["group"]
            number = self.projects[place].id if kind == "project" else sum(place.encode())
            facts["login"] = f"{kind}_{number}_bot_{digest[20:52]}"
        token = Token(value=value, kind=kind, **facts)
        self.tokens[token.value] = token
        return token

    def add_note(self, project: Project, iid: int, body: str, *, login: str, is_system: bool = False) -> Note:
        now = self.now()
        note = Note(
            id=self.next_id(),
            merge_request=iid,
            body=body,
            login=login,
            is_system=is_system,
            created_at=now,
            updated_at=now,
        )
        project.notes.append(note)
        return note

    def open_merge_request(
        self, into: Project, source: str, target: str, *, fork: str | None, title: str, draft: bool, login: str
    ) -> MergeRequest:
        origin = self.projects[fork or into.path]
        now = self.now()
        item = MergeRequest(
            id=self.next_id(),
            iid=len(into.merge_requests) + 1,
            title=title,
            description="",
            login=login,
            source_project=origin.path,
            source_branch=source,
            target_branch=target,
            sha=origin.branches()[source],
            target_sha=into.branches()[target],
            merge_sha=None,
            draft=draft,
            created_at=now,
            updated_at=now,
        )
        self.write_refs(into, item)
        into.merge_requests[item.iid] = item
        return item

    def close_merge_request(self, into: Project, iid: int, *, merge: bool) -> None:
        self.refresh(into)
        item = into.merge_requests[iid]
        if merge:
            assert item.merge_sha, "the branches conflict"
            git("update-ref", f"refs/heads/{item.target_branch}", item.merge_sha, cwd=into.bare)
            item.state, item.merged_at = "merged", self.now()
        else:
            item.state, item.closed_at = "closed", self.now()

    def refresh(self, project: Project) -> None:
        """Lets the open merge requests follow their branches, as GitLab does after every push."""
        with self.lock:
            for item in project.merge_requests.values():
                if item.state == "opened":
                    self._follow(project, item)

    def _follow(self, project: Project, item: MergeRequest) -> None:
        source = self.projects[item.source_project]
        head = resolve(source.bare, f"refs/heads/{item.source_branch}") or item.sha  # its branch may be gone
        target = resolve(project.bare, f"refs/heads/{item.target_branch}")
        if target is None:
            item.state, item.closed_at = "closed", self.now()
        elif (head, target) != (item.sha, item.target_sha):
            old, item.sha, item.target_sha, item.updated_at = item.sha, head, target, self.now()
            self.write_refs(project, item)
            if old != head:
                self._tell_of_commits(project, item, old)
            if is_ancestor(project.bare, head, target):
                item.state, item.merged_at = "merged", self.now()

    def _tell_of_commits(self, project: Project, item: MergeRequest, old: str) -> None:
        lines = git("log", "--format=%h - %s", "--abbrev=8", f"{old}..{item.sha}", cwd=project.bare).splitlines()
        listed = "".join(f"<li>{line}</li>" for line in lines)
        count = f"{len(lines)} commit{'s' if len(lines) != 1 else ''}"
        self.add_note(project, item.iid, f"added {count}\n\n<ul>{listed}</ul>", login=item.login, is_system=True)

    def write_refs(self, project: Project, item: MergeRequest) -> None:
        """Writes refs/merge-requests/N/head, and N/merge with a real merge where the branches do not conflict."""
        refs = f"refs/merge-requests/{item.iid}"
        source = self.projects[item.source_project].bare
        git("fetch", "--quiet", str(source), f"+{item.sha}:{refs}/head", cwd=project.bare)
        message = f"Merge {item.sha} into {item.target_sha}"
        email = f"{item.login}@example.invalid"
        item.merge_sha = merge(project.bare, item.target_sha, item.sha, message, name=item.login, email=email)
        if item.merge_sha:
            git("update-ref", f"{refs}/merge", item.merge_sha, cwd=project.bare)
        else:
            git("update-ref", "-d", f"{refs}/merge", cwd=project.bare)
