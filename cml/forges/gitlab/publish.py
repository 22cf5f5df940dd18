"""GitLab: the release on the results' tag, the sticky note on the merge request, a commit status, sections in the log.

Every message is looked up and then written, as one step that can be tried again as a whole. The list of running jobs
tells which twin is at work: a status that says so would stay behind when a job is killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar
from urllib.parse import quote, unquote

from cml.forges.base import Context, DuplicateRun, Forge, Outputs, Publication, Published
from cml.forges.gitlab.api import AT_ONCE, Api
from cml.forges.gitlab.notes import Notes
from cml.forges.retry import OPTIONAL_SECONDS, ApiCalls, ApiProblem

if TYPE_CHECKING:
    from gitlab.base import RESTObject

DUPLICATE_EVENTS = ("push", "merge_request_event")
STATUS_LIMIT = 255  # characters of a status's description, and of its address
OWN_STATUS = re.compile(r"\?cml=([0-9a-f]+)-([0-9a-f]{40,64})-(passed|failed|none)-([03])-([01])-([^#]*)")
T = TypeVar("T")
ADVICE = (
    "set the CI/CD variable GITLAB_TOKEN to a project access token with the scopes api and write_repository and the "
    "role Developer"
)


class GitLab(Forge):
    """A job on GitLab, wherever it is hosted. A job's own token may write releases and nothing else: what needs more
    is left out, and one warning says which token it takes.
    """

    comment_limit = page_limit = 990_000  # GitLab refuses notes and releases above 1,000,000 characters
    has_terminal = True

    def __init__(
        self,
        context: Context,
        api: Api,
        *,
        report_name: str,
        comment: str,
        terminal: TextIO,
    ) -> None:
        super().__init__(context)
        self._api = api
        self._job = api.job
        self._is_job_token = api.is_job_token
        self._name = report_name
        self._notes = Notes(api, context, name=report_name, is_new=comment == "new")
        self._has_note = comment != "off"
        self._terminal = terminal
        self._key = ""
        self._calls = ApiCalls(api.trouble)
        self._left_out: set[str] = set()
        self._number: int | None = None

    # The log

    @contextlib.contextmanager
    def log_group(self, title: str) -> Iterator[None]:
        """Puts what children say into a section of the job's log that folds."""
        name = f"cml_{re.sub('[^a-z0-9]+', '_', title.lower())}"
        with contextlib.suppress(OSError):
            sys.stderr.write(f"\x1b[0Ksection_start:{int(time.time())}:{name}\r\x1b[0K{title}\n")
            sys.stderr.flush()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                sys.stderr.write(f"\x1b[0Ksection_end:{int(time.time())}:{name}\r\x1b[0K\n")
                sys.stderr.flush()

    # The run begins

    def no_push(self) -> str | None:
        pull = self.context.pull
        if self.context.no_push or pull is None:
            return self.context.no_push
        merge = self._ask_first("merge request", lambda: self._api.merge_requests.get(pull.number, **AT_ONCE))
        if merge and merge.state != "opened":
            return f"the merge request is {merge.state}"
        return None

    def push_refusal(self, branch: str) -> str | None:
        found = self._ask_first("branch", lambda: self._find_branch(branch))
        if found is None or found.attributes.get("can_push") is not False:
            return None
        if found.attributes.get("protected"):
            return "the branch is protected, and the token's role may not push to it"
        return "the token's role may not push"

    def _find_branch(self, name: str) -> RESTObject | None:
        # The list is the one door to branches that a job's own token opens, too.
        branches = self._api.project.branches.list(search=f"^{name}", iterator=True, **AT_ONCE)
        return next((branch for branch in branches if branch.name == name), None)

    def _ask_first(self, what: str, work: Callable[[], T]) -> T | None:
        """Asks before the work, what a run can do without."""
        found = self._calls.call(what, work, at_most=OPTIONAL_SECONDS)
        if self._is_job_token:
            self._calls.problems.pop(what, None)  # some versions of GitLab let it, some do not
        return found

    def start(self, key: str) -> DuplicateRun | None:
        """Returns the twin that is doing, or has done, the same work."""
        self._key = key
        head = self.context.head
        # Pushes alone start two pipelines for the same work; variables of others may differ.
        if self._is_job_token or head is None or self.context.event not in DUPLICATE_EVENTS:
            return None
        if running := self._ask_first("job", lambda: self._running_duplicate(head)):
            return running
        return self._ask_first("commit status", lambda: self._finished_duplicate(head, lambda known: known[0] == key))

    def _running_duplicate(self, head: str) -> DuplicateRun | None:
        """The job of the same name for the same commit and branch that began before this one does the work of both."""
        jobs = [
            job
            for job in self._api.project.jobs.list(scope=["running"], iterator=True, **AT_ONCE)
            if job.name == self._job.name
            and job.ref in self._job.refs
            and not job.tag
            and job.pipeline.get("source", "push") in DUPLICATE_EVENTS
            and head in (job.commit["id"], *_merged(job))
        ]
        began = {str(job.id): (job.started_at or "", job.id) for job in jobs}
        own = began.get(self._job.id)
        if own is None:
            return None
        first = min(jobs, key=lambda job: began[str(job.id)])
        return None if str(first.id) == self._job.id else DuplicateRun(url=first.web_url)

    def _finished_duplicate(self, sha: str, is_it: Callable[[tuple[str, str]], bool]) -> DuplicateRun | None:
        wanted = {"name": self._name, "all": True}  # `all` as an argument is the library's own
        for status in self._api.statuses(sha).list(query_parameters=wanted, iterator=True, **AT_ONCE):
            found = OWN_STATUS.search(status.target_url or "")
            if found and is_it((found[1], found[2])):
                tag = unquote(found[6])
                url = OWN_STATUS.sub("", status.target_url)
                outputs = Outputs(
                    changed=found[5] == "1", sha=found[2], tag=tag, verdict=found[3], report_url=url, report=""
                )
                text = self._find_release(tag) if tag else None
                return DuplicateRun(url=url, outputs=outputs, exit_code=int(found[4]), markdown=text or "")
        return None

    def find_results(self, sha: str) -> DuplicateRun | None:
        if self._is_job_token:
            return None
        return self._ask_first("commit status", lambda: self._finished_duplicate(sha, lambda known: known[1] == sha))

    # The run ends

    def publish(self, publication: Publication) -> Published:
        """Publishes the note, the release and the commit status, and prints the report in the log."""
        outputs, number = publication.outputs, self._number
        note = self._publish_note(number, publication.comment, outputs.sha) if number else None
        release = self._publish_release(outputs.tag, publication.page) if outputs.tag else None
        url = note or release or self.context.run_url or ""
        marks = self._marks(outputs, publication.exit_code) if publication.is_complete else ""
        self._publish_status(url, marks, publication.headline, outputs)
        with contextlib.suppress(OSError):
            self._terminal.write(publication.terminal)
            self._terminal.flush()
        return Published(url=url, warnings=self._warnings())

    def has_report(self) -> bool:
        number = self._merge_request()
        return number is None or self._calls.call("note", lambda: self._notes.own(number) != []) is not False

    def publish_existing_results(self, duplicate: DuplicateRun) -> Published:
        self._start_publishing()
        number = self._merge_request()
        url = None
        if number and duplicate.markdown and not self.has_report():
            url = self._publish_note(number, duplicate.markdown, duplicate.outputs.sha if duplicate.outputs else "")
        if duplicate.outputs and duplicate.outputs.verdict == "failed":
            # Else this pipeline, which is the merge request's, would let in what a gate holds back.
            self._publish_status(duplicate.url, "", "a gate failed", duplicate.outputs)
        return Published(url=url or duplicate.url, warnings=self._warnings())

    def comment(self, text: str) -> Published:
        """Shows a saved report on the merge request: as a note, never as a status that could let it in."""
        self._start_publishing()
        number = self._merge_request()
        url = self._publish_note(number, text, "") if number else None
        warnings = self._warnings()
        if url is None and not warnings:
            warnings = ("no open merge request has the branch that this pipeline is for, so nothing was posted",)
        return Published(url=url or "", warnings=warnings)

    def _merge_request(self) -> int | None:
        """Returns the merge request that gets the note, or None where none does."""
        if self._has_note and self._is_job_token:
            self._left_out.add("the merge request's note")
        if not self._has_note or self._is_job_token:
            return None
        return self._calls.call("merge request", self._notes.merge_request)

    def _publish_note(self, number: int, text: str, sha: str) -> str | None:
        shas = (sha, self.context.head or "")
        return self._calls.call("note", lambda: self._notes.write(number, _without_commands(text), shas))

    # Images

    def upload_images(self, images: Sequence[str], folder: Path, *, tag: str) -> Mapping[str, str]:
        """Uploads the images that the note does not show yet. The name of an upload is a hash of its content."""
        self._start_publishing()
        self._number = number = self._merge_request()
        files = [image for image in images if (folder / image).exists()]
        if not files or not (number or tag):
            return {}
        if self._is_job_token:
            self._left_out.add("images")
            return {}
        if self._job.merge_project != self._job.project:
            return {}  # an upload shows in its own project alone
        known = self._calls.call("note", lambda: self._notes.images(number)) if number else None
        addresses = dict(known or {})
        shown = {}
        for file in files:
            content = (folder / file).read_bytes()
            name = f"{hashlib.sha256(content).hexdigest()[:16]}.png"
            if name not in addresses:
                upload = partial(self._api.project.upload, name, filedata=content, **AT_ONCE)
                made = self._calls.call("image", upload)
                if made is None:
                    break
                addresses[name] = str(made["url"])
            shown[file] = addresses[name]
        return shown

    # The release and the status

    def _publish_release(self, tag: str, text: str) -> str | None:
        def write() -> str:
            from gitlab import GitlabCreateError

            found = self._find_release(tag)
            if found is None:
                try:
                    words = {"tag_name": tag, "name": f"{self._name} {tag}", "description": text}
                    self._api.project.releases.create(words, **AT_ONCE)
                except GitlabCreateError as error:
                    if error.response_code != 409:
                        raise
                    found = self._find_release(tag)  # somebody was faster
            if found is not None and found.strip() != text.strip():
                self._api.project.releases.update(tag, {"description": text}, **AT_ONCE)
            return f"{self.context.project_url}/-/releases/{quote(tag, safe='')}"

        return self._calls.call("release", write)

    def _find_release(self, tag: str) -> str | None:
        """Returns a release's text, or None where the tag has none."""
        from gitlab import GitlabGetError

        try:
            return str(self._api.project.releases.get(tag, **AT_ONCE).description or "")
        except GitlabGetError as error:
            if error.response_code != 404:
                raise
            return None

    def _publish_status(self, url: str, marks: str, description: str, outputs: Outputs) -> None:
        """Sets the status of every commit that people look at; in this very pipeline it tells the merge request."""
        if self._is_job_token:
            self._left_out.add("the commit status")
            return
        words = {
            "state": "failed" if outputs.verdict == "failed" else "success",
            "name": self._name,
            "description": description[:STATUS_LIMIT],
            "target_url": self._status_url(url, marks),
        }
        branch = {"ref": self.context.push_branch} if self.context.push_branch else {}
        for sha in dict.fromkeys([outputs.sha, self.context.head or outputs.sha, self._job.sha]):
            where = {"pipeline_id": self._job.pipeline} if sha == self._job.sha else branch
            create = partial(self._api.statuses(sha).create, {**words, **where}, **AT_ONCE)
            self._calls.call("commit status", create)

    def _marks(self, outputs: Outputs, exit_code: int) -> str:
        """Returns what a twin needs to know."""
        known = (self._key, outputs.sha, outputs.verdict, exit_code, int(outputs.changed), quote(outputs.tag, safe=""))
        return "?cml=" + "-".join(map(str, known))

    def _status_url(self, url: str, marks: str) -> str:
        """Returns where a status leads, with the marks in it; a page too long for both gives way to the job's."""
        page, mark, place = url.partition("#")
        urls = (f"{page}{marks}{mark}{place}", f"{self.context.run_url}{marks}", self.context.run_url or "")
        return next((each for each in urls if len(each) <= STATUS_LIMIT), "")

    # Warnings

    def _start_publishing(self) -> None:
        self._calls.problems.clear()
        self._left_out.clear()

    def _warnings(self) -> tuple[str, ...]:
        warnings = [
            f"GitLab did not take the {what} in time: {trouble}"
            for what, trouble in self._calls.problems.items()
            if not trouble.is_final
        ]
        refused: dict[ApiProblem, list[str]] = {}
        for what, trouble in self._calls.problems.items():
            if trouble.is_final:
                refused.setdefault(trouble, []).append(what)
        warnings += [_hint(", the ".join(what), trouble) for trouble, what in refused.items()]
        if self._left_out:
            left_out = ", ".join(sorted(self._left_out))
            warnings.append(f"the job's own token cannot write {left_out}: {ADVICE}")
        return tuple(warnings)


def _merged(job: RESTObject) -> list[str]:
    """Returns the source commit that a merged-result pipeline's job is for; the job's own is the merge."""
    return list(job.commit.get("parent_ids", ()))[1:] if job.ref.endswith("/merge") else []


def _without_commands(text: str) -> str:
    """No line of a report is one of GitLab's quick actions, which begin with a slash."""
    return re.sub(r"^([ \t]*)(?=/)", "\\1\u200b", text, flags=re.MULTILINE)


def _hint(what: str, trouble: ApiProblem) -> str:
    if trouble.status == 401:
        return f"GitLab knows the token no more ({trouble}): has it expired, or is it of another host?"
    if trouble.status == 403:
        return f"GitLab refuses the {what} ({trouble}): {ADVICE}; what is protected takes only a role that it allows"
    if trouble.status == 404:
        return f"GitLab shows this token no {what} ({trouble}): {ADVICE} of this very project"
    return f"GitLab refuses the {what}: {trouble}"
