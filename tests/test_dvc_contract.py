"""What `cml` uses of DVC: its private names, in one table, and what its internal functions return, one fact per test.

After an upgrade of DVC the first test that fails shows what has changed. None of our own code runs here.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from dvc.repo import Repo
from support.small_world import COPY, dvc_yaml, kept_in_git, make_small_world, track
from support.world import World

# Of pygtrie, below DVC, which cannot help it.
pytestmark = [pytest.mark.dvc, pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")]

PIPELINE = dvc_yaml(
    make={**COPY, "deps": ["in.txt", "raw/raw.csv"], "params": ["rate"], "metrics": kept_in_git("m.json")}
    | {"cmd": 'mkdir -p d; cat in.txt > out.txt; cat in.txt > d/a; echo \'{"n": {"a": 1.5}}\' > m.json'}
    | {"outs": ["out.txt", "d"]},
    last={"cmd": "cat out.txt > last.txt", "deps": ["out.txt"], "outs": [{"last.txt": {"push": False}}]},
)


# The private names of DVC and of its plugins that `cml` uses: where each is, and the arguments that we call it with, by
# position and by name (None: it is not called).
PRIVATE_NAMES: dict[str, tuple[str, int | None, tuple[str, ...]]] = {
    "_build": ("dvc.output:Output", 4, ("ignore", "dry_run")),
    "_can_hash": ("dvc.stage.cache:", 1, ()),
    "_common": ("dvc.utils.serialize:", None, ()),
    "_create_stage": ("dvc.stage.cache:StageCache", 2, ("wdir",)),
    "_dump_data": ("dvc.utils.serialize._common:", 3, ("fs",)),
    "_exists": ("dvc_http.spec:HTTPFileSystem", 2, ()),
    "_gather_metrics": ("dvc.repo.metrics.show:", 1, ("targets",)),
    "_gather_params": ("dvc.repo.params.show:", 1, ("targets",)),
    "_get_cache_dir": ("dvc.stage.cache:StageCache", 2, ()),
    "_get_stage_hash": ("dvc.stage.cache:", 1, ()),
    "_load_cache": ("dvc.stage.cache:StageCache", 3, ()),
    "_prepare_credentials": ("dvc_objects.fs.base:FileSystem", 1, ("user",)),
    "_pull_missing_deps": ("dvc.stage.run:", 1, ()),
    "_read_metric": ("dvc.repo.metrics.show:", 2, ("cache",)),
    "_reproduce_stage": ("dvc.repo.reproduce:", 1, ("force", "upstream", "pull", "allow_missing")),
    "_reset": ("dvc.repo:Repo", 1, ()),
    "_uncached_outs": ("dvc.stage.cache:StageCache", 3, ()),
    "_yaml": ("dvc.utils.serialize:", None, ()),
}
# Only objects have these: their owner under `repo`, and their type.
PRIVATE_ATTRIBUTES = {"_lock_depth": ("", int), "_plots": ("index", dict)}
# Our own private names that are used on another object than `self`.
OWN_NAMES = {"_patches", "_replace"}


def private_names_in_use() -> dict[str, str]:
    """Each private name that the modules of `cml` which may use DVC import, read or replace -> where."""
    found = {}
    top = Path(__file__).resolve().parent.parent / "cml"
    for path in [*(top / "dvc").rglob("*.py"), *(top / "remotes").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            for name in _names_of(node):
                if name.startswith("_") and not name.startswith("__"):
                    found[name] = f"{path.relative_to(top)} line {getattr(node, 'lineno', 0)}"
    return {name: where for name, where in found.items() if name not in OWN_NAMES}


def _names_of(node: ast.AST) -> list[str]:
    """The names that a node takes from elsewhere: those of our own objects are read on `self` or `cls`."""
    if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("cml"):
        return [*node.module.split("."), *(alias.name for alias in node.names)]
    if isinstance(node, ast.Import):
        return [part for alias in node.names for part in alias.name.split(".")]
    if isinstance(node, ast.Attribute):
        is_own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        return [] if is_own else [node.attr]
    # A name that is replaced or read by its text: (module, "_name", value), vars(dep)["_name"].
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
        return [node.value]
    return []


def test_the_table_has_each_private_name_that_is_used() -> None:
    used = private_names_in_use()
    known = PRIVATE_NAMES.keys() | PRIVATE_ATTRIBUTES.keys()
    assert {name: where for name, where in used.items() if name not in known} == {}, "add these to the table"
    assert known - used.keys() == set(), "remove these from the table"


@pytest.mark.parametrize("name", PRIVATE_NAMES)
def test_a_private_name_exists_and_takes_our_arguments(name: str) -> None:
    place, positional, named = PRIVATE_NAMES[name]
    module, _, owner = place.partition(":")
    found: Any = importlib.import_module(module)
    if owner:
        found = getattr(found, owner)
    if not hasattr(found, name):
        found = importlib.import_module(f"{module}.{name}")  # a module of its own
    else:
        found = getattr(found, name)
    if positional is not None:
        inspect.signature(found).bind(*([None] * positional), **dict.fromkeys(named))


def test_a_repo_has_the_private_attributes(repo: Any) -> None:
    for name, (owner, kind) in PRIVATE_ATTRIBUTES.items():
        assert type(getattr(getattr(repo, owner) if owner else repo, name)) is kind


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A project reproduced and committed; tests take copies."""
    world = make_small_world(tmp_path_factory.mktemp("made"), {"in.txt": "1", "params.yaml": "rate: 2\n"})
    track(world, "raw/raw.csv", "1,2\n")
    world.commit("Source", {"dvc.yaml": PIPELINE}, push=False)
    world.dvc("pull", "--quiet", "raw/raw.csv")
    world.dvc("repro", "--quiet")
    world.commit("Results", push=False)
    return world


@pytest.fixture
def world(made: World, tmp_path: Path) -> World:
    shutil.copytree(made.folder, tmp_path / "world", symlinks=True)
    return World(tmp_path / "world")


@pytest.fixture
def repo(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.chdir(world.project)
    for name, value in {"DVC_SITE_CACHE_DIR": str(world.folder / "site"), "DVC_NO_ANALYTICS": "1"}.items():
        monkeypatch.setenv(name, value)
    with Repo(str(world.project)) as opened:
        opened.scm_context.quiet = True
        opened.scm_context.autostage = False
        yield opened


@contextmanager
def said(name: str) -> Iterator[list[str]]:
    """What a logger says, at INFO and above."""
    messages: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            messages.append(record.getMessage())

    logger, handler = logging.getLogger(name), Collect()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield messages
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def the_stage(repo: Any, name: str) -> Any:
    return next(stage for stage in repo.index.stages if stage.addressing == name)


def test_reproduce_hands_every_stage_to_repro_fn_with_its_upstream(repo: Any) -> None:
    calls: list[tuple[str, bool, list[str]]] = []

    def look(stage: Any, **options: Any) -> None:
        calls.append((stage.addressing, bool(stage.cmd), [need.addressing for need in options["upstream"]]))

    assert repo.reproduce(targets=None, all_pipelines=True, repro_fn=look) == []
    assert calls == [("raw/raw.csv.dvc", False, []), ("make", True, ["raw/raw.csv.dvc"]), ("last", True, ["make"])]


def test_reproduce_stage_returns_none_for_what_is_up_to_date_and_the_stage_for_what_ran(
    world: World, repo: Any
) -> None:
    from dvc.repo.reproduce import _reproduce_stage

    results: dict[str, tuple[bool, list[str]]] = {}

    def look(stage: Any, **options: Any) -> Any:
        with said("dvc.stage.run") as messages:
            result = _reproduce_stage(stage, **options)
        results[stage.addressing] = (result is not None, messages)
        return result

    world.write({"in.txt": "2"})
    repo.reproduce(targets=["make"], repro_fn=look)
    assert results["raw/raw.csv.dvc"] == (False, [])
    ran, messages = results["make"]
    assert ran
    assert messages[0] == "Running stage 'make':"
    assert messages[1].startswith("> mkdir -p d;")
    world.write({"in.txt": "1"})
    repo.reproduce(targets=["make"], repro_fn=look)
    assert results["make"] == (True, []), "a stage restored from the run cache starts no command"


def test_a_reproduction_that_fails_keeps_its_reason_as_the_cause(repo: Any) -> None:
    from dvc.exceptions import DvcException, ReproductionError

    def fail(_: Any, **__: Any) -> None:
        raise KeyError("the reason")

    with pytest.raises(ReproductionError) as caught:
        repo.reproduce(targets=["make"], repro_fn=fail)
    assert isinstance(caught.value, DvcException)
    assert isinstance(caught.value.__cause__, KeyError)


def test_the_plan_of_a_target_holds_what_it_needs(repo: Any) -> None:
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro

    graph = get_active_graph(repo.index.graph)
    plan = plan_repro(graph, collect_stages(repo, ("last",)))
    assert [stage.addressing for stage in plan] == ["raw/raw.csv.dvc", "make", "last"]
    assert len(plan_repro(graph, collect_stages(repo, ()) or None)) == 3
    assert [need.addressing for need in graph.successors(the_stage(repo, "last"))] == ["make"]


def test_changed_allows_missing_data_and_sees_upstream(world: World, repo: Any) -> None:
    for path in ("out.txt", "last.txt", "raw/raw.csv"):
        (world.project / path).unlink()
    shutil.rmtree(world.project / ".dvc" / "cache")
    graph = repo.index.graph

    def changed(name: str) -> bool:
        stage = the_stage(repo, name)
        with repo.lock:
            return bool(stage.changed(allow_missing=True, upstream=list(graph.successors(stage))))

    assert not changed("make")
    assert not changed("last")
    source = the_stage(repo, "raw/raw.csv.dvc").outs[0]
    source.hash_info.value = "0" * 32
    assert changed("make")


def test_metrics_and_params_come_as_data_or_error_by_path_from_the_root(world: World, repo: Any) -> None:
    from dvc.repo.metrics.show import _gather_metrics
    from dvc.repo.params.show import _gather_params

    world.write({"bad.json": "{nope", "zero.json": "0"})
    assert _gather_metrics(repo, targets=[]) == {"m.json": {"data": {"n": {"a": 1.5}}}}
    found = _gather_metrics(repo, targets=["bad.json", "nothing.json", "zero.json"])
    assert str(found["bad.json"]["error"]).startswith("unable to read: '")
    assert isinstance(found["bad.json"]["error"].__cause__, ValueError)
    assert isinstance(found["nothing.json"]["error"], FileNotFoundError)
    assert found["zero.json"] == {"data": {}}, "0 is lost, so cml.dvc reads it itself"
    assert _gather_params(repo, targets=None) == {"params.yaml": {"data": {"rate": 2}}}


def test_paths_of_metrics_are_expanded_by_the_name_that_we_replace(world: World, repo: Any) -> None:
    from dvc.repo.metrics import show

    world.write({"folder/m.json": '{"n": 1}'})
    found = show._gather_metrics(repo, targets=["folder"])
    assert found == {"folder/m.json": {"data": {"n": 1}}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(show, "try_expand_paths", lambda fs, paths: [path for path in paths if fs.repo is repo])
        assert [*show._gather_metrics(repo, targets=["folder"])] == ["folder"]
        assert [*show._gather_metrics(repo, targets=["folder/m.json"])] == ["folder/m.json"]
        assert repo.dvcfs.root_marker == "/"


def test_a_switch_reads_a_commit_and_comes_back(world: World, repo: Any) -> None:
    from dvc.exceptions import NotDvcRepoError
    from dvc.repo.brancher import switch
    from dvc.repo.metrics.show import _gather_metrics

    world.write({"m.json": '{"n": 2}'})
    root = repo.root_dir
    with switch(repo, world.git("rev-parse", "HEAD")):
        assert _gather_metrics(repo, targets=[])["m.json"]["data"] == {"n": {"a": 1.5}}
    assert repo.root_dir == root
    assert _gather_metrics(repo, targets=[])["m.json"]["data"] == {"n": 2}
    assert issubclass(NotDvcRepoError, Exception)


def test_the_index_of_data_and_its_diff(world: World, repo: Any) -> None:
    from dvc.repo.brancher import switch
    from dvc.repo.index import build_data_index
    from dvc_data.index.diff import ADD, DELETE, MODIFY, RENAME, Change
    from dvc_data.index.diff import diff as index_diff

    assert (ADD, DELETE, MODIFY, RENAME) == ("add", "delete", "modify", "rename")

    def view_at(revision: str | None) -> tuple[Any, Any]:
        view = repo.index.targets_view(None)
        return view.data["repo"], frozenset(view.data_keys["repo"]) if revision is None else view.data_keys["repo"]

    new, keys = view_at(None)
    assert keys == {("raw", "raw.csv"), ("out.txt",), ("d",), ("last.txt",)}
    with switch(repo, world.git("rev-parse", "HEAD~1")):
        old, _ = view_at("HEAD~1")
    changes = {
        change.key: change
        for change in index_diff(
            old, new, with_renames=True, with_unknown=True, meta_cmp_key=lambda meta: meta and meta.isdir, roots=keys
        )
    }
    made = changes["out.txt",]
    assert isinstance(made, Change)
    assert (made.typ, bool(made.old.hash_info), made.new.meta.size) == (MODIFY, False, 1), "never made, yet no addition"
    assert changes["d", "a"].typ == ADD
    assert changes["d",].new.isdir
    assert ("raw", "raw.csv") not in changes
    world.write({"d/b": "1"})
    hashed = build_data_index(repo.index.targets_view(None), repo.root_dir, repo.fs, compute_hash=True)
    assert hashed["d", "b"].hash_info.value
    assert Change(ADD, None, made.new).old is None


def test_a_directory_lists_its_objects_and_a_store_says_what_it_has(repo: Any) -> None:
    from dvc_data.hashfile.tree import Tree
    from dvc_objects.errors import ObjectFormatError

    assert issubclass(ObjectFormatError, Exception)
    out = next(out for out in repo.index.outs if str(out) == "d")
    assert out.hash_info.isdir
    assert out.hash_info.name == "md5"
    [(key, _, info)] = Tree.load(out.cache, out.hash_info, hash_name="md5")
    assert key == ("a",)
    remote = repo.cloud.get_remote_odb(None, "push", hash_name="md5")
    assert list(remote.oids_exist([info.value])) == []
    remote.add(out.cache.oid_to_path(info.value), out.cache.fs, info.value, check_exists=False)
    assert list(remote.oids_exist([info.value, "0" * 32])) == [info.value]
    assert out.cache.exists(info.value)
    assert repo.cache.legacy.exists("0" * 32) is False


def test_push_sends_outputs_and_the_run_cache_and_counts_them(world: World, repo: Any) -> None:
    # out.txt and d/a hold the same; d.dir; two entries of the run cache. last.txt is not to be pushed.
    assert repo.push(run_cache=True) == 4
    assert len([path for path in (world.storage / "files").rglob("*") if path.is_file()]) == 3, "raw.csv too"
    assert len([path for path in (world.storage / "runs").rglob("*") if path.is_file()]) == 2


def test_fetch_counts_and_checkout_leaves_what_is_missing(world: World, repo: Any) -> None:
    from dvc.exceptions import CheckoutError, DownloadError, DvcException

    assert issubclass(CheckoutError, DvcException)
    shutil.rmtree(world.project / ".dvc" / "cache")
    (world.project / "raw" / "raw.csv").unlink()
    assert repo.fetch(["raw/raw.csv"], run_cache=True) == 1
    repo.checkout(["raw/raw.csv"], force=True, allow_missing=True)
    assert (world.project / "raw" / "raw.csv").read_text() == "1,2\n"
    assert repo.fetch(["out.txt"], run_cache=False) == 0, "what the remote lacks is no error"
    assert issubclass(DownloadError, DvcException)


def test_outputs_and_stages_say_what_they_are(repo: Any) -> None:
    outs = {str(out): out for out in repo.index.outs}
    assert {name: (out.use_cache, out.can_push, out.is_in_repo) for name, out in outs.items()} == {
        "raw/raw.csv": (True, True, True),
        "out.txt": (True, True, True),
        "d": (True, True, True),
        "m.json": (False, True, True),
        "last.txt": (True, False, True),
    }
    assert not outs["out.txt"].changed_checksum()
    assert outs["out.txt"].get_hash().value == outs["out.txt"].hash_info.value
    assert outs["out.txt"].remote is None
    assert outs["out.txt"].exists
    stage = the_stage(repo, "make")
    assert (stage.name, stage.frozen, stage.is_import, stage.is_repo_import) == ("make", False, False, False)
    assert Path(stage.path).name == "dvc.yaml"
    assert Path(the_stage(repo, "raw/raw.csv.dvc").path).name == "raw.csv.dvc"


def test_dependencies_tell_files_from_params(repo: Any) -> None:
    from dvc.dependency.param import ParamsDependency

    deps = {str(dep): dep for dep in the_stage(repo, "make").deps}
    assert {name for name, dep in deps.items() if isinstance(dep, ParamsDependency)} == {"params.yaml"}
    assert deps["params.yaml"].read_params() == {"rate": 2}
    assert deps["in.txt"].protocol == "local"
    assert deps["in.txt"].is_in_repo


def test_a_metrics_file_is_verified_by_a_method_of_its_output(repo: Any) -> None:
    out = next(out for out in the_stage(repo, "make").outs if out.metric)
    assert inspect.signature(out.verify_metric).parameters == {}
    calls: list[int] = []
    out.verify_metric = lambda: calls.append(1)
    out.save()
    assert calls == [1], "so that it can be left out"


@pytest.mark.parametrize(
    ("target", "known"), [("make", True), ("dvc.yaml:make", True), ("raw/raw.csv.dvc", True), ("nothing", False)]
)
def test_targets_are_collected_or_a_dvc_exception(repo: Any, target: str, known: bool) -> None:  # noqa: FBT001
    from dvc.exceptions import DvcException

    collect: tuple[Callable[[], Any], ...] = (
        lambda: repo.stage.collect(target),
        lambda: repo.index.collect_targets([target]),
    )
    for ask in collect:
        if known:
            assert ask()
        else:
            with pytest.raises(DvcException):
                ask()


def test_the_configuration_can_be_handed_in_and_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc.config import Config

    monkeypatch.chdir(world.project)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(world.folder / "site"))
    assert Repo.find_root(str(world.project)) == str(world.project)
    assert Config(str(world.project / ".dvc"))["remote"]["storage"]["url"] == str(world.storage)
    handed = {"remote": {"storage": {"verify": True}}}
    with Repo(str(world.project), config=handed) as repo:
        repo._reset()
        assert repo.config["remote"]["storage"]["verify"] is True
        assert repo.config["remote"]["storage"]["url"] == str(world.storage)
        assert repo.config["core"]["remote"] == "storage"


def test_a_schema_error_carries_the_path_of_its_flaw(world: World, repo: Any) -> None:
    from dvc.exceptions import DvcException

    world.write({"x.dvc": "cmd: echo\nouts:\n- path: o\n"})
    with pytest.raises(DvcException) as caught:
        repo.index.check_graph()
    error: Any = caught.value
    assert str(error) == "'./x.dvc' validation failed"
    assert (error.path, error.exc.errors[0].path) == ("./x.dvc", ["cmd"])


def test_what_was_read_is_in_cached_properties_which_a_reset_forgets(world: World, repo: Any) -> None:
    """And `switch` calls `_reset`: so that what was read of the work tree can be kept."""
    from dvc.repo.brancher import switch

    names = ("index", "dvcignore", "dvcfs", "datafs", "config")
    before = {name: getattr(repo, name) for name in names}
    assert before.items() <= vars(repo).items()
    with switch(repo, world.git("rev-parse", "HEAD")):
        assert repo.index is not before["index"]
    assert not vars(repo).keys() & set(names)
    vars(repo).update(before)
    assert repo.index is before["index"]


def test_calls_of_dvc_are_one_command_while_the_depth_of_its_lock_is_raised(repo: Any) -> None:
    index = repo.index
    with repo.lock:
        repo._lock_depth += 1
        repo.checkout(["out.txt"], force=True)
        assert repo.index is index
        repo._lock_depth -= 1
    repo.checkout(["out.txt"], force=True)
    assert repo.index is not index


def test_a_stage_locks_its_files_by_a_function_that_can_be_replaced(repo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from dvc import rwlock

    calls: list[tuple[str, list[str], list[str]]] = []

    @contextmanager
    def lock(tmp_dir: Any, fs: Any, cmd: str, read: list[str], write: list[str], hardlink: bool) -> Iterator[None]:  # noqa: FBT001 - as DVC's
        calls.append((cmd, read, write))
        yield

    parameters = list(inspect.signature(rwlock.rwlock).parameters)
    assert parameters == ["tmp_dir", "fs", "cmd", "read", "write", "hardlink"]
    monkeypatch.setattr(rwlock, "rwlock", lock)
    with repo.lock:
        the_stage(repo, "make").changed()
    assert calls
    assert str(Path(repo.root_dir, "in.txt")) in calls[0][1]


def test_the_run_cache_knows_a_stage_by_the_hashes_of_its_inputs(world: World, repo: Any) -> None:
    from dvc.stage.cache import _get_stage_hash

    stage, cache = the_stage(repo, "last"), repo.stage_cache
    key = _get_stage_hash(stage)
    folder = Path(cache._get_cache_dir(key))
    [file] = folder.iterdir()
    entry = cache._load_cache(key, file.name)
    assert entry["cmd"] == stage.cmd
    assert [dep["path"] for dep in entry["deps"]] == ["out.txt"]
    assert folder == Path(repo.cache.legacy.path, "runs", key[:2], key)
    made = cache._create_stage(entry, wdir=stage.wdir)
    assert [(out.fs_path, out.hash_info.value) for out in made.outs] == [
        (out.fs_path, out.hash_info.value) for out in stage.outs
    ]
    [dep] = stage.deps
    dep.get_hash = lambda: dep.hash_info
    (world.project / "out.txt").unlink()
    assert _get_stage_hash(stage) == key, "the file itself is not needed"


def test_outputs_in_git_are_known_to_the_run_cache_as_cached_ones(repo: Any) -> None:
    from dvc.stage.serialize import to_single_stage_lockfile

    stage = the_stage(repo, "make")
    entry = to_single_stage_lockfile(stage)
    assert list(entry) == ["cmd", "deps", "params", "outs"]
    [out] = repo.stage_cache._uncached_outs(stage, entry)
    assert (str(out), out.use_cache, bool(out.hash_info)) == ("m.json", True, True)


def test_a_stage_is_filled_from_an_entry_of_dvc_lock(repo: Any) -> None:
    from dvc.schema import COMPILED_LOCK_FILE_STAGE_SCHEMA
    from dvc.stage.loader import StageLoader
    from dvc.stage.serialize import to_single_stage_lockfile
    from voluptuous import Invalid

    stage = the_stage(repo, "last")
    entry = to_single_stage_lockfile(stage)
    entry["outs"][0]["md5"] = "0" * 32
    StageLoader.fill_from_lock(stage, entry)
    assert stage.outs[0].hash_info.value == "0" * 32
    assert COMPILED_LOCK_FILE_STAGE_SCHEMA(entry) == entry
    with pytest.raises(Invalid):
        COMPILED_LOCK_FILE_STAGE_SCHEMA({"outs": "none"})


def test_a_folder_is_hashed_without_its_cache(world: World, repo: Any) -> None:
    from dvc_data.hashfile.tree import Tree

    out = next(out for out in repo.index.outs if str(out) == "d")
    shutil.rmtree(world.project / ".dvc" / "cache")
    *_, tree = out._build(out.local_cache, out.fs_path, out.fs, out.hash_name, ignore=out.dvcignore, dry_run=True)
    assert isinstance(tree, Tree)
    assert tree.hash_info.value == out.hash_info.value
    assert [key for key, _ in tree.iteritems()] == [("a",)]


def test_plots_are_shown_of_the_work_tree_by_name_and_an_index_has_their_definitions(repo: Any) -> None:
    assert repo.index._plots == {}
    assert repo.plots.show(targets=["m.json"], revs=["workspace"])["workspace"].keys() >= {"definitions", "sources"}


def test_yaml_is_parsed_and_validated_by_functions_that_can_be_replaced(
    repo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dvc import schema
    from dvc.utils import strictyaml

    calls = []

    def parse(*_: object, **options: object) -> Any:
        calls.append(sorted(options))
        return {}

    monkeypatch.setattr(strictyaml, "parse_yaml", parse)
    assert strictyaml.load("dvc.yaml")[0] == {}
    assert calls == [["typ"]]
    assert list(inspect.signature(strictyaml.validate).parameters) == ["data", "schema", "text", "path", "rev"]
    assert issubclass(strictyaml.YAMLFileCorruptedError, Exception)
    assert inspect.ismodule(schema.vol)


def test_every_file_of_yaml_is_written_by_one_function(
    world: World, repo: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dvc.utils.serialize import _common, _yaml

    written = []

    def dump(path: Any, data: Any, **options: Any) -> None:
        written.append((Path(path).name, sorted(options)))

    monkeypatch.setattr(_common, "_dump_data", dump)
    monkeypatch.setattr(_yaml, "_dump_data", dump)
    repo.reproduce(["last"], force=True, single_item=True)
    world.write({"raw/raw.csv": "3,4\n"})
    repo.commit("raw/raw.csv.dvc", force=True)
    assert ("dvc.lock", ["dumper", "fs"]) in written
    assert ("raw.csv.dvc", ["dumper", "fs"]) in written
