"""Fetches, during a reproduction, only what each stage that must run needs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from dvc.stage import run

from cml.process.patch import Replacement

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage


class FetchByStage(Replacement):
    """Replaces `_pull_missing_deps` of `dvc.stage.run` and `Repo.cloud.pull`, for `reproduce(pull=True)`.

    DVC would not try again after an error that may pass, and would fetch the whole run cache before the first stage
    (DVC 3.63 to 3.67). `fetch` fetches what a stage lacks. `guard` is around each download of outputs that the run
    cache knows.
    """

    def __init__(
        self, repo: Repo, *, fetch: Callable[[Stage], None], guard: Callable[[], AbstractContextManager[object]]
    ) -> None:
        super().__init__()
        self._repo = repo
        self._fetch = fetch
        self._guard = guard
        self._pull_as_dvc = run._pull_missing_deps

    def replacements(self) -> list[tuple[Any, str, Any]]:
        self._pull_as_dvc = run._pull_missing_deps
        # Of this project only: the repositories of imports are read by other objects of the class.
        pull_objects = self._repo.cloud.pull

        def pull_guarded(*args: Any, **options: Any) -> Any:
            with self._guard():
                return pull_objects(*args, **options)

        return [(run, "_pull_missing_deps", self._fetch), (self._repo.cloud, "pull", pull_guarded)]

    def pull_as_dvc(self, stage: Stage) -> None:
        """Pulls the missing inputs of a stage as DVC does, which reports those that are in no remote."""
        self._pull_as_dvc(stage)
