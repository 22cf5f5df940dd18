"""The sticky note on a merge request, found by its hidden marker and its author."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cml.forges.base import Context, is_marked, marker_of
from cml.forges.gitlab.api import AT_ONCE, Api

if TYPE_CHECKING:
    from gitlab.base import RESTObject

UPLOAD = re.compile(r"\]\((/uploads/[0-9a-f]+/([0-9a-f]{16}\.png))\)")


class Notes:
    """The notes of a report's name. `is_new` gives every job a note of its own. Methods raise what the API raises."""

    def __init__(self, api: Api, context: Context, *, name: str, is_new: bool) -> None:
        self._api = api
        self._context = context
        self._name = name
        self._marker = marker_of(name, api.job.id if is_new else "")

    def merge_request(self) -> int | None:
        """Returns the merge request that gets the note: the pipeline's own, else the open one of its branch."""
        if self._context.pull:
            return self._context.pull.number
        branch = self._context.pull_query
        if not branch:
            return None
        for merge in self._api.merge_requests.list(source_branch=branch, state="opened", iterator=True, **AT_ONCE):
            if merge.source_project_id == merge.target_project_id:
                return int(merge.iid)
        return None

    def own(self, number: int) -> list[RESTObject]:
        """Returns the notes that are a report of this name and by this token, the oldest first."""
        notes = self._api.merge_requests.get(number, lazy=True).notes
        return [
            note
            for note in notes.list(sort="asc", order_by="created_at", iterator=True, **AT_ONCE)
            if not note.system and is_marked(note.body, self._name) and note.author["id"] == self._api.user
        ]

    def images(self, number: int) -> dict[str, str]:
        """Returns the uploads that are shown already: name -> address."""
        return {found[2]: found[1] for note in self.own(number) for found in UPLOAD.finditer(note.body)}

    def write(self, number: int, text: str, shas: tuple[str, ...]) -> str:
        """Updates the note, or makes it; returns its address. Where the merge request is at none of `shas` any more, a
        note that is there stays as it is: it is of a newer commit, or will be.
        """
        body = f"{self._marker}\n{text}"
        notes = self._api.merge_requests.get(number, lazy=True).notes
        page = f"{self._api.job.merge_url}/-/merge_requests/{number}"
        for note in self.own(number):
            if note.body.startswith(self._marker):
                if note.body.strip() != body.strip() and self._api.merge_requests.get(number, **AT_ONCE).sha in shas:
                    notes.update(note.id, {"body": body}, **AT_ONCE)
                return f"{page}#note_{note.id}"
        return f"{page}#note_{notes.create({'body': body}, **AT_ONCE).id}"
