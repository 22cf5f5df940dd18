"""Images of the report, uploaded to the project."""

from __future__ import annotations

import hashlib

from cml.forges.gitlab.client import NO_WAIT, GitLabClient


class Uploads:
    """Methods raise the errors of the API."""

    def __init__(self, client: GitLabClient) -> None:
        self._client = client

    def name_of(self, content: bytes) -> str:
        """Returns the name of an upload: a hash, so that the same image is found again and not uploaded twice."""
        return f"{hashlib.sha256(content).hexdigest()[:16]}.png"

    def add(self, content: bytes) -> str:
        """Uploads an image; returns its address within the project."""
        answer = self._client.project.upload(self.name_of(content), filedata=content, **NO_WAIT)
        return str(answer["url"])
