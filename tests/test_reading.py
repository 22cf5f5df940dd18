"""What is done faster than DVC does it comes to the same: each short cut against DVC's own way."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.small_world import dvc_yaml, kept_in_git, make_small_world
from support.world import World

from cml.dvc import revisions
from cml.dvc.project import Project
from cml.dvc.revisions import Values, data_changes, snapshot
from cml.git.repository import Repository
from cml.process.log import Log
from cml.process.masking import Masks
from cml.report.packed import Packed, Places
from cml.run import collect
from cml.run.collect import _from_git

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")


@contextlib.contextmanager
def opened(world: World, monkeypatch: pytest.MonkeyPatch, folder: str = "") -> Iterator[Project]:
    monkeypatch.chdir(world.project / folder)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(world.folder / "site"))
    pipeline = Project.open(Path.cwd(), top=world.project, log=Log(Masks()))
    with pipeline.repo:
        yield pipeline


FILES = {
    "a.json": '{"n": {"a": 1.5, "b": [1]}, "t": "x"}',
    "b.yaml": "x: 1e-3\ny: yes\nz: {q: null}\n",
    "c.toml": 'name = "n"\n[deep]\nvalue = 2\n',
    "zero.json": "0",
    "none.json": "null",
    "sub/d.json": '{"k": NaN}',
}


def committed(world: World, name: str, files: dict[str, str]) -> str:
    return world.commit(name, files, push=False)


@pytest.mark.parametrize("folder", ["", "part"])
def test_metrics_straight_from_git_are_those_that_dvc_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    world = make_small_world(tmp_path, {}, folder=folder)
    room = f"{folder}/" if folder else ""
    make = {"cmd": "true", "metrics": kept_in_git("a.json", "b.yaml", "zero.json", "sub/d.json")}
    pipeline = json.dumps({"stages": {"make": make}, "metrics": ["c.toml", "none.json"]})
    files = {f"{room}{name}": text for name, text in FILES.items()}
    first = committed(world, "First", {f"{room}dvc.yaml": pipeline, **files})
    second = committed(world, "Second", {f"{room}a.json": '{"n": 2, "new": {"deep": 3}}', f"{room}zero.json": "7"})
    (world.project / room / "b.yaml").unlink()
    third = committed(world, "Third", {f"{room}c.toml": "other = 1\n"})
    repository = Repository(world.project)
    with opened(world, monkeypatch, folder) as pipeline_:
        listing = snapshot(pipeline_, first, metrics=()).listing
        assert listing is not None
        found = _from_git(repository, listing, [second, third], places={})
        for sha, values in found.items():
            read = snapshot(pipeline_, sha, metrics=()).metrics
            as_dvc_reads = {(path, name): value for path in read for name, value in read[path].items()}
            assert repr(dict(values)) == repr(as_dvc_reads)  # as text: a NaN is not itself
        assert found[second]["zero.json", "zero.json"] == 7
        assert not any(path == "b.yaml" for path, _ in found[third])
        assert found.keys() == {second, third}


def test_what_git_does_not_tell_alone_is_left_to_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_small_world(tmp_path, {"m.json": '{"n": 1}', "text.yaml": "n: 1\n", "params.yaml": "file: m\n"})
    plain = dvc_yaml(make={"cmd": "true", "metrics": kept_in_git("m.json", "text.yaml")})
    first = committed(world, "Plain", {"dvc.yaml": plain})
    broken = committed(world, "Broken", {"m.json": "{nope"})
    pointer = committed(world, "A text", {"m.json": '{"n": 1}', "text.yaml": "version https://lfs\noid sha256:1\n"})
    (world.project / "text.yaml").unlink()
    (world.project / "text.yaml").symlink_to("m.json")
    link = committed(world, "A link", {})
    (world.project / "text.yaml").unlink()
    other = committed(
        world,
        "More",
        {"dvc.yaml": dvc_yaml(make={"cmd": "true", "metrics": kept_in_git("m.json")}), "text.yaml": "n: 2\n"},
    )
    shapes = {
        "templated": dvc_yaml(make={"cmd": "true", "metrics": kept_in_git("${file}.json")}),
        "cached": dvc_yaml(make={"cmd": "true", "metrics": ["cached.json"]}),
        "a folder": dvc_yaml(make={"cmd": "true", "metrics": kept_in_git("folder")}),
    }
    shas = {
        name: committed(world, name, {"dvc.yaml": text, "folder/one.json": '{"n": 1}'}) for name, text in shapes.items()
    }
    repository = Repository(world.project)
    with opened(world, monkeypatch) as pipeline:
        listing = snapshot(pipeline, first, metrics=()).listing
        assert listing is not None
        assert _from_git(repository, listing, [broken, pointer, link, other], places={}) == {}
        for name, sha in shas.items():
            assert snapshot(pipeline, sha, metrics=()).listing is None, name


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
        assert snapshot(pipeline, sha, metrics=()).metrics == {"m.json": {"n": 3}, "plain.json": {"n": 4}}


def test_a_name_in_git_that_is_no_utf8_keeps_nothing_from_being_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = {"cmd": "true", "metrics": kept_in_git("m.json")}
    world = make_small_world(tmp_path, {"dvc.yaml": dvc_yaml(make=make), "m.json": '{"n": 1}'})
    Path(os.fsdecode(os.fsencode(world.project) + b"/\xff.txt")).touch()
    sha = committed(world, "A name", {"m.json": '{"n": 2}'})
    with opened(world, monkeypatch) as pipeline:
        assert snapshot(pipeline, sha, metrics=()).metrics == {"m.json": {"n": 2}}


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
            sides = [snapshot(pipeline, sha, metrics=None, with_data=True) for sha in (old, new)]
            return data_changes(pipeline.repo, *sides)

        fast = changes()
        monkeypatch.setattr(revisions, "_differing", lambda *_: None)
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
        index = pipeline.repo.index
        assert snapshot(pipeline, sha, metrics=()).metrics == {"m.json": {"n": 1}}
        assert pipeline.repo.index is index
        assert snapshot(pipeline, None, metrics=()).metrics == {"m.json": {"n": 2}}


@pytest.mark.parametrize("files_at_once", [1, 3, 250])
def test_commits_come_together_as_far_as_their_files_are_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files_at_once: int
) -> None:
    monkeypatch.setattr(collect, "FILES_AT_ONCE", files_at_once)
    world = make_small_world(tmp_path, {})
    make = {"cmd": "true", "metrics": kept_in_git("a.json", "b.json")}
    first = committed(world, "First", {"dvc.yaml": dvc_yaml(make=make), "a.json": '{"n": 0}', "b.json": '{"n": 0.5}'})
    shas = [committed(world, f"{number}", {"a.json": f'{{"n": {number}}}'}) for number in range(1, 6)]
    repository = Repository(world.project)
    with opened(world, monkeypatch) as pipeline:
        listing = snapshot(pipeline, first, metrics=()).listing
    assert listing is not None
    found = _from_git(repository, listing, shas, places={})
    assert [found[sha]["a.json", "n"] for sha in shas] == [1, 2, 3, 4, 5]


@given(
    st.dictionaries(
        st.sampled_from(["a.json", "b.json"]),
        st.dictionaries(
            st.text(max_size=3), st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
        ),
    )
)
def test_packed_metrics_are_those_that_were_packed(metrics: Values) -> None:
    plain = {(path, name): value for path, file in metrics.items() for name, value in file.items()}
    places: Places = {}
    for packed in (Packed(metrics, places=places), Packed(metrics, places=places)):
        assert len(packed) == len(plain)
        # As text, since NaN is not itself, and 1, 1.0 and true are equal.
        assert [f"{name} {value!r}" for name, value in packed.items()] == [f"{n} {v!r}" for n, v in plain.items()]
        assert all(name in packed for name in plain)
        assert ("a.json", "no such name") not in packed
        assert ("c.json", "n") not in packed
