"""The DVC project of the working directory: everything that the rest of CML asks DVC for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from dvc.exceptions import DvcException

from cml.dvc import data_changes, job_results, lockfile, plots, pull, push, recovery, revisions
from cml.dvc.files import ProjectFiles, is_saved
from cml.dvc.job_results import TakenResults
from cml.dvc.lockfile import StageKey, changed_stages
from cml.dvc.opening import Configure, open_repo, unreadable_project
from cml.dvc.patches.atomic_write import AtomicWrites
from cml.dvc.patches.parse_once import ParseOnce
from cml.dvc.plots import CollectedPlots
from cml.dvc.push import Verified
from cml.dvc.records import Records
from cml.dvc.reproduce import Reproduction
from cml.dvc.revisions import Snapshot, SnapshotRequest
from cml.dvc.stale_stages import find_stale_stages
from cml.dvc.targets import TargetVariable, check_targets, stages_by_name, stages_in_order
from cml.model.plan import StageToRun
from cml.model.plots import DvcPlot
from cml.model.records import Entry, JobRecord
from cml.model.report import DataChanges, PipelineSection, StageRun
from cml.process.log import Log
from cml.remotes.errors import StorageProblem
from cml.remotes.probe import probe

if TYPE_CHECKING:
    from dvc.repo import Repo


class Project:
    """An open DVC project."""

    def __init__(self, repo: Repo, log: Log, top: Path) -> None:
        self._repo = repo
        self._log = log
        self._files = ProjectFiles(repo, top)
        self._reproduction = Reproduction(repo, log)
        self._patches = ExitStack()

    @classmethod
    def open(cls, directory: Path, *, top: Path, log: Log, configure: Configure | None = None) -> Project:
        """Opens the project of a directory in a work tree of git, whose root is `top`.

        `configure` gets its remotes (name -> options) and the name of the default one, and returns the configuration to
        merge. Raises BadInput where there is no project, or DVC cannot read it.
        """
        with ExitStack() as patches:
            # Before the project is opened, which parses its files for the first time.
            patches.enter_context(ParseOnce())
            repo = open_repo(directory, log, configure)
            patches.enter_context(AtomicWrites(Path(repo.tmp_dir)))
            try:
                recovery.begin(repo)
                # Finds overlapping outputs and cycles now. Otherwise a command of DVC finds them after some work.
                repo.index.check_graph()
            except DvcException as error:
                raise unreadable_project(error) from None
            project = cls(repo, log, top)
            project._patches = patches.pop_all()
        return project

    def close(self) -> None:
        """Marks the end of the run, and restores DVC's functions."""
        recovery.end(self._repo)
        self._patches.close()

    def reload(self) -> None:
        """Forgets what was read of the project, after its files may have changed."""
        self._files.forget()
        self._repo._reset()

    # Questions about the project

    def from_top(self, path: str) -> str:
        """Returns an absolute path inside the project as git names it: relative to the top, with slashes."""
        return self._files.from_top(path)

    def check_targets(self, targets: Iterable[str], *, variable: TargetVariable) -> tuple[str, ...]:
        """Returns the targets as DVC 3 knows them. Raises BadInput for one that does not exist."""
        return check_targets(self._repo, targets, variable=variable, log=self._log)

    def outputs_without_remote(self) -> list[str]:
        """Returns the cached outputs for which no DVC remote is configured: neither their own nor a default one."""
        known, default = self._repo.config["remote"], self._repo.config["core"].get("remote")
        saved = (out for out in self._repo.index.outs if is_saved(out))
        return sorted(str(out) for out in saved if (out.remote or default) not in known)

    def has_cached_outputs(self) -> bool:
        return any(out.use_cache for out in self._repo.index.outs)

    def has_changed_outputs(self) -> bool:
        """Whether tracked data in the work tree differs from what the lock files name."""
        return any(out.use_cache and out.exists and out.changed_checksum() for out in self._repo.index.outs)

    def remotes(self) -> dict[str, dict[str, object]]:
        """Returns the project's DVC remotes: name -> options, `url` among them."""
        return {name: dict(options) for name, options in self._repo.config["remote"].items()}

    def probe_remote(self, name: str, *, with_write: bool) -> StorageProblem | None:
        """Returns why a DVC remote cannot be read (or written), or None where it can."""
        return probe(self._repo, name, with_write=with_write)

    def sources(self) -> set[str]:
        """Returns the files and folders, as git names them, that stages depend on and git has."""
        return self._files.sources()

    def written_by_dvc(self, changed: Iterable[str], at_head: Callable[[str], bytes | None]) -> list[str]:
        """Returns those of the changed paths (as git names them) that DVC writes. `at_head` reads a file at HEAD."""
        return self._files.written_by_dvc(changed, at_head)

    # Pull and reproduce

    def pull(self, targets: tuple[str, ...], *, may_overwrite: bool) -> str:
        """Pulls targets (everything without targets) and the run cache; returns in a few words what was done.

        Data in the work tree that no cache has is kept, unless `may_overwrite`. Raises WorkFailed and StorageError.
        """
        return pull.pull(self._repo, targets, log=self._log, may_overwrite=may_overwrite)

    @property
    def runs(self) -> list[StageRun]:
        """How each stage's run went in the last reproduction, also after a failure."""
        return self._reproduction.runs

    def is_up_to_date(self, targets: tuple[str, ...], *, allow_missing: bool) -> bool:
        """Whether a reproduction of the targets would do nothing; if so, `runs` is set.

        With `allow_missing` dvc.lock decides, without any data; otherwise all data must be in place.
        """
        return self._reproduction.is_up_to_date(targets, allow_missing=allow_missing)

    def reproduce(self, targets: tuple[str, ...], *, pull_missing: bool = False, alone: bool = False) -> None:
        """Reproduces the targets (the whole project without targets); `alone`, without what they need, in their order.

        `pull_missing` fetches only what stages that must run need. Raises StageFailed, and StorageError where that
        cannot be fetched.
        """
        # After an error too: some stages may have run before it.
        has_changed = True
        try:
            has_changed = self._reproduction.reproduce(targets, pull_missing=pull_missing, alone=alone)
        finally:
            if has_changed:
                self.reload()

    def section(self) -> PipelineSection:
        """Returns the report's pipeline section: the stages of this run, those that did not run, and the graph."""
        index = self._repo.index
        seen = {run.name for run in self.runs}
        names = [stage.addressing for stage in index.stages if stage.cmd]
        rest = [StageRun(name=name, status="not run") for name in names if name not in seen]
        edges = sorted((need.addressing, stage.addressing) for stage, need in index.graph.edges if need.cmd)
        return PipelineSection(stages=(*self.runs, *rest), edges=tuple(edges))

    def unmade_files(self) -> set[str]:
        """Returns the outputs, relative to the project, of stages that failed or did not run: they are from before."""
        made = {run.name for run in self.runs if run.status not in ("failed", "not run")}
        stages = (stage for stage in self._repo.index.stages if stage.cmd and stage.addressing not in made)
        return {os.path.relpath(out.fs_path, self._repo.root_dir) for stage in stages for out in stage.outs}

    # Save

    def push(self) -> int:
        """Pushes all outputs and the run cache; returns the number of files sent. Raises StorageError."""
        return push.push(self._repo, self._log)

    def verify(self, head: str) -> Verified:
        """Checks that every object that the work tree names is on the remotes, and uploads those that are missing.

        Raises StorageError, and WorkFailed for objects that stay missing and that the commit `head` does not name.
        """
        return push.verify(self._repo, head, self._log)

    def stages_with_other_inputs(
        self, stages: Iterable[StageKey], *, ours: str, tip: str, changed: set[str]
    ) -> list[str]:
        """Returns those of the stages whose results in the commit `ours` do not fit the commit `tip`. `changed` are the
        paths that differ between the two, as git names them.
        """
        return lockfile.stages_with_other_inputs(
            self._repo, stages, ours=ours, tip=tip, changed=changed, from_top=self.from_top
        )

    # Report

    def snapshot(self, revision: str | None, request: SnapshotRequest) -> Snapshot:
        """Reads one revision, by its full sha; None is the work tree."""
        return revisions.read_snapshot(self._repo, revision, request)

    def data_changes(self, old: Snapshot, new: Snapshot) -> DataChanges:
        """Returns how tracked data differs between two snapshots."""
        return data_changes.data_changes(self._repo, old, new)

    def plots(self, sides: Mapping[str, CollectedPlots]) -> list[DvcPlot]:
        """Returns the plots of "baseline" and "current", or of "current" alone, in the order of dvc.yaml."""
        return plots.read_plots(self._repo, sides)

    # Pipelines over several jobs

    def known_stages(self, names: Iterable[str]) -> list[str]:
        """Returns those of the names that are stages of the pipeline."""
        return list(stages_by_name(self._repo, names))

    def stale_stages(self, targets: tuple[str, ...]) -> list[StageToRun]:
        """Returns the stages of the targets (of the whole project without targets) that are not up to date by dvc.lock,
        and all that need one of them, in an order in which they can run.
        """
        return find_stale_stages(self._repo, targets)

    def records(self, plan: str) -> Records:
        """Returns the store of a plan's records. Raises BadInput where the default DVC remote cannot store any."""
        return Records(self._repo, plan, self._log)

    def take_results(self, names: Sequence[str], record: JobRecord) -> TakenResults:
        """Writes the results of other jobs into dvc.lock, in an order in which the stages can run. Raises StorageError
        and WorkFailed.
        """
        taken = job_results.take_results(self._repo, names, record, self._log)
        self._files.forget()
        return taken

    def has_pushed(self, name: str, entry: Entry) -> bool:
        """Whether an entry of dvc.lock is valid for a stage, and all objects that it names are on the DVC remotes."""
        stage = stages_by_name(self._repo, [name]).get(name)
        if stage is None or not job_results.is_valid_entry(entry, stage):
            return False
        return push.is_entry_on_remotes(stage, entry, self._log)

    def stages_with_new_entries(self, names: Iterable[str], at_head: Callable[[str], bytes | None]) -> list[str]:
        """Returns those of the stages whose entry of dvc.lock differs from the one at HEAD. `at_head` reads a file."""
        changed: dict[Path, set[str]] = {}
        found = []
        for name, stage in stages_by_name(self._repo, names).items():
            lock = Path(stage.path).with_suffix(".lock")
            if lock not in changed:
                before = at_head(self.from_top(str(lock))) or b""
                changed[lock] = changed_stages(before, lock.read_bytes()) if lock.exists() else set()
            if stage.name in changed[lock]:
                found.append(name)
        return found

    def lock_entries(self, names: Iterable[str]) -> dict[str, Entry]:
        """Returns the entries of dvc.lock of stages, as they are now."""
        return {name: push.lock_entry(stage) for name, stage in stages_by_name(self._repo, names).items()}

    def pull_inputs(self, names: Iterable[str]) -> int:
        """Pulls what stages need before they can run; returns the number of files fetched. Raises WorkFailed and
        StorageError.
        """
        paths = job_results.paths_to_pull(self._repo, names)
        return pull.pull_paths(self._repo, paths, log=self._log) if paths else 0

    def push_stages(self, names: Iterable[str]) -> int:
        """Pushes what stages have made, and checks every object; returns the number of files sent. Raises StorageError,
        and WorkFailed for objects that stay missing.
        """
        return push.push_stages(self._repo, list(stages_by_name(self._repo, names).values()), self._log)

    def pull_for_report(self) -> int:
        """Pulls metrics and plots, and fetches the listings of directories; returns the number of files. Raises
        WorkFailed and StorageError.
        """
        outs = [out for out in self._repo.index.outs if out.use_cache and out.hash_info]
        # `verify` checks each file of a directory, and knows the files from the listing.
        for out in outs:
            if out.hash_info.isdir:
                out.get_dir_cache()
        shown = [out.fs_path for out in outs if (out.metric or out.plot) and not out.exists]
        return pull.pull_paths(self._repo, shown, log=self._log) if shown else 0

    def set_runs(self, targets: tuple[str, ...], known: Mapping[str, StageRun]) -> None:
        """Sets `runs` to the known runs of other jobs; the other stages of the targets are up to date."""
        stages, _ = stages_in_order(self._repo, targets)
        self._reproduction.runs = [
            known.get(stage.addressing)
            or StageRun(name=stage.addressing, status="frozen" if stage.frozen else "up to date")
            for stage in stages
            if stage.cmd
        ]
