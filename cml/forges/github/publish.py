"""GitHub: the check run on the commit people look at, the sticky comment, the job summary, annotations and outputs.

Every message is looked up by its hidden marker and then written, as one step that can be tried again as a whole: a
request that answers 5xx may have worked. Publishing never raises; its troubles are warnings that say what to add.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from cml.forges.base import (
    Context,
    DuplicateRun,
    Forge,
    Outputs,
    Publication,
    Published,
    is_marked,
    marker_of,
)
from cml.forges.retry import (
    CALL_SECONDS,
    OPTIONAL_SECONDS,
    TEMPORARY_STATUSES,
    ApiCalls,
    ApiProblem,
    read_connection_error,
)

if TYPE_CHECKING:
    from github.CheckRun import CheckRun
    from github.CommitStatus import CommitStatus
    from github.IssueComment import IssueComment
    from github.Repository import Repository as Api

CLOSING_SECONDS = 3.0
DUPLICATE_TIMEOUT_SECONDS = 6 * 3600
ANOTHER_ANSWER = "the answer is not what was asked for"
EMBEDDED = "<!-- cml-outputs: "
Made = TypeVar("Made", "CheckRun", "CommitStatus", "IssueComment")


class GitHubJob(NamedTuple):
    """What the runner says of the job: where its API is, and which files hand on outputs and the summary."""

    api_url: str
    run_id: str
    attempt: int
    output_file: str | None
    summary_file: str | None

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> GitHubJob:
        attempt = environment.get("GITHUB_RUN_ATTEMPT", "1")
        return cls(
            api_url=environment.get("GITHUB_API_URL", "").rstrip("/"),
            run_id=environment.get("GITHUB_RUN_ID", ""),
            attempt=int(attempt) if attempt.isdecimal() else 1,
            output_file=environment.get("GITHUB_OUTPUT") or None,
            summary_file=environment.get("GITHUB_STEP_SUMMARY") or None,
        )


class GitHub(Forge):
    """A job on GitHub Actions, or on a GitHub Enterprise Server: hosts come from the environment alone."""

    comment_limit = 58_000
    page_limit = 1_000_000  # a job summary may have 1 MiB

    def __init__(self, context: Context, job: GitHubJob, token: str, *, report_name: str, comment: str) -> None:
        super().__init__(context)
        self._job = job
        self._token = token
        self._name = report_name
        self._comment_mode = comment
        self._check: CheckRun | None = None
        self._key = ""
        self._uses_status = False
        self._pending: str | None = None
        self._calls = ApiCalls(_trouble)
        self._bot = "github-actions[bot]"
        self._api_object: Api | None = None

    # The log

    def annotate(self, kind: str, text: str) -> bool:
        from actions_toolkit import core

        with contextlib.redirect_stdout(sys.stderr):
            (core.error if kind == "error" else core.warning)(text)
        return True

    @contextlib.contextmanager
    def log_group(self, title: str) -> Iterator[None]:
        """While children talk, the runner obeys no command in what they say."""
        mark = os.urandom(16).hex()
        _command(f"stop-commands::{mark}")
        try:
            yield
        finally:
            _command(f"{mark}::")

    # The run begins

    def start(self, key: str) -> DuplicateRun | None:
        """Marks the head commit as being worked on; returns the twin that has done, or is doing, the same work."""
        if self.context.head is None:
            return None
        self._key = key
        head = self.context.head
        duplicate, dead = self._calls.call("check run", lambda: self._begin_on(head)) or (None, [])
        self._end(dead)
        if duplicate or self._check is None:
            return duplicate
        first = self._calls.call("check run", lambda: self._first_of_race(head))
        if first:
            check, self._check = self._check, None
            self._calls.call("check run", lambda: _end_check(check, conclusion="skipped"))
        return first

    def _begin_on(self, head: str) -> tuple[DuplicateRun | None, list[CheckRun]]:
        """Returns the twin, or makes this run's own check; and the checks whose runs are over, to be ended."""
        running, own = None, None
        dead: list[CheckRun] = []
        for check in self._checks(head):
            is_duplicate = check.external_id.startswith(f"{self._key}:")
            if check.external_id == self._external_id:
                own = check
            elif check.status == "completed":
                if is_duplicate and not self.context.is_requested and (done := _embedded(check)):
                    return done, dead
            elif not self._is_alive(check):
                dead.append(check)
            elif is_duplicate:
                running = DuplicateRun(url=check.html_url or "")
        if running is None:
            self._check = own or self._create_check(head, status="in_progress")
        return running, dead

    def end_abandoned(self, sha: str) -> None:
        if self._uses_status or "check run" in self._calls.problems:
            return

        def find() -> list[CheckRun]:
            return [each for each in self._checks(sha) if each.status != "completed" and not self._is_alive(each)]

        self._end(self._calls.call("check run", find, at_most=OPTIONAL_SECONDS) or [])

    def _end(self, checks: list[CheckRun]) -> None:
        def end(check: CheckRun) -> None:
            _end_check(check, conclusion="cancelled")

        for check in checks:
            self._calls.call("check run", partial(end, check), at_most=OPTIONAL_SECONDS)

    def _first_of_race(self, head: str) -> DuplicateRun | None:
        own = self._check
        for check in self._checks(head):
            is_duplicate = check.external_id.startswith(f"{self._key}:") and check.external_id != self._external_id
            if own and is_duplicate and check.status != "completed" and check.id < own.id and self._is_alive(check):
                return DuplicateRun(url=check.html_url or "")
        return None

    def _checks(self, sha: str) -> list[CheckRun]:
        checks = self._api.get_commit(sha).get_check_runs(check_name=self._name, filter="all")
        return [check for check in checks if check.external_id.count(":") == 2]

    def _is_alive(self, check: CheckRun) -> bool:
        _, run_id, attempt = check.external_id.rsplit(":", 2)
        if run_id == self._job.run_id and attempt.isdecimal() and int(attempt) < self._job.attempt:
            return False
        try:
            return bool(self._api.get_workflow_run(int(run_id)).status != "completed")
        except Exception:  # where runs cannot be read, age decides
            age = datetime.now(timezone.utc) - check.started_at.replace(tzinfo=timezone.utc)
            return age.total_seconds() < DUPLICATE_TIMEOUT_SECONDS

    @property
    def _external_id(self) -> str:
        return f"{self._key}:{self._job.run_id}:{self._job.attempt}"

    def close(self) -> None:
        """Ends a check run, or a status, that was begun and never published: the run was cancelled, or broke."""
        check, pending = self._check, self._pending
        if check or pending:
            self._check = self._pending = None
            self._calls.hurry(CLOSING_SECONDS)

            def end() -> None:
                if check:
                    self._end([check])
                if pending:
                    self._calls.call("commit status", lambda: self._set_statuses([pending], "error", "cancelled"))

            # A cancelled job is killed soon: an answer that does not come must not cost it the rest of its way out.
            closing = threading.Thread(target=end, daemon=True)
            closing.start()
            closing.join(timeout=CLOSING_SECONDS)

    # The run ends

    def publish(self, publication: Publication) -> Published:
        """Publishes the check run, the comment and the job summary, in this order."""
        self._calls.problems.clear()
        url = self._publish_check(publication) or self.context.run_url or ""
        url = self._publish_comment(publication.comment, publication.outputs.sha) or url
        warnings = self._write_summary(publication.page)
        return Published(url=url, warnings=(*self._warnings(), *warnings))

    def find_results(self, sha: str) -> DuplicateRun | None:
        def find() -> DuplicateRun | None:
            duplicates = (_embedded(check) for check in self._checks(sha) if check.status == "completed")
            return next(
                (
                    duplicate
                    for duplicate in duplicates
                    if duplicate and duplicate.outputs and duplicate.outputs.sha == sha
                ),
                None,
            )

        return self._calls.call("check run", find)

    def publish_existing_results(self, duplicate: DuplicateRun) -> Published:
        """Shows what a twin found where it is not shown yet: on a pull request that was opened after its run."""
        self._calls.problems.clear()
        sha = duplicate.outputs.sha if duplicate.outputs else ""
        url = self._publish_comment(duplicate.markdown, sha) if duplicate.markdown else None
        warnings = self._write_summary(duplicate.markdown)
        return Published(url=url or duplicate.url, warnings=(*self._warnings(), *warnings))

    def comment(self, text: str) -> Published:
        """Shows a saved report on the event's pull request: as a comment, never as a check that could let it in."""
        self._calls.problems.clear()
        url = self._publish_comment(text, "")
        warnings = self._warnings()
        if url is None and not warnings:
            warnings = ("no open pull request has the commit that this event is about, so nothing was posted",)
        return Published(url=url or "", warnings=warnings)

    def has_report(self) -> bool:
        def find() -> bool:
            number = self._pull_number()
            comments = self._api.get_issue(number).get_comments() if number else ()
            return any(is_marked(comment.body, self._name) and self._is_ours(comment) for comment in comments)

        return self._comment_mode == "off" or self._calls.call("comment", find) is not False

    def _warnings(self) -> tuple[str, ...]:
        return tuple(_hint(what, trouble) for what, trouble in self._calls.problems.items())

    def _publish_check(self, publication: Publication) -> str | None:
        outputs = publication.outputs
        known: dict[str, Any] = {}
        if publication.is_complete:
            known = {"outputs": outputs.pairs(), "exit_code": publication.exit_code}
        conclusion = "failure" if outputs.verdict == "failed" else "success"
        shown = {"title": publication.headline, "summary": publication.comment, "text": _mark(known)}
        check = self._check
        url = None
        if check:
            self._calls.call("check run", lambda: self._complete(check, conclusion, shown))
            url = check.html_url
        if check is None or outputs.sha != check.head_sha:
            sha = outputs.sha
            shown = {**shown, "text": _mark({**known, "left_open": self._check is not None} if known else {})}
            own = self._calls.call("check run", lambda: self._complete_on(sha, conclusion, shown))
            url = own.html_url if own else url
        if self._uses_status:
            state = "failure" if conclusion == "failure" else "success"
            shas = dict.fromkeys([outputs.sha, self.context.head or outputs.sha])
            self._calls.call("commit status", lambda: self._set_statuses(list(shas), state, shown["title"]))
        return url

    def _complete(self, check: CheckRun, conclusion: str, shown: dict[str, str]) -> None:
        _end_check(check, conclusion=conclusion, output=shown)
        self._check = None

    def _complete_on(self, sha: str, conclusion: str, shown: dict[str, str]) -> CheckRun | None:
        for check in self._checks(sha):
            if check.external_id == self._external_id:
                _end_check(check, conclusion=conclusion, output=shown)
                return check
        return self._create_check(sha, status="completed", conclusion=conclusion, output=shown)

    def _create_check(self, sha: str, **fields: str | dict[str, str]) -> CheckRun | None:
        if self._uses_status:
            return None
        from github import GithubException

        try:
            made = _whole(
                self._api.create_check_run(
                    name=self._name,
                    head_sha=sha,
                    external_id=self._external_id,
                    details_url=self.context.run_url or "",
                    **fields,  # type: ignore[arg-type]
                )
            )
            self._bot = f"{made.app.slug}[bot]" if made.app else self._bot
            return made
        except GithubException as error:
            if error.status == 403 and "app" in _message(error).lower():
                # Only an app's token may make check runs; a personal one is left with commit statuses.
                self._uses_status = True
                if fields["status"] == "in_progress":
                    self._set_statuses([sha], "pending", "under way")
                    self._pending = sha
                return None
            raise

    def _set_statuses(self, shas: list[str], state: str, description: str) -> None:
        for sha in shas:
            made = self._api.get_commit(sha).create_status(
                state=state, target_url=self.context.run_url or "", description=description[:140], context=self._name
            )
            _whole(made)
            self._pending = None if sha == self._pending else self._pending

    def _publish_comment(self, text: str, sha: str) -> str | None:
        if self._comment_mode == "off":
            return None
        number = self._calls.call("comment", self._pull_number)
        if number is None:
            return None
        run = f"{self._job.run_id}.{self._job.attempt}" if self._comment_mode == "new" else ""
        marker = marker_of(self._name, run)
        body = f"{marker}\n{text}"
        comment = self._calls.call("comment", lambda: self._write_comment(number, marker, body, sha))
        return comment.html_url if comment else None

    def _pull_number(self) -> int | None:
        if self.context.pull:
            return self.context.pull.number
        if not self.context.pull_query:
            return None
        for pull in self._api.get_pulls(state="open", head=self.context.pull_query):
            # The branch of an earlier run may have moved on.
            if self.context.event != "workflow_run" or pull.head.sha == self.context.head:
                return int(pull.number)
        return None

    def _write_comment(self, number: int, marker: str, body: str, sha: str) -> IssueComment:
        """Updates the comment, or makes it. Where the pull request has moved on, one that is there stays as it is: it
        is of a newer commit, or will be.
        """
        issue = self._api.get_issue(number)
        for comment in issue.get_comments():
            if comment.body.startswith(marker) and self._is_ours(comment):
                shas = (sha, self.context.head)
                if comment.body != body and self._api.get_pull(number).head.sha in shas:
                    before = comment.body
                    comment.edit(body)
                    if comment.body == before and before.split() != body.split():  # GitHub may tidy white space
                        raise ValueError(ANOTHER_ANSWER)
                return comment
        return _whole(issue.create_comment(body))

    def _is_ours(self, comment: IssueComment) -> bool:
        """Whether the token wrote a comment. An installation's token cannot ask who it is: its check runs tell."""
        from github import GithubException

        try:
            login = self._client.get_user().login
        except GithubException as error:
            if error.status not in (401, 403, 404):
                raise
            return bool(comment.user.login == self._bot)
        return bool(comment.user.login == login)

    def _write_summary(self, text: str) -> tuple[str, ...]:
        """Returns its warnings."""
        if not self._job.summary_file:
            return ()
        try:
            with Path(self._job.summary_file).open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            return (f"the job summary cannot be written: {error}",)
        return ()

    def set_outputs(self, outputs: Outputs) -> None:
        if not self._job.output_file:
            return
        from actions_toolkit import core

        for name, value in outputs.pairs().items():
            core.set_output(name, value)

    # The API

    @property
    def _api(self) -> Api:
        if self._api_object is None:
            from github import Auth, Github

            self._client = Github(
                base_url=self._job.api_url,
                auth=Auth.Token(self._token),
                timeout=CALL_SECONDS,
                retry=None,  # a POST that answered 5xx may have worked: we look before we write again
                per_page=100,
                seconds_between_requests=None,  # writes keep their second apart, reads need none
                lazy=True,
            )
            self._api_object = self._client.get_repo(self.context.slug)
        return self._api_object


def _command(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"::{text}\n")
        sys.stderr.flush()


def _whole(thing: Made) -> Made:
    """Returns what the API made. Raises ValueError where its answer was something else, a proxy's page perhaps."""
    if "id" not in thing.raw_data:
        raise ValueError(ANOTHER_ANSWER)
    return thing


def _end_check(check: CheckRun, **fields: Any) -> None:
    """Ends a check run. PyGithub takes a proxy's page and a redirect for an answer as well. Raises ValueError."""
    check.edit(status="completed", **fields)
    if check.status != "completed":
        raise ValueError(ANOTHER_ANSWER)


def _mark(known: dict[str, Any]) -> str:
    return f"{EMBEDDED}{json.dumps(known)} -->" if known else ""


def _embedded(check: CheckRun) -> DuplicateRun | None:
    text = check.output.text or ""
    if not text.startswith(EMBEDDED):
        return None
    try:
        data = json.loads(text.removeprefix(EMBEDDED).removesuffix(" -->"))
        pairs = data["outputs"]
        outputs = Outputs(
            changed=pairs["changed"] == "true",
            sha=str(pairs["sha"]),
            tag=str(pairs["tag"]),
            verdict=str(pairs["verdict"]),
            report=str(pairs["report"]),
            report_url=str(pairs["report_url"]) or check.html_url or "",
        )
        if data["exit_code"] not in (0, 3):
            return None
        return DuplicateRun(
            url=check.html_url or "",
            outputs=outputs,
            exit_code=int(data["exit_code"]),
            markdown=check.output.summary or "",
            has_open_check=data.get("left_open") is True,
        )
    except (ValueError, KeyError, TypeError):
        return None


def _trouble(error: Exception) -> ApiProblem:
    from github import GithubException

    if not isinstance(error, GithubException):
        return read_connection_error(error)
    message = _message(error)
    is_limit = error.status == 403 and "rate limit" in message.lower()
    return ApiProblem(
        status=error.status,
        message=message,
        wait=_retry_after(error),
        is_final=error.status not in TEMPORARY_STATUSES and not is_limit,
    )


def _message(error: Exception) -> str:
    data = getattr(error, "data", None)
    message = data.get("message") if isinstance(data, dict) else None
    return " ".join(str(message or getattr(error, "message", None) or "").split())[:300]


def _retry_after(error: Exception) -> float | None:
    headers = {name.lower(): value for name, value in (getattr(error, "headers", None) or {}).items()}
    if (text := str(headers.get("retry-after", ""))).isdecimal():
        return float(text)
    if headers.get("x-ratelimit-remaining") == "0" and (text := str(headers.get("x-ratelimit-reset", ""))).isdecimal():
        return max(0.0, float(text) - time.time())
    return None


PERMISSIONS = {
    "check run": "checks: write",
    "commit status": "statuses: write",
    "comment": "pull-requests: write",
}


def _hint(what: str, trouble: ApiProblem) -> str:
    if not trouble.is_final:
        return f"GitHub did not take the {what} in time: {trouble}"
    if trouble.status == 401:
        return f"GitHub knows the token no more ({trouble}): is repo_token expired, or of another host?"
    if trouble.status in (403, 404):
        return f"GitHub refuses the {what} ({trouble}): add `{PERMISSIONS[what]}` under `permissions:` of the job"
    return f"GitHub refuses the {what}: {trouble}"
