"""The note on the merge request, found again by its hidden marker and its author."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cml.forges.base import Context, is_marked, marker_of
from cml.forges.gitlab.client import NO_WAIT, GitLabClient

if TYPE_CHECKING:
    from gitlab.base import RESTObject

UPLOAD = re.compile(r"\]\((?P<address>/uploads/[0-9a-f]+/(?P<name>[0-9a-f]{16}\.png))\)")


class Notes:
    """The notes of one report name. With `is_new`, each job has its own note. Methods raise the errors of the API."""

    def __init__(self, client: GitLabClient, context: Context, *, name: str, is_new: bool) -> None:
        self._client = client
        self._context = context
        self._name = name
        self._marker = marker_of(name, client.job.id if is_new else "")

    def find_merge_request(self) -> int | None:
        """Returns the merge request that gets the note: the pipeline's own, else the open one of its branch."""
        if self._context.pull:
            return self._context.pull.number
        branch = self._context.pull_query
        if not branch:
            return None
        for merge in self._client.merge_requests.list(source_branch=branch, state="opened", iterator=True, **NO_WAIT):
            # A fork may have a branch of the same name.
            if merge.source_project_id == merge.target_project_id:
                return int(merge.iid)
        return None

    def find(self, number: int) -> list[RESTObject]:
        """Returns the notes of this report name that the token's user wrote, the oldest first."""
        notes = self._client.merge_requests.get(number, lazy=True).notes
        # Anybody can write a note with the marker: only notes of the token's own user count. The oldest is first, so
        # that two jobs which created one at the same time update the same note from then on.
        return [
            note
            for note in notes.list(sort="asc", order_by="created_at", iterator=True, **NO_WAIT)
            if not note.system and is_marked(note.body, self._name) and note.author["id"] == self._client.user
        ]

    def find_images(self, number: int) -> dict[str, str]:
        """Returns the uploads that the notes show: name -> address."""
        text = "\n".join(note.body for note in self.find(number))
        return {found["name"]: found["address"] for found in UPLOAD.finditer(text)}

    def write(self, number: int, text: str, shas: tuple[str, ...]) -> str:
        """Updates the note, or creates it; returns its address.

        An existing note is only updated while the head of the merge request is one of `shas`; otherwise the note is for
        a newer commit, or will be.
        """
        body = f"{self._marker}\n{_without_quick_actions(text)}"
        page = f"{self._client.job.merge_url}/-/merge_requests/{number}"
        notes = self._client.merge_requests.get(number, lazy=True).notes
        for note in self.find(number):
            if note.body.startswith(self._marker):
                if note.body.strip() != body.strip() and self._is_current(number, shas):
                    notes.update(note.id, {"body": body}, **NO_WAIT)
                return f"{page}#note_{note.id}"
        return f"{page}#note_{notes.create({'body': body}, **NO_WAIT).id}"

    def _is_current(self, number: int, shas: tuple[str, ...]) -> bool:
        return self._client.merge_requests.get(number, **NO_WAIT).sha in shas


def _without_quick_actions(text: str) -> str:
    """GitLab executes lines of a note that begin with a slash: a zero-width space before it prevents that."""
    return re.sub(r"^([ \t]*)(?=/)", "\\1\u200b", text, flags=re.MULTILINE)
