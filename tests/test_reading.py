"""What is done faster than DVC does it comes to the same: each short cut against DVC's own way."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.small_world import dvc_yaml, kept_in_git, make_small_world
from support.world import World

from cml.dvc import data_changes
from cml.dvc.project import Project
from cml.dvc.revisions import SnapshotRequest
from cml.process.log import Log
from cml.process.masking import Masks

pytestmark = [pytest.mark.dvc, pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")]


@contextlib.contextmanager
def opened(world: World, monkeypatch: pytest.MonkeyPatch, folder: str = "") -> Iterator[Project]:
    monkeypatch.chdir(world.project / folder)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(world.folder / "site"))
    pipeline = Project.open(Path.cwd(), top=world.project, log=Log(Masks()))
    try:
        yield pipeline
    finally:
        pipeline.close()
        pipeline._repo.close()


def committed(world: World, name: str, files: dict[str, str]) -> str:
    return world.commit(name, files, push=False)


def test_a_metrics_file_that_lfs_keeps_is_read_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = '{"n": 3}'
    oid = hashlib.sha256(text.encode()).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(text)}\n"
    make = {"cmd": "true", "metrics": kept_in_git("m.json", "plain.json")}
    world = make_small_world(tmp_path, {".gitattributes": "m.json filter=lfs\n", "dvc.yaml": dvc_yaml(make=make)})
    sha = committed(world, "A pointer", {"m.json": pointer, "plain.json": '{"n": 4}'})
    kept = world.project / ".git" / "lfs" / "objects" / oid[:2] / oid[2:4] / oid
    kept.parent.mkdir(parents=True)
    kept.write_text(text)
    with opened(world, monkeypatch) as pipeline:
        assert pipeline.snapshot(sha, SnapshotRequest(metrics=())).metrics == {
            "m.json": {"n": 3},
            "plain.json": {"n": 4},
        }


def test_a_name_in_git_that_is_no_utf8_keeps_nothing_from_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = {"cmd": "true", "metrics": kept_in_git("m.json")}
    world = make_small_world(tmp_path, {"dvc.yaml": dvc_yaml(make=make), "m.json": '{"n": 1}'})
    Path(os.fsdecode(os.fsencode(world.project) + b"/\xff.txt")).touch()
    sha = committed(world, "A name", {"m.json": '{"n": 2}'})
    with opened(world, monkeypatch) as pipeline:
        assert pipeline.snapshot(sha, SnapshotRequest(metrics=())).metrics == {"m.json": {"n": 2}}


def test_what_differs_in_a_directory_is_what_dvc_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_small_world(tmp_path, {})
    folder = {f"data/{part}/{number}.txt": f"{part} {number}" for part in "abc" for number in range(4)}
    world.write({**folder, "other/x.txt": "x", "gone/y.txt": "y", "file.txt": "1"})
    world.dvc("add", "--quiet", "data", "other", "gone", "file.txt")
    old = world.commit("Old", push=False)
    for name in ("data/a/0.txt", "data/b/1.txt", "gone/y.txt", "data/c/3.txt"):
        (world.project / name).unlink()
    (world.project / "gone").rmdir()
    (world.project / "gone.dvc").unlink()
    moved = {
        "data/b/one.txt": "b 1",
        "other/y.txt": "y",
        "data/new/deep/z.txt": "zz",
        "new/w.txt": "w",
        "file.txt": "22",
    }
    (world.project / "file.txt").unlink()
    world.write({**moved, "data/a/1.txt.more": "a 1"})
    world.dvc("add", "--quiet", "data", "other", "new", "file.txt")
    new = world.commit("New", push=False)
    with opened(world, monkeypatch) as pipeline:

        def changes() -> Any:
            sides = [pipeline.snapshot(sha, SnapshotRequest(metrics=None, with_data=True)) for sha in (old, new)]
            return pipeline.data_changes(*sides)

        fast = changes()
        monkeypatch.setattr(data_changes, "_only_differences", lambda *_: None)
        assert changes() == fast
    assert {entry.path: entry.files for entry in fast.modified} == {"data/": 5, "other/": 1, "file.txt": 0}
    assert [entry.path for entry in (*fast.added, *fast.deleted, *fast.renamed)] != []


def test_a_text_that_was_parsed_before_is_as_fresh_as_the_first_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dvc.exceptions import DvcException
    from dvc.utils.strictyaml import load

    world = make_small_world(tmp_path, {"dvc.yaml": dvc_yaml(make={"cmd": "true"}), "bad.yaml": "a: [\n"})
    with opened(world, monkeypatch):
        first, _ = load("dvc.yaml")
        first["stages"].clear()
        assert load("dvc.yaml")[0] == {"stages": {"make": {"cmd": "true"}}}
        for _ in range(2):
            with pytest.raises(DvcException, match=r"bad\.yaml"):
                load("bad.yaml")


def test_what_was_read_of_the_work_tree_is_back_after_a_look_at_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make_small_world(tmp_path, {"dvc.yaml": dvc_yaml(make={"cmd": "true", "metrics": kept_in_git("m.json")})})
    sha = world.commit("Metrics", {"m.json": '{"n": 1}'}, push=False)
    world.write({"m.json": '{"n": 2}'})
    with opened(world, monkeypatch) as pipeline:
        index = pipeline._repo.index
        assert pipeline.snapshot(sha, SnapshotRequest(metrics=())).metrics == {"m.json": {"n": 1}}
        assert pipeline._repo.index is index
        assert pipeline.snapshot(None, SnapshotRequest(metrics=())).metrics == {"m.json": {"n": 2}}


def test_a_stage_with_params_that_another_stage_writes_is_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = {"cmd": "cp in.yaml params.yaml", "deps": ["in.yaml"], "outs": ["params.yaml"]}
    use = {"cmd": "cp params.yaml out.txt", "params": ["a"], "outs": ["out.txt"]}
    world = make_small_world(tmp_path, {"in.yaml": "a: 1\n", "dvc.yaml": dvc_yaml(write=write, use=use)})
    world.dvc("repro", "--quiet")
    with opened(world, monkeypatch) as pipeline:
        assert pipeline.stale_stages(()) == []
    world.write({"in.yaml": "a: 2\n"})
    with opened(world, monkeypatch) as pipeline:
        assert [stage.name for stage in pipeline.stale_stages(())] == ["write", "use"]
    world.write({"in.yaml": "a: 1\n"})
    (world.project / "params.yaml").unlink()
    with opened(world, monkeypatch) as pipeline:
        assert pipeline.stale_stages(()) == []
