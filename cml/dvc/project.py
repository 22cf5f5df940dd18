"""The DVC project of the working directory: what it needs before the work, and the reproduction."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from cml.dvc import recovery
from cml.dvc.logging import forward_warnings, one_line, started_commands
from cml.dvc.patches.atomic_write import dump_at_once
from cml.dvc.patches.caching import keep_parsed, keep_remotes, one_command, reading_of, use_hashes
from cml.dvc.pull import fetched_by_stage
from cml.dvc.staleness import OutputIndex, is_stale, was_never_made
from cml.errors import BadInput
from cml.model.report import GpuUsage, PipelineSection, StageRun
from cml.process.gpu import GpuMeasurement, GpuMonitor
from cml.process.log import Log
from cml.remotes.errors import StorageError, StorageProblem
from cml.remotes.probe import probe

if TYPE_CHECKING:
    from dvc.output import Output
    from dvc.repo import Repo
    from dvc.stage import Stage

SUPPORTED = "3.67"
Configure = Callable[[Mapping[str, Mapping[str, object]], str], Mapping[str, Any]]


class StageFailed(Exception):
    """A stage of the pipeline ended with an error: its name, and DVC's own words."""

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(f"{stage}: {reason}")
        self.stage = stage
        self.reason = reason


class Project:
    """An open DVC project. `runs` says how each stage fared in the last reproduction, also after a failure."""

    def __init__(self, repo: Repo, log: Log, top: Path) -> None:
        self.repo = repo
        self.runs: list[StageRun] = []
        self._variables: dict[str, set[str]] = {}
        self._outputs: OutputIndex | None = None
        self._log = log
        self._top = top
        self._prefix = os.path.relpath(os.path.realpath(repo.root_dir), top)

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        top: Path,
        log: Log,
        configure: Configure | None = None,
        own_cache: str | None = None,
    ) -> Project:
        """Opens the project. `configure` takes its remotes (name -> options) and the default one's name, and returns
        what they are to be merged with. `own_cache` is a site cache whose hashes of files are used. Raises BadInput
        where there is no project, or where DVC cannot read it.
        """
        import dvc
        from dvc.exceptions import DvcException, NotDvcRepoError

        if not dvc.__version__.startswith(f"{SUPPORTED}."):
            raise BadInput(
                f"DVC {dvc.__version__} is installed, CML needs {SUPPORTED}: pip install 'dvc~={SUPPORTED}.0'"
            )
        if (directory / "Dvcfile").exists():
            raise BadInput("Dvcfile is of DVC 0.x, which DVC 3 cannot read: move its stage to dvc.yaml (dvc stage add)")
        from dvc.config import Config
        from dvc.repo import Repo

        if not gc.isenabled():  # what was imported stays: it is looked through no more
            gc.freeze()
            gc.enable()
        forward_warnings(log)
        keep_parsed()
        try:
            root = Path(Repo.find_root(str(directory)))
            recovery.drop_stale_lock(root / ".dvc" / "tmp" / "rwlock")
            found = Config(str(root / ".dvc"))
            # Handed in, not merged later: DVC reads its configuration anew after every locked call.
            settings = dict(configure(found["remote"], found["core"].get("remote", ""))) if configure else None
            repo = Repo(str(directory), config=settings)
            repo.scm_context.quiet = True
            repo.scm_context.autostage = False
            keep_remotes(repo)
            dump_at_once(repo)
            if own_cache is not None:
                use_hashes(repo, own_cache)
            recovery.begin(repo)
            repo.index.check_graph()
        except NotDvcRepoError:
            raise BadInput(
                f"{directory} is not a DVC project (no .dvc folder): set working_directory, or start with `dvc init`"
            ) from None
        except DvcException as error:
            raise BadInput(_unreadable(error)) from None
        return cls(repo, log, top)

    @property
    def prefix(self) -> str:
        """Where the project lies in git: its root relative to the top, "." for the top itself."""
        return self._prefix

    def from_top(self, path: str) -> str:
        """Returns an absolute path inside the project as git names it: relative to the top, with slashes."""
        return os.path.normpath(os.path.join(self._prefix, os.path.relpath(path, self.repo.root_dir)))

    def close(self) -> None:
        """Says that nothing was left half done."""
        recovery.end(self.repo)

    def reload(self) -> None:
        """Forgets what was read of the project, after others may have changed it."""
        self._variables.clear()
        self.repo._reset()

    # Before the work

    def check_targets(self, targets: Iterable[str], *, variable: str) -> tuple[str, ...]:
        """Returns the targets as DVC 3 knows them. Raises BadInput for one that names nothing."""
        checked = []
        for target in targets:
            name = target
            stage = target.removesuffix(".dvc")
            if target != stage and not Path(target).exists() and self._problem(stage, variable) is None:
                name = stage
                self._log.warning(f"{variable}: {target} is no file; taken for the stage {stage}")
            if problem := self._problem(name, variable):
                raise BadInput(f"{variable} names {target!r}, which is no stage or file of the project: {problem}")
            checked.append(name)
        return tuple(checked)

    def _problem(self, target: str, variable: str) -> str | None:
        from dvc.exceptions import DvcException

        try:
            if variable == "dvc_pull":
                self.repo.index.collect_targets([target])
            else:
                self.repo.stage.collect(target)
        except (DvcException, OSError) as error:
            return one_line(error)
        return None

    def probe_remote(self, name: str, *, with_write: bool) -> StorageProblem | None:
        """Returns why a remote cannot be read (or written); None when it can."""
        return probe(self.repo, name, with_write=with_write)

    def outputs_without_remote(self) -> list[str]:
        """Returns the cached outputs that no DVC remote takes: theirs, or else the default, is not set."""
        known, default = self.repo.config["remote"], self.repo.config["core"].get("remote")
        saved = (out for out in self.repo.index.outs if is_saved(out))
        return sorted(str(out) for out in saved if (out.remote or default) not in known)

    def has_cached_outputs(self) -> bool:
        return any(out.use_cache for out in self.repo.index.outs)

    def has_changed_outputs(self) -> bool:
        """Whether tracked data in the work tree differs from what the lock files name."""
        return any(out.use_cache and out.exists and out.changed_checksum() for out in self.repo.index.outs)

    def remotes(self) -> dict[str, dict[str, object]]:
        """Returns the project's DVC remotes: name -> options, `url` among them."""
        return {name: dict(options) for name, options in self.repo.config["remote"].items()}

    def sources(self) -> set[str]:
        """Returns the files and folders, as git names them, that stages depend on and git holds."""
        from dvc.dependency.param import ParamsDependency

        outs = {out.fs_path for out in self.repo.index.outs}
        found = set()
        for stage in self.repo.index.stages:
            if stage.cmd:
                found.add(stage.path)
            for dep in stage.deps:
                is_file = isinstance(dep, ParamsDependency) or dep.protocol == "local"
                if is_file and dep.is_in_repo and dep.fs_path not in outs:
                    found.add(dep.fs_path)
            found |= self._variable_files(stage)
        return {self.from_top(path) for path in found}

    def _variable_files(self, stage: Stage) -> set[str]:
        """Returns the files that a stage's dvc.yaml takes `${...}` from."""
        from dvc.utils.serialize import load_yaml

        if not stage.cmd or stage.path in self._variables:
            return self._variables.get(stage.path, set())
        folder, text = os.path.dirname(stage.path), Path(stage.path).read_text(encoding="utf-8")
        document = load_yaml(stage.path) if "vars" in text or "${" in text else None
        names = {name for name in _vars_of(document) if isinstance(name, str)}
        if "${" in json.dumps(document, default=str):
            names.add("params.yaml")
        paths = {os.path.join(folder, name.partition(":")[0]) for name in names}
        self._variables[stage.path] = {path for path in paths if Path(path).exists()}
        return self._variables[stage.path]

    # Reproduce

    def in_order(self, targets: Iterable[str]) -> tuple[list[Stage], Any]:
        """Returns the stages of the targets (all when empty) and those that they need, in the order DVC runs them in,
        and its graph, whose edges lead from a stage to one that it needs; a frozen stage needs none.
        """
        from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

        graph = get_active_graph(self.repo.index.graph)
        return plan_repro(graph, collect_stages(self.repo, targets) or None), graph

    def stages(self, names: Iterable[str]) -> dict[str, Stage]:
        """Returns stages of the pipeline by their addresses, as many of these as there are."""
        known = {stage.addressing: stage for stage in self.repo.index.stages if stage.cmd}
        return {name: known[name] for name in names if name in known}

    def is_up_to_date(self, targets: tuple[str, ...], *, allow_missing: bool) -> bool:
        """Whether a reproduction of the targets would find nothing to do; `runs` then says so.

        With `allow_missing` that is decided from dvc.lock without any data (for `dvc_pull: auto`); else all data of the
        targets, and of what they need, is in the work tree and in the cache too.
        """
        from dvc.exceptions import DvcException

        stages, graph = self.in_order(targets)
        outputs = OutputIndex(self.repo.index.outs)
        try:
            with reading_of(self.repo, stages):
                for stage in stages:
                    if stage.cmd and allow_missing:
                        is_changed = is_stale(stage, outputs)
                    else:
                        is_changed = stage.changed(allow_missing=allow_missing, upstream=list(graph.successors(stage)))
                    if is_changed:
                        return False
        except DvcException:  # a reproduction will meet it again, and say of which stage it is
            return False
        self.runs = [
            StageRun(name=stage.addressing, status="frozen" if stage.frozen else "up to date")
            for stage in stages
            if stage.cmd
        ]
        return True

    def reproduce(self, targets: tuple[str, ...], *, pull_missing: bool = False, alone: bool = False) -> None:
        """Reproduces targets (the whole project when empty), `alone` without what they need, in the order given.
        `pull_missing` fetches only what stages that must run need. Raises StageFailed, and StorageTrouble where that
        cannot be fetched.
        """
        from dvc.exceptions import DvcException

        self.runs.clear()
        # In a run of stages alone everything that they need is in place, and the objects here are not DVC's.
        self._outputs = OutputIndex(self.repo.index.outs) if pull_missing and not alone else None
        # The run cache is fetched stage by stage, not whole and beforehand.
        options = {"pull": True, "allow_missing": True, "run_cache": False} if pull_missing else {}
        is_as_read = False
        try:
            with (
                fetched_by_stage(self.repo, self._log) if pull_missing else contextlib.nullcontext(),
                one_command(self.repo),
            ):
                changed = self.repo.reproduce(
                    targets=list(targets) or None,
                    all_pipelines=not targets,
                    single_item=alone,
                    repro_fn=self._run_stage,
                    **options,
                )
            is_as_read = not changed
        except DvcException as error:
            if isinstance(error.__cause__, (StageFailed, StorageError)):
                raise error.__cause__ from error
            failed = next((run.name for run in self.runs if run.status == "failed"), "the pipeline")
            raise StageFailed(failed, one_line(error.__cause__ or error)) from error
        finally:
            if not is_as_read:
                self.reload()

    def _run_stage(self, stage: Stage, **options: Any) -> Stage | None:
        from dvc.repo.reproduce import _reproduce_stage

        options.pop("run_cache", None)
        if not stage.cmd:
            return self._run_source(stage, **options)
        for out in stage.outs:
            # DVC fails a stage for a metrics file that is no text, when its work is done: a warning is enough.
            out.verify_metric = lambda: None
        if options.get("pull") and not stage.frozen:
            self._settle(stage, options)
        started, monitor = time.monotonic(), GpuMonitor()
        with started_commands(self._log, monitor.start) as commands:
            try:
                result = _reproduce_stage(stage, **options)
            except StorageError:  # it did not begin
                raise
            except BaseException:
                self._record(stage, "failed", started, gpu=monitor.stop())
                raise
        gpu = monitor.stop()
        if stage.frozen or result is None:
            self._record(stage, "frozen" if stage.frozen else "up to date", None)
        else:
            self._record(stage, "ran" if commands else "restored", started, gpu=gpu)
        return result

    def _settle(self, stage: Stage, options: dict[str, Any]) -> None:
        """Has DVC run a stage that is to run though it takes what is not in the work tree for unchanged."""
        from dvc.stage import run

        outputs = self._outputs
        if is_stale(stage, outputs) if outputs else was_never_made(stage):
            upstream = options.get("upstream")
            if outputs and not stage.changed(allow_missing=True, upstream=upstream):
                run._pull_missing_deps(stage)
            options["force"] = not stage.changed(allow_missing=True, upstream=upstream)

    def _run_source(self, stage: Stage, **options: Any) -> Stage | None:
        from dvc.exceptions import DvcException
        from dvc.repo.reproduce import _reproduce_stage

        if not stage.is_import and not all(out.exists for out in stage.outs):
            return None  # it was not pulled, and a stage that needs it says so itself
        try:
            return _reproduce_stage(stage, **options)
        except DvcException as error:
            raise StageFailed(stage.addressing, one_line(error)) from error

    def _record(
        self,
        stage: Stage,
        status: Literal["ran", "restored", "up to date", "frozen", "failed"],
        started: float | None,
        *,
        gpu: GpuMeasurement | None = None,
    ) -> None:
        seconds = None if started is None else time.monotonic() - started
        usage = GpuUsage(**asdict(gpu)) if gpu else None
        self.runs.append(StageRun(name=stage.addressing, status=status, seconds=seconds, gpu=usage))
        words = {"restored": "restored from the run cache", "up to date": "is up to date", "frozen": "is frozen"}
        self._log.note(
            f"{stage.addressing} {words.get(status, status)}{'' if seconds is None else f' in {seconds:.1f} s'}"
        )

    def section(self) -> PipelineSection:
        """Returns the report's pipeline section: the stages of this run, those that did not run, and the graph."""
        index = self.repo.index
        names = [stage.addressing for stage in index.stages if stage.cmd]
        seen = {run.name for run in self.runs}
        rest = [StageRun(name=name, status="not run") for name in names if name not in seen]
        edges = sorted((need.addressing, stage.addressing) for stage, need in index.graph.edges if need.cmd)
        return PipelineSection(stages=(*self.runs, *rest), edges=tuple(edges))

    # Results

    def unmade_files(self) -> set[str]:
        """Returns the outputs, as DVC names them, of stages that failed or did not run: what stands there is older."""
        made = {run.name for run in self.runs if run.status not in ("failed", "not run")}
        stages = (stage for stage in self.repo.index.stages if stage.cmd and stage.addressing not in made)
        return {os.path.relpath(out.fs_path, self.repo.root_dir) for stage in stages for out in stage.outs}

    def own_files(self, changed: Iterable[str], at_head: Callable[[str], bytes | None]) -> list[str]:
        """Returns those of the changed paths (as git names them) that DVC writes: dvc.lock, .dvc, outputs that git
        holds, and a .gitignore where only outputs were added. `at_head` reads a file at HEAD.
        """
        own: set[str] = set()
        ignored: dict[str, set[str]] = {}
        for stage in self.repo.index.stages:
            own.add(self.from_top(stage.path if not stage.cmd else os.path.splitext(stage.path)[0] + ".lock"))
            for out in (out for out in stage.outs if out.is_in_repo):
                if out.use_cache:
                    folder, name = os.path.split(self.from_top(out.fs_path))
                    ignored.setdefault(os.path.join(folder, ".gitignore"), set()).add(f"/{name}")
                else:
                    own.add(self.from_top(out.fs_path))
        return sorted(
            path
            for path in changed
            if path in own
            or own & {str(parent) for parent in Path(path).parents}
            or (path in ignored and self._only_adds(path, at_head(path), ignored[path]))
        )

    def _only_adds(self, path: str, old: bytes | None, names: set[str]) -> bool:
        file = self._top / path
        now = set(file.read_text(encoding="utf-8", errors="replace").splitlines()) if file.exists() else set()
        before = set((old or b"").decode(errors="replace").splitlines())
        # DVC writes its names with escapes, and one with a line break as two lines.
        plain = {line.replace("\\", "") for name in names for line in name.splitlines()}
        return before <= now and {line.replace("\\", "") for line in now - before} <= plain


def _vars_of(document: Any) -> Iterator[Any]:
    if isinstance(document, dict):
        for key, value in document.items():
            if key == "vars" and isinstance(value, list):
                yield from value
            else:
                yield from _vars_of(value)


def is_saved(out: Output) -> bool:
    """Whether an output's objects belong on a DVC remote: not those of git, of `push: false`, of imports."""
    return bool(out.use_cache and out.can_push and not out.stage.is_import and not out.stage.is_repo_import)


def _unreadable(error: Exception) -> str:
    text = one_line(error)
    # What DVC prints below its message: the key that its schema refuses, or the line that is no YAML.
    for flaw in getattr(getattr(error, "exc", None), "errors", ())[:1]:
        if ".dvc'" in text and flaw.path == ["cmd"]:
            name = getattr(error, "path", "").removeprefix("./")
            return f"{name} is a stage of DVC 0.x, which DVC 3 cannot read: move it to dvc.yaml (dvc stage add)"
        text += f": {flaw.error_message} ({'.'.join(map(str, flaw.path))})"
    if mark := getattr(error.__cause__, "problem_mark", None):
        text += f", line {mark.line + 1}"
    return f"DVC cannot read the project: {text}{_advice(error)}"


def _advice(error: Exception) -> str:
    """Returns what helps where a dvc.lock ends too early, or both sides of a merge are in it."""
    path = str(getattr(error, "relpath", "") or getattr(error, "path", "")).removeprefix("./")
    flaws = getattr(getattr(error, "exc", None), "errors", ())
    if os.path.basename(path) != "dvc.lock" or any("required key" not in flaw.error_message for flaw in flaws):
        return ""
    if getattr(error, "hint", ""):  # DVC has seen the markers
        return "; a merge left both sides in it: take one (git checkout --ours or --theirs), and run again"
    return f"; a DVC that was killed may have left it half written: git checkout {path} has the committed one"
