"""A stand-in for GitLab: one HTTP server with the REST API and git, which refuses what GitLab refuses.

It has what the tests need and no more; each module says what it leaves out. In a test:

    with Forge(tmp_path) as forge:
        forge.create_project("ada/digits", bare=world.origin)
        token = forge.token("project", role="maintainer")
        env = forge.pipeline("push", ref="main")
        workspace = forge.checkout(env)
        ...
        forge.finish_job(env["CI_JOB_ID"])
        assert forge.notes(1)[0].body.startswith("## DVC Report")
        assert forge.unknown == []

With `path="/gitlab"` its addresses have that path. For other processes: `python -m standins.gitlab --folder F`
(see gitlab_process).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from standins import (
    gitlab_checkout,
    gitlab_environment,
    gitlab_git,
    gitlab_hooks,
    gitlab_pipelines,
    gitlab_rest,
    gitlab_rules,
)
from standins.base import BaseForge
from standins.git_http import write_hooks
from standins.gitlab_model import (
    EventType,
    Kind,
    MergeRequest,
    Note,
    Project,
    Protection,
    Release,
    Role,
    Started,
    Status,
    Upload,
)
from standins.gitlab_state import State
from standins.web import Exchange, Request, Response, json_response

SCOPES = ("api", "read_repository", "write_repository")


class Forge(BaseForge):
    """A GitLab. Methods use the first project if none is named. A test can set `state.clock`."""

    def __init__(self, folder: Path, *, port: int = 0, path: str = "") -> None:
        self.state = State(folder)
        super().__init__(self.state, lambda request: gitlab_rules.kind(self.state, request), port=port, path=path)
        self._hooks = write_hooks(folder / "hooks", gitlab_hooks.HOOKS)
        self._places = 0

    def clone_url(self, project: str | None = None) -> str:
        return f"{self.url}/{self._project(project).path}.git"

    # Set-up

    def create_project(
        self,
        path: str,
        *,
        bare: Path | None = None,
        private: bool = True,
        default_branch: str = "main",
        forked_from: str | None = None,
        job_token_may_push: bool = False,
        is_protected: bool = True,
    ) -> Project:
        """Serves a bare repository, or a new one (for a fork: a copy) under the folder.

        As on GitLab, the default branch is protected: only maintainers may push to it.
        """
        rules = {default_branch: Protection()} if is_protected else {}
        return self.state.create_project(
            path,
            bare=bare,
            forked_from=forked_from,
            private=private,
            default_branch=default_branch,
            job_token_may_push=job_token_may_push,
            protected_branches=rules,
        )

    def token(
        self,
        kind: Kind = "project",
        *,
        role: Role | None = "maintainer",
        scopes: Sequence[str] = SCOPES,
        **facts: Any,
    ) -> str:
        """Returns a new token.

        "personal": of a person (`login`, default ada) with the role in every project, or with `roles` by the path of a
        project. "project": of a bot in one `project`. "group": of a bot in the projects under a `group`. "job": of a
        running job of a new push pipeline; the jobs of `pipeline` have their own. Further facts: `is_expired`,
        `is_revoked`.
        """
        if kind == "job":
            return self.pipeline("push", role=role, **facts)["CI_JOB_TOKEN"]
        if kind == "personal":
            facts = {"login": "ada", **facts}
        elif kind == "project":
            facts = {"project": self._project(None).path, **facts}
        else:
            facts = {"group": self._project(None).namespace, **facts}
        return self.state.add_token(kind, role=role, scopes=tuple(scopes), **facts).value

    def expire(self, token: str) -> None:
        self.state.tokens[token].is_expired = True

    def revoke(self, token: str) -> None:
        self.state.tokens[token].is_revoked = True

    def limit(self, token: str, remaining: int, *, seconds: float = 60, notes: bool = False) -> None:
        """Sets how many requests (or new notes) a token has in each window of seconds. The next request starts a window."""
        window = self.state.tokens[token].notes if notes else self.state.tokens[token].window
        window.limit, window.seconds, window.start = remaining, seconds, 0

    def protect(
        self,
        branch: str,
        *,
        push: Role | Literal["none"] = "maintainer",
        merge: Role | Literal["none"] = "maintainer",
        allow_force: bool = False,
        project: str | None = None,
    ) -> None:
        """Protects the branches of a pattern; with "none" nobody may push."""
        rule = Protection(push=push, merge=merge, allow_force=allow_force)
        self._project(project).protected_branches[branch] = rule

    def unprotect(self, branch: str, *, project: str | None = None) -> None:
        self._project(project).protected_branches.pop(branch)

    def protect_tag(
        self, tag: str, *, create: Role | Literal["none"] = "maintainer", project: str | None = None
    ) -> None:
        """Protects the tags of a pattern: a role may create them, and nobody may move them."""
        self._project(project).protected_tags[tag] = Protection(push=create)

    def open_merge_request(
        self,
        source: str,
        target: str = "main",
        *,
        fork: str | None = None,
        project: str | None = None,
        title: str = "A change",
        draft: bool = False,
        login: str = "ada",
    ) -> MergeRequest:
        """Opens a merge request; `fork` names the project of the source branch."""
        return self.state.open_merge_request(
            self._project(project), source, target, fork=fork, title=title, draft=draft, login=login
        )

    def close_merge_request(self, iid: int, *, merge: bool = False, project: str | None = None) -> None:
        """Closes a merge request, with `merge` after merging it into its target."""
        self.state.close_merge_request(self._project(project), iid, merge=merge)

    def comment(
        self, iid: int, body: str, *, login: str = "ada", system: bool = False, project: str | None = None
    ) -> Note:
        """Adds a note of somebody, or of GitLab itself ("assigned to @ada"), to a merge request."""
        return self.state.add_note(self._project(project), iid, body, login=login, is_system=system)

    # Reading

    def merge_request(self, iid: int, *, project: str | None = None) -> MergeRequest:
        self.state.refresh(self._project(project))
        return self._project(project).merge_requests[iid]

    def notes(self, iid: int, *, system: bool = False, project: str | None = None) -> list[Note]:
        """The notes of a merge request, the oldest first; with `system` also those of GitLab itself."""
        notes = self._project(project).notes
        return [one for one in notes if one.merge_request == iid and (system or not one.is_system)]

    def releases(self, *, project: str | None = None) -> dict[str, Release]:
        """By tag."""
        return self._project(project).releases

    def statuses(self, sha: str | None = None, *, retried: bool = False, project: str | None = None) -> list[Status]:
        """The statuses of a commit, or all; with `retried` also those that a later one has replaced."""
        every = self._project(project).statuses
        return [one for one in every if sha in (None, one.sha) and (retried or not one.is_retried)]

    def uploads(self, *, project: str | None = None) -> list[Upload]:
        return self._project(project).uploads

    @property
    def pipelines_started(self) -> list[Started]:
        """The pipelines that pushes, and releases with a new tag, have started so far."""
        return self.state.started

    # Faults

    def fail(self, route: str, times: int | None = 1, how: str = "500", *, skip: int = 0, seconds: float = 60) -> None:
        """Makes requests fail. `route` is "METHOD path" with * in both; the path is without /api/v4 and without the query.

        `how`: a status of 500 to 599; "429", "429-wait" (with Retry-After); "hang", "reset", "truncated", "html"; "redirect",
        "redirect-elsewhere" (another host's name); "done-500", "done-502", "done-503", "done-reset", "done-hang": the
        request is carried out first. `times` None: always. The first `skip` requests do not fail.
        """
        self.add_fault(route, how, self._own_fault, times=times, skip=skip, seconds=seconds)

    def _own_fault(self, how: str, seconds: int) -> Response:
        word, _, more = how.partition("-")
        if word == "429":
            wait = {"Retry-After": str(seconds)} if more == "wait" else {}
            return json_response({"message": {"error": gitlab_rules.TOO_MANY}}, status=429, headers=wait)
        if word == "redirect":
            base = self.url.replace("127.0.0.1", "localhost") if more else self.url
            return Response(status=302, headers={"Location": f"{base}/users/sign_in"})
        raise ValueError(how)

    # Jobs

    def pipeline(
        self,
        source: str,
        *,
        ref: str | None = None,
        sha: str | None = None,
        tag: str | None = None,
        before: str | None = None,
        merge_request: int | None = None,
        event_type: EventType = "detached",
        in_target: bool = False,
        project: str | None = None,
        retry_of: str | int | None = None,
        job: str = "train",
        login: str = "ada",
        role: Role | None = "maintainer",
        place: Path | str | None = None,
    ) -> dict[str, str]:
        """Returns the environment of a running job of a new pipeline, with its own token, whose user has the role.

        `source` is what CI_PIPELINE_SOURCE says (push, web, schedule, api, trigger, merge_request_event); `ref` a branch
        (default: the project's). A fork's merge request has its pipeline in the fork, or `in_target`. `retry_of` starts
        the job once more in the pipeline of an earlier one. `place` is the runner's folder (default: a new one).
        """
        self._places += 1
        builds = Path(place) if place else self.state.folder / "builds" / str(self._places)
        with self.state.lock:
            home = self._project(project)
            self.state.refresh(home)
            if retry_of is not None:
                home, run, job = gitlab_pipelines.find_pipeline(self.state, int(retry_of))
            elif merge_request is not None:
                home, run = gitlab_pipelines.start_merge_request_pipeline(
                    self.state, home, merge_request, event_type=event_type, login=login, in_target=in_target
                )
            else:
                run = gitlab_pipelines.start_pipeline(
                    self.state, home, source, login=login, ref=ref, sha=sha, tag=tag, before=before
                )
            record = gitlab_pipelines.start_job(self.state, home, run, name=job, role=role)
            return gitlab_environment.environment(self.state, home, run, record, builds=builds)

    def finish_job(self, job: int | str, status: str = "success") -> None:
        """Ends a job by its id (CI_JOB_ID); its token is invalid from then on."""
        gitlab_pipelines.finish_job(self.state, int(job), status)

    checkout = staticmethod(gitlab_checkout.checkout)

    # Answers

    def _project(self, path: str | None) -> Project:
        return self.state.projects[path or next(iter(self.state.projects))]

    def _answer(self, request: Request, exchange: Exchange) -> Response:
        if request.path.startswith(f"{urlsplit(self.api).path}/"):
            return gitlab_rest.answer(self.state, request, exchange)
        if request.path.startswith(f"{self._path}/"):
            return gitlab_git.answer(self.state, request, exchange, hooks=self._hooks)
        exchange.note = f"outside of GitLab: {request.path}"
        return Response(status=404)


if __name__ == "__main__":
    from standins.gitlab_process import main

    main()
