"""GitLab as a forge: the note on the merge request, the release on the tag of the results, a commit status, the log.

Everything is looked up and then written, as one step that can be repeated as a whole.
"""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

from cml.forges.base import Context, DuplicateRun, Forge, Outputs, Publication, Published
from cml.forges.gitlab.context import DUPLICATE_EVENTS, GitLabJob
from cml.forges.retry import OPTIONAL_SECONDS

if TYPE_CHECKING:
    from cml.forges.gitlab.api import GitLabApi

T = TypeVar("T")


class GitLab(Forge):
    """A job on GitLab, on any host. A job token may write releases and nothing else: the rest is left out, and one
    warning says which token it needs. Outputs are not set here: GitLab reads them from `cml.env`.
    """

    comment_limit = page_limit = 990_000  # GitLab refuses notes and releases above 1,000,000 characters
    has_terminal = True

    def __init__(
        self,
        context: Context,
        job: GitLabJob,
        token: str,
        *,
        is_job_token: bool,
        report_name: str,
        comment: str,
        terminal: TextIO,
    ) -> None:
        super().__init__(context)
        self._job = job
        self._token = token
        self._is_job_token = is_job_token
        self._name = report_name
        self._comment_mode = comment
        self._terminal = terminal
        self._key = ""
        self._merge_request: int | None = None
        self._connected: GitLabApi | None = None

    @property
    def _api(self) -> GitLabApi:
        if self._connected is None:
            # A run that is skipped does not need python-gitlab, which takes half a second to import.
            from cml.forges.gitlab.api import GitLabApi

            self._connected = GitLabApi(
                self.context,
                self._job,
                self._token,
                is_job_token=self._is_job_token,
                report_name=self._name,
                comment_mode=self._comment_mode,
            )
        return self._connected

    # The log

    @contextlib.contextmanager
    def log_group(self, title: str) -> Iterator[None]:
        """A section of the job's log that can be folded."""
        # GitLab allows only these characters in the name of a section.
        name = f"cml_{re.sub('[^a-z0-9]+', '_', title.lower())}"
        _print_section(f"section_start:{int(time.time())}:{name}\r\x1b[0K{title}")
        try:
            yield
        finally:
            _print_section(f"section_end:{int(time.time())}:{name}\r\x1b[0K")

    # The start of a run

    def no_push(self) -> str | None:
        pull = self.context.pull
        if self.context.no_push or pull is None:
            return self.context.no_push
        state = self._call_optional("merge request", lambda: self._api.merge_request_state(pull.number))
        return f"the merge request is {state}" if state not in (None, "opened") else None

    def push_refusal(self, branch: str) -> str | None:
        return self._call_optional("branch", lambda: self._api.push_refusal(branch))

    def start(self, key: str) -> DuplicateRun | None:
        """Finds a duplicate run; marks nothing, since the list of running jobs is enough to find this one."""
        self._key = key
        # A job token may read neither jobs nor statuses.
        head = self.context.head
        if self._is_job_token or head is None or self.context.event not in DUPLICATE_EVENTS:
            return None
        running = self._call_optional("job", lambda: self._api.jobs.find_duplicate(head))
        return running or self._call_optional(
            "commit status", lambda: self._api.find_finished(head, lambda finished: finished.key == key)
        )

    def find_results(self, sha: str) -> DuplicateRun | None:
        def has_results(outputs: Outputs | None) -> bool:
            return outputs is not None and outputs.sha == sha

        if self._is_job_token:
            return None
        return self._call_optional(
            "commit status", lambda: self._api.find_finished(sha, lambda finished: has_results(finished.run.outputs))
        )

    def _call_optional(self, subject: str, work: Callable[[], T]) -> T | None:
        """Makes a call before the work; the run can do without its answer."""
        found = self._api.calls.call(subject, work, at_most=OPTIONAL_SECONDS)
        if self._is_job_token:
            self._api.calls.problems.pop(subject, None)  # depends on the version of GitLab; not worth a warning
        return found

    # The end of a run

    def upload_images(self, images: Sequence[str], folder: Path, *, tag: str) -> Mapping[str, str]:
        """Uploads the images that the note does not show yet."""
        self._start_publishing()
        files = [image for image in images if (folder / image).exists()]
        if not files or not (self._merge_request or tag):
            return {}
        if self._is_job_token:
            self._api.left_out.add("images")
            return {}
        if self._job.merge_project != self._job.project:
            return {}  # GitLab shows an upload only in its own project
        uploads, addresses = self._api.uploads, self._find_images()
        found = {}
        for file in files:
            content = (folder / file).read_bytes()
            name = uploads.name_of(content)
            if name not in addresses:
                address = self._api.calls.call("image", partial(uploads.add, content))
                if address is None:
                    # GitLab is in trouble: each other image would use up the time for note, release and status.
                    break
                addresses[name] = address
            found[file] = addresses[name]
        return found

    def _find_images(self) -> dict[str, str]:
        number = self._merge_request
        if number is None:
            return {}
        return self._api.calls.call("note", lambda: self._api.notes.find_images(number)) or {}

    def publish(self, publication: Publication) -> Published:
        """Publishes the note, the release and the commit status, and prints the report in the log."""
        outputs, number = publication.outputs, self._merge_request
        note = self._publish_note(number, publication.comment, outputs.sha) if number else None
        release = self._publish_release(outputs.tag, publication.page) if outputs.tag else None
        url = note or release or self.context.run_url or ""
        if self._may_set_status():
            address = self._api.statuses.address(url, key=self._key, publication=publication)
            self._publish_status(outputs, publication.headline, address)
        with contextlib.suppress(OSError):  # nobody reads the log any more
            self._terminal.write(publication.terminal)
            self._terminal.flush()
        return Published(url=url, warnings=self._api.warnings())

    def has_report(self) -> bool:
        number = self._find_merge_request()
        return number is None or self._is_reported(number)

    def publish_existing_results(self, duplicate: DuplicateRun) -> Published:
        """Publishes the note, if there is none yet. The duplicate run itself published the release and the status."""
        self._start_publishing()
        outputs, number, url = duplicate.outputs, self._merge_request, None
        if number and duplicate.markdown and not self._is_reported(number):
            url = self._publish_note(number, duplicate.markdown, outputs.sha if outputs else "")
        if outputs and outputs.verdict == "failed" and self._may_set_status():
            # The status of the other pipeline does not count for the merge request: a failed gate must fail this one.
            self._publish_status(outputs, "a gate failed", self._api.statuses.address(duplicate.url))
        return Published(url=url or duplicate.url, warnings=self._api.warnings())

    def comment(self, text: str) -> Published:
        """Posts a saved report as a note, never as a status: a status could allow a merge."""
        self._start_publishing()
        number = self._merge_request
        url = self._publish_note(number, text, "") if number else None
        warnings = self._api.warnings()
        if url is None and not warnings:
            warnings = ("nothing was posted: no open merge request has the branch of this pipeline",)
        return Published(url=url or "", warnings=warnings)

    def _start_publishing(self) -> None:
        self._api.calls.problems.clear()
        self._api.left_out.clear()
        self._merge_request = self._find_merge_request()

    def _find_merge_request(self) -> int | None:
        """Returns the merge request that gets the note."""
        if self._comment_mode == "off":
            return None
        if self._is_job_token:
            self._api.left_out.add("the note of the merge request")
            return None
        return self._api.calls.call("merge request", self._api.notes.find_merge_request)

    def _is_reported(self, number: int) -> bool:
        """Whether the merge request has a note; also true if that cannot be found out."""
        return self._api.calls.call("note", lambda: bool(self._api.notes.find(number))) is not False

    def _publish_note(self, number: int, text: str, sha: str) -> str | None:
        shas = (sha, self.context.head or "")
        return self._api.calls.call("note", lambda: self._api.notes.write(number, text, shas))

    def _publish_release(self, tag: str, text: str) -> str | None:
        return self._api.calls.call("release", lambda: self._api.releases.write(tag, text))

    def _may_set_status(self) -> bool:
        if self._is_job_token:
            self._api.left_out.add("the commit status")
        return not self._is_job_token

    def _publish_status(self, outputs: Outputs, description: str, address: str) -> None:
        """Sets the status of the results commit, of the head commit, and of the commit of this pipeline."""
        statuses = self._api.statuses
        for sha in dict.fromkeys([outputs.sha, self.context.head or outputs.sha, self._job.sha]):
            set_status = partial(statuses.set, sha, outputs.verdict, description, address)
            self._api.calls.call("commit status", set_status)


def _print_section(text: str) -> None:
    with contextlib.suppress(OSError):  # nobody reads the log any more
        sys.stderr.write(f"\x1b[0K{text}\n")
        sys.stderr.flush()
