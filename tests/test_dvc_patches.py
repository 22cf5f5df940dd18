"""The patches of DVC: each has its effect, and is gone afterwards."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from support.small_world import COPY, dvc_yaml, kept_in_git, make_small_world
from support.world import World

from cml.dvc import patches
from cml.dvc.patches.atomic_write import AtomicWrites
from cml.dvc.patches.fetch_by_stage import FetchByStage
from cml.dvc.patches.git_files import DulwichFiles
from cml.dvc.patches.keep_reading import KeepWorkTree, StayAtRevision
from cml.dvc.patches.known_hashes import KnownHashes
from cml.dvc.patches.locking import OneCommand, OneLock
from cml.dvc.patches.no_metric_check import NoMetricCheck
from cml.dvc.patches.parse_once import ParseOnce
from cml.dvc.patches.whole_metrics import WholeMetrics
from cml.process.patch import Patch

# Of pygtrie, below DVC, which cannot help it.
pytestmark = [pytest.mark.dvc, pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")]

PIPELINE = dvc_yaml(
    make={**COPY, "metrics": kept_in_git("m.json")} | {"cmd": "cp in.txt out.txt; echo 0 > m.json"},
    last={"cmd": "cp out.txt last.txt", "deps": ["out.txt"], "outs": ["last.txt"]},
)
# What a patch changes: module and attribute.
CHANGED = {
    "AtomicWrites": [("dvc.utils.serialize._common", "_dump_data"), ("dvc.utils.serialize._yaml", "_dump_data")],
    "DulwichFiles": [("dvc.fs", "GitFileSystem"), ("dvc.scm", "resolve_rev")],
    "FetchByStage": [("dvc.stage.run", "_pull_missing_deps")],
    "KeepWorkTree": [],
    "KnownHashes": [],
    "NoMetricCheck": [],
    "OneCommand": [],
    "OneLock": [("dvc.rwlock", "rwlock")],
    "ParseOnce": [
        ("dvc.utils.strictyaml", "parse_yaml"),
        ("dvc.utils.strictyaml", "validate"),
        ("dvc.schema", "vol"),
    ],
    "StayAtRevision": [],
    "WholeMetrics": [("dvc.repo.metrics.show", "_read_metric"), ("dvc.repo.metrics.show", "try_expand_paths")],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A project reproduced and committed; tests take copies."""
    world = make_small_world(tmp_path_factory.mktemp("made"), {"in.txt": "1"})
    world.commit("Source", {"dvc.yaml": PIPELINE}, push=False)
    world.dvc("repro", "--quiet")
    world.commit("Results", push=False)
    return world


@pytest.fixture
def world(made: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    shutil.copytree(made.folder, tmp_path / "world", symlinks=True)
    copy = World(tmp_path / "world")
    monkeypatch.chdir(copy.project)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(copy.folder / "site"))
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    return copy


@pytest.fixture
def repo(world: World) -> Iterator[Any]:
    from dvc.repo import Repo

    with Repo(str(world.project)) as opened:
        opened.scm_context.quiet = True
        opened.scm_context.autostage = False
        yield opened


def the_stage(repo: Any, name: str) -> Any:
    return next(stage for stage in repo.index.stages if stage.addressing == name)


def make_patch(name: str, repo: Any) -> Patch:
    stage = the_stage(repo, "make")
    found: dict[str, Patch] = {
        "AtomicWrites": AtomicWrites(Path(repo.tmp_dir)),
        "DulwichFiles": DulwichFiles(),
        "FetchByStage": FetchByStage(repo, fetch=lambda _: None, guard=nullcontext),
        "KeepWorkTree": KeepWorkTree(repo),
        "KnownHashes": KnownHashes(stage, _Outputs({})),  # type: ignore[arg-type]  # what the patch asks of an index
        "NoMetricCheck": NoMetricCheck(stage),
        "OneCommand": OneCommand(repo),
        "OneLock": OneLock(repo, [stage]),
        "ParseOnce": ParseOnce(),
        "StayAtRevision": StayAtRevision(repo),
        "WholeMetrics": WholeMetrics(),
    }
    return found[name]


class _Outputs:
    """Known hashes by path, as an OutputIndex has them."""

    def __init__(self, hashes: dict[str, str]) -> None:
        self._hashes = hashes

    def hash_of(self, dep: Any) -> str | None:
        return self._hashes.get(dep.def_path)


def test_the_table_has_every_patch() -> None:
    found: dict[str, type] = {}
    for module in pkgutil.iter_modules(patches.__path__, f"{patches.__name__}."):
        classes = inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
        found.update(
            (name, each) for name, each in classes if issubclass(each, Patch) and each.__module__ == module.name
        )
    assert found.keys() == CHANGED.keys()
    assert not [name for name, each in found.items() if not each.__doc__ or "DVC" not in each.__doc__]


@pytest.mark.parametrize("name", CHANGED)
def test_a_patch_changes_what_it_says_and_restores_it(repo: Any, name: str) -> None:
    def state() -> dict[str, Any]:
        modules = {
            f"{module}.{attribute}": vars(importlib.import_module(module))[attribute]
            for module, attribute in (each for changed in CHANGED.values() for each in changed)
        }
        stage = the_stage(repo, "make")
        objects = [repo, repo.cloud, *stage.deps, *stage.outs]
        return {
            **modules,
            **{
                f"{number} {key}": value
                for number, each in enumerate(objects)
                for key, value in vars(each).items()
                if key not in ("hash_info", "meta")
            },
        }

    the_stage(repo, "make").save_deps()
    before = state()
    patch = make_patch(name, repo)
    for _ in range(2):
        with patch:
            after = state() if name != "KeepWorkTree" else {**before, "changed": True}
        changed = {key for key in after.keys() | before.keys() if after.get(key) is not before.get(key)}
        wanted = {f"{module}.{attribute}" for module, attribute in CHANGED[name]}
        assert {key for key in changed if key.startswith("dvc.")} == wanted
        now = state()
        assert {key for key in now.keys() | before.keys() if now.get(key) is not before.get(key)} <= {"0 state"}


def test_yaml_files_are_written_to_a_new_file_that_is_renamed(world: World, repo: Any) -> None:
    lock = world.project / "dvc.lock"
    first = lock.stat().st_ino
    with AtomicWrites(Path(repo.tmp_dir)):
        repo.reproduce(["last"], force=True, single_item=True)
        assert lock.stat().st_ino != first
    second = lock.stat().st_ino
    repo.reproduce(["last"], force=True, single_item=True)
    assert lock.stat().st_ino == second, "DVC itself overwrites it"


def test_a_text_is_parsed_and_a_schema_compiled_once(repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import voluptuous
    from dvc import schema
    from dvc.utils import strictyaml

    parsed: list[str] = []
    parse = strictyaml.parse_yaml

    def count(text: str, path: str, typ: str = "safe") -> Any:
        parsed.append(path)
        return parse(text, path, typ=typ)

    monkeypatch.setattr(strictyaml, "parse_yaml", count)
    with ParseOnce():
        for _ in range(3):
            repo._reset()
            assert len(repo.index.stages) == 2
        assert len(parsed) == 2, "dvc.yaml and dvc.lock"
        compiled = schema.vol.Schema({"a": int})
        definition = {"b": int}
        assert schema.vol.Schema(definition) is schema.vol.Schema(definition)
        with pytest.raises(voluptuous.Invalid):
            compiled({"a": "x"})
    repo._reset()
    assert len(repo.index.stages) == 2
    assert len(parsed) == 4


def test_what_was_read_stays_within_one_command(repo: Any) -> None:
    index = repo.index
    with OneCommand(repo):
        repo.checkout(["out.txt"], force=True)
        with OneCommand(repo):
            repo.checkout(["out.txt"], force=True)
        assert repo.index is index
        assert repo.lock.is_locked
    assert not repo.lock.is_locked
    repo.checkout(["out.txt"], force=True)
    assert repo.index is not index


def test_stages_are_locked_once_and_another_process_cannot_write_their_files(
    repo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dvc import rwlock
    from dvc.lock import LockError

    edited: list[int] = []
    edit = rwlock._edit_rwlock
    monkeypatch.setattr(rwlock, "_edit_rwlock", lambda *args: edited.append(1) or edit(*args))  # type: ignore[func-returns-value]
    stages = [stage for stage in repo.index.stages if stage.cmd]
    with OneLock(repo, stages):
        assert not any(stage.changed() for stage in stages)
        assert len(edited) == 1
        locked = json.loads(Path(repo.tmp_dir, "rwlock").read_text())["read"]
        assert {str(Path(repo.root_dir, name)) for name in ("in.txt", "out.txt", "last.txt", "m.json")} == locked.keys()
    assert len(edited) == 2
    with repo.lock:
        assert not any(stage.changed() for stage in stages)
    assert len(edited) > 4, "DVC itself locks each stage"
    writer = {"pid": 1, "cmd": "another"}
    Path(repo.tmp_dir, "rwlock").write_text(json.dumps({"write": {str(Path(repo.root_dir, "out.txt")): writer}}))
    with pytest.raises(LockError), OneLock(repo, stages):
        pass
    assert not repo.lock.is_locked


def test_dulwich_reads_commits_and_pygit2_only_files_in_lfs(world: World, repo: Any) -> None:
    from dvc.repo.brancher import switch

    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 1\n"
    sha = world.commit("A pointer", {"big.bin": pointer, "zahl\u00e9n.txt": "\u00e9"}, push=False)
    with DulwichFiles(), switch(repo, sha):
        trie = repo.fs.fs.trie
        assert repo.fs.exists("/dvc.yaml")
        assert repo.fs.read_text("/zahl\u00e9n.txt") == "\u00e9"
        assert "_with_lfs" not in vars(trie)
        with repo.fs.open("/big.bin", "rb") as file:
            assert file.read() == pointer.encode()
        assert "_with_lfs" in vars(trie)


def test_the_index_of_the_work_tree_is_back_after_a_look_at_a_commit(world: World, repo: Any) -> None:
    from dvc.repo.brancher import switch

    index = repo.index
    with KeepWorkTree(repo), switch(repo, world.git("rev-parse", "HEAD")):
        assert repo.index is not index
    assert repo.index is index


def test_plots_are_those_of_the_commit_that_is_being_read(world: World, repo: Any) -> None:
    from dvc.repo.brancher import switch

    sha = world.commit("A plot", {"plot.json": '[{"n": 1}]'}, push=False)
    world.write({"plot.json": '[{"n": 2}]'})
    with switch(repo, sha), StayAtRevision(repo):
        found = repo.plots.show(targets=["plot.json"], revs=["workspace"])["workspace"]
    assert found["sources"]["data"]["plot.json"]["data"] == [{"n": 1}]


@pytest.mark.parametrize(
    ("text", "of_dvc", "whole"),
    [
        ("0", {}, {"m.json": 0}),
        ("false", {}, {"m.json": False}),
        ("null", {}, {}),
        ('{"a": null, "b": {"c": 0}}', {"b": {"c": 0}}, {"a": None, "b": {"c": 0}}),
        ('{"a": [1]}', {}, {"a": [1]}),
    ],
)
def test_metrics_are_read_whole(world: World, repo: Any, text: str, of_dvc: Any, whole: Any) -> None:
    from dvc.repo.metrics.show import _gather_metrics

    world.write({"m.json": text})
    assert _gather_metrics(repo, targets=["m.json"])["m.json"] == {"data": of_dvc}
    with WholeMetrics():
        assert _gather_metrics(repo, targets=["m.json"])["m.json"] == {"data": whole}
        world.write({"folder/n.json": "1"})
        assert list(_gather_metrics(repo, targets=["folder"])) == ["folder/n.json"]


def test_a_stage_that_must_run_is_fetched_for_by_our_function(world: World, repo: Any) -> None:
    world.write({"in.txt": "2"})
    (world.project / "out.txt").unlink()
    fetched: list[str] = []
    with FetchByStage(repo, fetch=lambda stage: fetched.append(stage.addressing), guard=nullcontext):
        repo.reproduce(targets=["last"], pull=True, allow_missing=True, run_cache=False)
    assert fetched == ["make", "last"]


def test_a_metrics_file_may_be_binary(world: World, repo: Any) -> None:
    from dvc.exceptions import DvcException

    (world.project / "m.json").write_bytes(b"\x00\x01\xff")
    stage = the_stage(repo, "make")
    with NoMetricCheck(stage):
        stage.save()
    with pytest.raises(DvcException):
        stage.save()


def test_the_run_cache_is_asked_with_the_known_hashes(world: World, repo: Any) -> None:
    from dvc.stage.cache import _get_stage_hash

    stage = the_stage(repo, "last")
    key = _get_stage_hash(stage)
    value = stage.deps[0].hash_info.value
    (world.project / "out.txt").unlink()
    with KnownHashes(stage, _Outputs({"out.txt": value})):  # type: ignore[arg-type]  # as above
        assert _get_stage_hash(stage) == key
    with KnownHashes(stage, _Outputs({"out.txt": "0" * 32})):  # type: ignore[arg-type]  # as above
        assert _get_stage_hash(stage) != key
    assert stage.deps[0].hash_info.value == value
