"""The release on the tag of the results."""

from __future__ import annotations

from urllib.parse import quote

from gitlab import GitlabCreateError, GitlabGetError

from cml.forges.gitlab.client import NO_WAIT, GitLabClient


class Releases:
    """The releases of one report name. Methods raise the errors of the API."""

    def __init__(self, client: GitLabClient, *, name: str, project_url: str) -> None:
        self._client = client
        self._name = name
        self._project_url = project_url

    def find(self, tag: str) -> str | None:
        """Returns the text of a tag's release, or None if the tag has no release."""
        # A release without a text exists too, so None must not mean both.
        try:
            return str(self._client.project.releases.get(tag, **NO_WAIT).description or "")
        except GitlabGetError as error:
            if error.response_code != 404:
                raise
            return None

    def write(self, tag: str, text: str) -> str:
        """Creates the release, or updates it; returns its address."""
        found = self.find(tag)
        if found is None:
            found = self._create(tag, text)
        if found is not None and found.strip() != text.strip():
            self._client.project.releases.update(tag, {"description": text}, **NO_WAIT)
        # A tag may contain slashes: exp/1a2b3c4.
        return f"{self._project_url}/-/releases/{quote(tag, safe='')}"

    def _create(self, tag: str, text: str) -> str | None:
        """Creates the release. Returns the text of the one that another run has created meanwhile, if any."""
        fields = {"tag_name": tag, "name": f"{self._name} {tag}", "description": text}
        try:
            self._client.project.releases.create(fields, **NO_WAIT)
        except GitlabCreateError as error:
            if error.response_code != 409:
                raise
            return self.find(tag)
        return None
