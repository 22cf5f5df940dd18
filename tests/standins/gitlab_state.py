"""The state of the stand-in GitLab, and merge requests that follow their branches. No HTTP here."""

from __future__ import annotations

from datetime import timezone
from pathlib import Path
from typing import Any

from standins.base import BaseState, token_digest
from standins.git_http import git, is_ancestor, resolve, write_request_refs
from standins.gitlab_model import Kind, MergeRequest, Note, Project, Started, Token

PREFIXES = {"personal": "glpat-", "project": "glpat-", "group": "glpat-", "job": "glcbt-"}


class State(BaseState):
    """Everything that the stand-in knows."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, api_path="/api/v4")
        self.projects: dict[str, Project] = {}
        self.tokens: dict[str, Token] = {}
        self.started: list[Started] = []
        self.upload_limit = 100 * 1024 * 1024
        self._people: dict[str, int] = {}

    def now(self) -> str:
        return self.clock().astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def user_id(self, login: str) -> int:
        return self._people.setdefault(login, len(self._people) + 101)

    def url(self, project: Project) -> str:
        return f"{self.base}/{project.path}"

    def project_of_id(self, number: int) -> Project | None:
        return next((project for project in self.projects.values() if project.id == number), None)

    def create_project(self, path: str, *, bare: Path | None, forked_from: str | None, **facts: Any) -> Project:
        parent = self.projects[forked_from].bare if forked_from else None
        place = self.find_or_create_bare(path, bare, fork_of=parent, default_branch=facts["default_branch"])
        project = Project(id=self.next_id(), path=path, bare=place, parent=forked_from, **facts)
        self.projects[path] = project
        return project

    def add_token(self, kind: Kind, **facts: Any) -> Token:
        digest = token_digest(len(self.tokens))
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
        """Updates the open merge requests from their branches, as GitLab does after every push."""
        with self.lock:
            for item in project.merge_requests.values():
                if item.state == "opened":
                    self._follow(project, item)

    def _follow(self, project: Project, item: MergeRequest) -> None:
        source = self.projects[item.source_project]
        head = resolve(source.bare, f"refs/heads/{item.source_branch}") or item.sha  # the branch may not exist any more
        target = resolve(project.bare, f"refs/heads/{item.target_branch}")
        if target is None:
            item.state, item.closed_at = "closed", self.now()
        elif (head, target) != (item.sha, item.target_sha):
            old, item.sha, item.target_sha, item.updated_at = item.sha, head, target, self.now()
            self.write_refs(project, item)
            if old != head:
                self._add_note_of_commits(project, item, old)
            if is_ancestor(project.bare, head, target):
                item.state, item.merged_at = "merged", self.now()

    def _add_note_of_commits(self, project: Project, item: MergeRequest, old: str) -> None:
        lines = git("log", "--format=%h - %s", "--abbrev=8", f"{old}..{item.sha}", cwd=project.bare).splitlines()
        listed = "".join(f"<li>{line}</li>" for line in lines)
        count = f"{len(lines)} commit{'s' if len(lines) != 1 else ''}"
        self.add_note(project, item.iid, f"added {count}\n\n<ul>{listed}</ul>", login=item.login, is_system=True)

    def write_refs(self, project: Project, item: MergeRequest) -> None:
        item.merge_sha = write_request_refs(
            project.bare,
            f"refs/merge-requests/{item.iid}",
            source=self.projects[item.source_project].bare,
            head=item.sha,
            base=item.target_sha,
            name=item.login,
            email=f"{item.login}@example.invalid",
        )
