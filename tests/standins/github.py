"""A stand-in for GitHub: one HTTP server with the REST API and git, which refuses what GitHub refuses.

It has what the tests need and no more; each module says what it leaves out. Addresses are those of GitHub Enterprise
Server: the API at BASE/api/v3, git and a few pages at BASE/OWNER/NAME. In a test:

    with Forge(tmp_path) as forge:
        forge.create_repository("o/r", bare=world.origin)
        token = forge.token("installation", permissions={"contents": "write"})
        env = forge.event("push", ref="main")
        forge.checkout(env, token=token)
        ...
        assert forge.check_runs(sha)[0].conclusion == "success"
        assert forge.unknown == []

For other processes: `python -m standins.github --folder F --token installation` (see github_process).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from standins import github_checkout, github_events, github_git, github_rest, github_rules
from standins.base import BaseForge
from standins.git_http import git, write_hooks
from standins.github_state import (
    PERMISSIVE,
    CheckRun,
    Comment,
    Kind,
    Protection,
    Pull,
    Repository,
    Run,
    State,
    Status,
)
from standins.web import Exchange, Request, Response, json_response

SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."


class Forge(BaseForge):
    """A GitHub. Methods use the first repository if none is named. A test can set `state.clock`."""

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.state = State(folder)
        super().__init__(self.state, lambda request: github_rules.kind(self.state, request), port=port)
        self._hooks = write_hooks(folder / "hooks")
        self._jobs = 0

    def clone_url(self, repository: str | None = None) -> str:
        return f"{self.url}/{self._repository(repository).full_name}.git"

    # Set-up

    def create_repository(
        self,
        full_name: str,
        *,
        bare: Path | None = None,
        private: bool = True,
        default_branch: str = "main",
        fork_of: str | None = None,
    ) -> Repository:
        """Serves a bare repository, or a new one (for a fork: a copy) under the folder."""
        parent = self.state.repositories[fork_of].bare if fork_of else None
        repository = Repository(
            id=self.state.next_id(),
            full_name=full_name,
            bare=self.state.find_or_create_bare(full_name, bare, fork_of=parent, default_branch=default_branch),
            private=private,
            default_branch=default_branch,
            parent=fork_of,
        )
        self.state.repositories[full_name] = repository
        return repository

    def token(
        self,
        kind: Kind | Literal["fork"] = "installation",
        *,
        permissions: Mapping[str, str] | None = None,
        **facts: Any,
    ) -> str:
        """Returns a new token.

        "installation": a job's GITHUB_TOKEN for the first repository with the given permissions (default: write for
        all); with `app_id` and `app_slug` of another app. "fork": the token for a fork's pull request, read for all.
        "personal": of a person (`login`, `access`, `scopes`). "fine-grained": of a person, with permissions.
        """
        if kind == "personal":
            return self.state.add_token(kind, **{"login": "ada", "scopes": ("repo", "workflow"), **facts}).value
        granted = PERMISSIVE if permissions is None else permissions
        if kind == "fork":
            kind, granted = "installation", dict.fromkeys(PERMISSIVE, "read")
        if kind == "installation":
            login = f"{facts.get('app_slug', 'github-actions')}[bot]"
            facts = {"repository": self._repository(None).full_name, "login": login, **facts}
        facts["permissions"] = {name.replace("-", "_"): level for name, level in granted.items()}
        return self.state.add_token(kind, **{"login": "ada", **facts}).value

    def expire(self, token: str) -> None:
        self.state.tokens[token].is_expired = True

    def limit(self, token: str, remaining: int) -> None:
        """Sets how many requests a token has left in this hour."""
        self.state.tokens[token].limit = self.state.tokens[token].used + remaining

    def protect(
        self, branch: str, *, repository: str | None = None, allowed: Sequence[str] = (), ruleset: bool = False
    ) -> None:
        """Protects a branch: only the allowed tokens may push. The refusal of a ruleset has another text."""
        rule = Protection(code="GH013" if ruleset else "GH006", allowed=tuple(allowed))
        self._repository(repository).protected[branch] = rule

    def unprotect(self, branch: str, *, repository: str | None = None) -> None:
        self._repository(repository).protected.pop(branch)

    def open_pull(
        self,
        head: str,
        base: str = "main",
        *,
        from_fork: str | None = None,
        repository: str | None = None,
        title: str = "A change",
        draft: bool = False,
    ) -> Pull:
        """Opens a pull request; `from_fork` names the repository of the head branch."""
        repo = self._repository(repository)
        source = self.state.repositories[from_fork or repo.full_name]
        head_sha, base_sha = source.branches()[head], repo.branches()[base]
        now = self.state.now()
        pull = Pull(
            id=self.state.next_id(),
            number=len(repo.pulls) + 1,
            title=title,
            body=None,
            login="ada",
            head_repository=source.full_name,
            head_branch=head,
            base_branch=base,
            head_sha=head_sha,
            base_sha=base_sha,
            merge_sha=None,
            draft=draft,
            created_at=now,
            updated_at=now,
        )
        self.state.write_pull_refs(repo, pull)
        repo.pulls[pull.number] = pull
        return pull

    def close_pull(self, number: int, *, merge: bool = False, repository: str | None = None) -> None:
        """Closes a pull request, with `merge` after merging it into its base."""
        repo = self._repository(repository)
        self.state.refresh(repo)
        pull = repo.pulls[number]
        if merge:
            assert pull.merge_sha, "the branches conflict"
            git("update-ref", f"refs/heads/{pull.base_branch}", pull.merge_sha, cwd=repo.bare)
        self.state.close(pull, is_merged=merge)

    def comment(self, number: int, body: str, *, login: str = "ada", repository: str | None = None) -> Comment:
        """Adds a comment of somebody to a pull request."""
        repo, now = self._repository(repository), self.state.now()
        comment = Comment(
            id=self.state.next_id(), issue=number, body=body, login=login, app_id=None, created_at=now, updated_at=now
        )
        repo.comments.append(comment)
        return comment

    # Reading

    def pull(self, number: int, *, repository: str | None = None) -> Pull:
        self.state.refresh(self._repository(repository))
        return self._repository(repository).pulls[number]

    def comments(self, number: int, *, repository: str | None = None) -> list[Comment]:
        return [one for one in self._repository(repository).comments if one.issue == number]

    def check_runs(
        self, sha: str | None = None, *, jobs: bool = False, repository: str | None = None
    ) -> list[CheckRun]:
        """The check runs of a commit, or all; with `jobs` also those that Actions itself creates for jobs."""
        checks = self._repository(repository).check_runs
        return [one for one in checks if sha in (None, one.head_sha) and (jobs or not one.is_job)]

    def statuses(self, sha: str | None = None, *, repository: str | None = None) -> list[Status]:
        return [one for one in self._repository(repository).statuses if sha in (None, one.sha)]

    def runs(self, *, repository: str | None = None) -> list[Run]:
        return self._repository(repository).runs

    @property
    def requests(self) -> list[Exchange]:
        """The same as `exchanges`."""
        return self.exchanges

    # Faults

    def fail(self, route: str, times: int | None = 1, how: str = "500", *, skip: int = 0, seconds: float = 60) -> None:
        """Makes requests fail. `route` is "METHOD path" with * in both; the path is without /api/v3 and without the query.

        `how`: a status of 500 to 599; "429", "403" (secondary limits), the same with "-wait" (and Retry-After); "primary"
        (no requests left); "hang", "reset", "truncated", "html"; "redirect", "redirect-elsewhere" (another host's name);
        "done-500", "done-reset", "done-hang": the request is carried out first. `times` None: always. The first `skip`
        requests do not fail.
        """
        self.add_fault(route, how, self._own_fault, times=times, skip=skip, seconds=seconds)

    def _own_fault(self, how: str, seconds: int) -> Response:
        status, _, detail = how.partition("-")
        reset = str(int(self.state.clock().timestamp()) + seconds)
        wait = {"Retry-After": str(seconds)} if detail == "wait" else {}
        match status:
            case "429" | "403":
                return json_response({"message": SECONDARY, "documentation_url": ""}, status=int(status), headers=wait)
            case "primary":
                used_up = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": reset, "x-ratelimit-limit": "1000"}
                message = "API rate limit exceeded for installation ID 1."
                return json_response({"message": message, "documentation_url": ""}, status=403, headers=used_up)
            case "redirect":
                base = self.url.replace("127.0.0.1", "localhost") if detail else self.url
                return json_response({"message": "Moved"}, status=302, headers={"Location": f"{base}/elsewhere"})
        raise ValueError(how)

    # Jobs

    def event(
        self,
        name: github_events.EventName,
        *,
        repository: str | None = None,
        workflow: str = "CML",
        job: str = "train",
        actor: str = "ada",
        rerun_of: int | None = None,
        job_of: int | None = None,
        place: Path | None = None,
        **facts: Any,
    ) -> dict[str, str]:
        """Returns the environment of a job for an event; `facts` are those of github_events.describe.

        The workflow run is in progress until finish_run; `job_of` is a run that gets another job. `place` is the folder of
        the runner (default: a new one); an earlier one has its old workspace.
        """
        repo = self._repository(repository)
        self.state.refresh(repo)
        event = github_events.describe(self.state, repo, name, actor=actor, **facts)
        run = github_events.file_run(
            self.state, repo, event, workflow=workflow, job=job, rerun_of=rerun_of, job_of=job_of
        )
        self._jobs += 1
        where = place or self.state.folder / f"job-{self._jobs}"
        return github_events.job_environment(self.state, repo, event, run, place=where, job=job, actor=actor)

    def finish_run(self, run: int | str, conclusion: str = "success", *, repository: str | None = None) -> None:
        """Ends a workflow run by its id (GITHUB_RUN_ID)."""
        repo = self._repository(repository)
        record = next(one for one in repo.runs if one.id == int(run))
        github_events.finish_run(self.state, repo, record, conclusion)

    checkout = staticmethod(github_checkout.checkout)

    # Answers

    def _repository(self, full_name: str | None) -> Repository:
        return self.state.repositories[full_name or next(iter(self.state.repositories))]

    def _answer(self, request: Request, exchange: Exchange) -> Response:
        if request.path.startswith("/api/"):
            return github_rest.answer(self.state, request, exchange)
        return github_git.answer(self.state, request, exchange, hooks=self._hooks)


if __name__ == "__main__":
    from standins.github_process import main

    main()
