"""`cml run` in projects of every shape that people keep: each does its work, saves it, and has nothing to do again."""

from __future__ import annotations

import hashlib
import json
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest
from support.small_world import (
    COPY,
    PUSH,
    changed_data,
    dvc_yaml,
    error_lines,
    kept_in_git,
    make_small_world,
    metric_values,
    put_object,
    run_and_push,
    run_without_changes,
    stage_statuses,
    track,
)
from support.world import World

pytestmark = pytest.mark.dvc

MEASURE = {
    "cmd": "cat in.txt > out.txt; echo '{\"n\": 1}' > m.json",
    "deps": ["in.txt"],
    "params": ["p"],
    "outs": ["out.txt"],
    "metrics": kept_in_git("m.json"),
}
MEASURED = {
    "sub/dvc.yaml": dvc_yaml(make=MEASURE),
    "sub/in.txt": "x\n",
    "sub/params.yaml": "p: 1\n",
    "README.md": "a\n",
}


def empty_workspace(world: World, *names: str) -> None:
    """A fresh runner: neither DVC's cache nor the named outputs."""
    shutil.rmtree(world.project / ".dvc" / "cache", ignore_errors=True)
    for name in names:
        (world.project / name).unlink(missing_ok=True)


# Where the project lies


@pytest.mark.parametrize("folder", ["", "sub"], ids=["dvc init at the top", "dvc init --subdir"])
def test_a_project_in_a_sub_directory(tmp_path: Path, folder: str) -> None:
    world = make_small_world(tmp_path, MEASURED, folder=folder)
    tip = run_and_push(world, "--working-directory", "sub")
    assert world.git("show", "--format=", "--name-only", tip).split() == [
        "sub/.gitignore",
        "sub/dvc.lock",
        "sub/m.json",
    ]
    assert metric_values(world, "sub/") == {(f"{'' if folder else 'sub/'}m.json", "n"): 1}
    assert world.outputs("sub/cml-report")["report"] == "sub/cml-report/report.md"
    assert not (world.project / "cml-report").exists()
    done = world.cml(*PUSH, cwd=world.project / "sub")
    assert done.code == 0, done.err
    assert world.tip() == tip, "from inside it is the same run, with nothing to do"
    clone = world.clone("fresh")
    world.dvc("pull", cwd=clone / "sub")
    assert (clone / "sub" / "out.txt").read_text() == "x\n"


def test_what_dvc_init_makes_in_a_sub_directory(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, {"README.md": "a\n"}, folder="other")
    (world.project / "sub").mkdir()
    world.dvc("init", "--quiet", "--subdir", cwd=world.project / "sub")
    world.commit("A project of its own", {"sub/dvc.yaml": dvc_yaml(a={"cmd": "echo 1 > m", "outs": kept_in_git("m")})})
    run_and_push(world, "--working-directory", "sub")
    assert world.git("show", "main:sub/m") == "1"
    assert world.report("sub/cml-report")["baseline"]["name"] == "HEAD~1", "a commit that knows no such project"


def test_several_dvc_yaml_in_one_repository(tmp_path: Path) -> None:
    one = dvc_yaml(make={"cmd": "echo '{\"a\": 1}' > r.json", "metrics": kept_in_git("r.json")})
    two = dvc_yaml(make={"cmd": "cp ../../one/r.json o.txt", "deps": ["../../one/r.json"], "outs": ["o.txt"]})
    world = make_small_world(tmp_path, {"one/dvc.yaml": one, "two/deep/dvc.yaml": two})
    tip = run_and_push(world)
    assert stage_statuses(world) == {"one/dvc.yaml:make": "ran", "two/deep/dvc.yaml:make": "ran"}
    assert world.git("show", "--format=", "--name-only", tip).split() == [
        "one/dvc.lock",
        "one/r.json",
        "two/deep/.gitignore",
        "two/deep/dvc.lock",
    ]
    world.assert_complete("main")
    done = run_without_changes(world, "--repro-targets", "one/dvc.yaml:make", "--metrics-diff-targets", "one/r.json")
    assert "1 up to date" in done.err
    assert metric_values(world) == {("one/r.json", "a"): 1}


# What it lacks


def test_without_params_plots_and_metrics(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, {"in.txt": "1", "dvc.yaml": dvc_yaml(make=COPY)})
    run_and_push(world, "--tag-prefix", "x_")
    report = world.report()
    assert report["baseline"] is None
    assert (report["metrics"], report["params"], report["plots"]) == ([], [], [])
    assert "No baseline" in world.markdown()
    run_without_changes(world, "--tag-prefix", "x_")
    assert changed_data(world, "added") == ["out.txt"], "what was declared and never made before is new, not modified"
    assert changed_data(world, "modified") == []
    world.assert_complete("main", *world.tags())


def test_without_any_stage(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, {})
    track(world, "data/in.csv", "1,2\n")
    tip = world.commit("Data")
    done = run_without_changes(world)
    assert "the project has no stages" in done.err
    assert (world.project / "data" / "in.csv").read_text() == "1,2\n"
    assert changed_data(world, "added") == ["data/in.csv"]
    assert world.outputs() | {"report_url": ""} == {
        "skipped": "false",
        "changed": "false",
        "sha": tip,
        "tag": "",
        "verdict": "none",
        "report": "cml-report/report.md",
        "report_url": "",
    }


def test_with_a_first_commit_alone_values_are_shown(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, {name.removeprefix("sub/"): text for name, text in MEASURED.items()})
    done = world.cml("run")
    assert done.code == 0, done.err
    assert "baseline   none" in done.err
    text = world.markdown()
    assert "No baseline: there is no commit before this one" in text
    assert "| m.json | n | 1 |" in text
    assert "| params.yaml | p | 1 |" in text


# Metrics in every form

METRICS = {
    "m.json": '{"a": 1, "t": "x", "deep": {"b": {"c": 2.5}}, "list": [1, 2], "none": null}',
    "m.yaml": "x: 1\ny: {z: 0.5}\n",
    "m.toml": "[s]\nq = 2\n",
    "bare.json": "0.75",
    "bare.yaml": "3\n",
    "zero.json": "0",
    "m.txt": "0.5\n",
    "edge.json": '{"n": NaN, "i": -Infinity, "h": 1e999}',
    "names.json": '{"a|b": 1, "<b>": 2, "x.y": 3}',
    "cached.json": '{"c": 7}',
    "bad.json": "{nope",
    "binary.json": "\0\1\2\3",
    "long.json": "9" * 5000,
    "deep.json": '{"a":' * 3000 + "1" + "}" * 3000,
    "bom.json": '\ufeff{"a": 1}',
    "list.json": "[1, 2]",
    "empty.json": "",
    "twice.yaml": "a: 1\na: 2\n",
    "m e|t\n.json": '{"s": 1}',
}
READ = {
    ("m.json", "a"): 1,
    ("m.json", "t"): "x",
    ("m.json", "deep.b.c"): 2.5,
    ("m.json", "list"): "[1, 2]",
    ("m.json", "none"): None,
    ("m.yaml", "x"): 1,
    ("m.yaml", "y.z"): 0.5,
    ("m.toml", "s.q"): 2,
    ("bare.json", "bare.json"): 0.75,
    ("bare.yaml", "bare.yaml"): 3,
    ("zero.json", "zero.json"): 0,
    ("m.txt", "m.txt"): 0.5,
    ("edge.json", "n"): "NaN",
    ("edge.json", "i"): "-Infinity",
    ("edge.json", "h"): "Infinity",
    ("names.json", "a|b"): 1,
    ("names.json", "<b>"): 2,
    ("names.json", "x.y"): 3,
    ("cached.json", "c"): 7,
    ("m e|t\n.json", "s"): 1,
}
UNREADABLE = {
    "bad.json": "line 1 column 2",
    "binary.json": "corrupted",
    "long.json": "too many digits",
    "deep.json": "nested too deeply",
    "bom.json": "BOM",
    "list.json": "it is a list",
    "empty.json": "Expecting value",
    "twice.yaml": "corrupted",
}


def test_metrics_in_every_form_and_those_that_cannot_be_read(tmp_path: Path) -> None:
    script = f"import pathlib\nfor name, text in {METRICS!r}.items(): pathlib.Path(name).write_bytes(text.encode())\n"
    metrics = [*kept_in_git(*(name for name in METRICS if name != "cached.json")), "cached.json"]
    stage = {"cmd": "python measure.py", "deps": ["measure.py"], "metrics": metrics}
    world = make_small_world(tmp_path, {"measure.py": script, "dvc.yaml": dvc_yaml(measure=stage)})
    tip = run_and_push(world)
    assert metric_values(world) == READ
    found = {file["path"]: file["reason"] for file in world.report()["unreadable"]}
    assert found.keys() == UNREADABLE.keys()
    for path, words in UNREADABLE.items():
        assert words in found[path]
        assert ".." not in found[path], "no path of DVC's own"
        assert f"cannot read {path}: {found[path]}" in world.report()["warnings"]
    row = next(line for line in world.markdown().splitlines() if line.startswith("| bad.json |"))
    assert "cannot be read" in row
    tracked = world.git("-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", "-z", tip).split("\0")
    assert set(METRICS) - set(tracked) == {"cached.json"}
    run_without_changes(world)
    world.assert_complete("main")


def test_a_metrics_file_of_a_hundred_thousand_values_costs_neither_minutes_nor_the_results(tmp_path: Path) -> None:
    command = "import json; json.dump({f'k{n}': n for n in range(100_000)}, open('m.json', 'w'))"
    stage = {"cmd": f'python -c "{command}" && cat in.txt > out.txt', "outs": ["out.txt"]}
    files = {
        "in.txt": "1",
        "dvc.yaml": dvc_yaml(measure={**stage, "deps": ["in.txt"], "metrics": kept_in_git("m.json")}),
    }
    world = make_small_world(tmp_path, files)
    run_and_push(world)
    [file] = world.report()["unreadable"]
    assert file["reason"] == "it has 100,000 values, and a report has room for 50,000 of a file"
    assert (world.project / "cml-report" / "report.html").stat().st_size < 1_000_000


# Stages of every kind


def test_foreach_and_matrix_stages(tmp_path: Path) -> None:
    each = {"foreach": ["a", "b"], "do": {"cmd": "echo ${item} > ${item}.txt", "outs": ["${item}.txt"]}}
    name = "${item.m}${item.n}"
    matrix = {
        "matrix": {"m": ["x", "y"], "n": [1, 2]},
        "cmd": f"echo ${{item.n}} > {name}.json",
        "metrics": kept_in_git(f"{name}.json"),
    }
    world = make_small_world(tmp_path, {"dvc.yaml": dvc_yaml(each=each, grid=matrix)})
    run_and_push(world, "--repro-targets", "each@a, grid")
    assert {name for name, status in stage_statuses(world).items() if status == "not run"} == {"each@b"}
    run_and_push(world)
    assert metric_values(world) == {(f"{m}{n}.json", f"{m}{n}.json"): n for m in "xy" for n in (1, 2)}
    run_without_changes(world)
    world.assert_complete("main")


def test_a_frozen_stage_stays_as_it_is(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, {"in.txt": "1", "dvc.yaml": dvc_yaml(cold=COPY)})
    run_and_push(world)
    warm = {"cmd": "cp out.txt warm.txt", "deps": ["out.txt"], "outs": ["warm.txt"]}
    world.commit("Freeze", {"in.txt": "2", "dvc.yaml": dvc_yaml(cold={**COPY, "frozen": True}, warm=warm)})
    run_and_push(world)
    assert stage_statuses(world) == {"cold": "frozen", "warm": "ran"}
    assert (world.project / "warm.txt").read_text() == "1"
    run_without_changes(world, "--dvc-pull", "auto")
    assert stage_statuses(world) == {"cold": "frozen", "warm": "up to date"}
    world.assert_complete("main")


# Outputs of every kind

FILL = """\
import pathlib
n = int(open("n").read())
for folder in ("d", "g"):
    pathlib.Path(folder, "s").mkdir(parents=True)
for i in range(4):
    pathlib.Path("d/s", f"{i}.txt").write_text("z" * (i + 1) + ("x" if i == n else ""))
for i in range(n):
    pathlib.Path("g/s", str(i)).write_text(str(i))
"""


def test_directories_that_change_partly_are_renamed_and_live_in_git(tmp_path: Path) -> None:
    fill = {"cmd": "rm -rf d g; python fill.py", "deps": ["fill.py", "n"], "outs": ["d", *kept_in_git("g")]}
    world = make_small_world(tmp_path, {"fill.py": FILL, "n": "1", "dvc.yaml": dvc_yaml(fill=fill)})
    tip = run_and_push(world)
    assert world.git("ls-tree", "-r", "--name-only", tip, "g") == "g/s/0"
    world.commit("More", {"n": "3"})
    tip = run_and_push(world)
    assert world.git("ls-tree", "-r", "--name-only", tip, "g").split() == ["g/s/0", "g/s/1", "g/s/2"]
    [entry] = world.report()["data"]["modified"]
    assert (entry["path"], entry["files"]) == ("d/", 2)
    assert sorted(entry["biggest"]) == ["d/s/1.txt", "d/s/3.txt"]
    world.commit("Less", {"n": "0"})
    tip = run_and_push(world)
    assert world.git("ls-tree", "-r", "--name-only", tip, "g") == "", "what is gone leaves the commit too"
    fill |= {"cmd": "rm -rf d e g; python fill.py; mv d e", "outs": ["e", *kept_in_git("g")]}
    world.commit("Rename", {"dvc.yaml": dvc_yaml(fill=fill)})
    run_and_push(world)
    [entry] = world.report()["data"]["renamed"]
    assert (entry["old_path"], entry["path"]) == ("d/", "e/")
    run_without_changes(world)
    world.assert_complete("main", "main~2", "main~4", "main~6")


NAMES = [
    "a b.txt",
    "ü日本.txt",
    "$HOME&x.txt",
    "p|q.txt",
    "q'\"`.txt",
    "br[1]*?.txt",
    "-dash.txt",
    "#h.txt",
    "!x.txt",
    "@at:c.txt",
    "x{y}%.txt",
    "tab\t.txt",
    "back\\slash.txt",
    "new\nline.txt",
]


def test_outputs_of_any_name(tmp_path: Path) -> None:
    script = f"for name in {NAMES!r}: open(name, 'w').write(name)\n"
    stage = {"cmd": "python write.py", "deps": ["write.py"], "outs": NAMES}
    world = make_small_world(tmp_path, {"write.py": script, "dvc.yaml": dvc_yaml(write=stage)})
    done = world.cml(*PUSH, "--tag-prefix", "t/")
    assert done.code == 0, done.err
    assert world.git("show", "--format=", "--name-only", "main").split() == [".gitignore", "dvc.lock"]
    # DVC cannot make git ignore a name with a line break, nor, with pathspec before 1.0, one with a backslash.
    visible = ['?? "back\\\\slash.txt"'] if version("pathspec").startswith("0.") else []
    assert world.git("status", "--porcelain").splitlines() == [*visible, '?? "new\\nline.txt"']
    run_without_changes(world, "--tag-prefix", "t/")
    assert sorted(changed_data(world, "added")) == sorted(NAMES)
    clone = world.clone("fresh")
    done = world.cml(*PUSH, cwd=clone)
    assert done.code == 0, done.err
    assert all((clone / name).read_text() == name for name in NAMES)
    world.assert_complete("main")


# Remotes


def test_no_remote_is_fine_while_every_output_lives_in_git_or_is_not_pushed(tmp_path: Path) -> None:
    private = {"cmd": "cp in.txt private.txt", "deps": ["in.txt"], "outs": [{"private.txt": {"push": False}}]}
    public = {**COPY, "outs": kept_in_git("out.txt")}
    world = make_small_world(tmp_path, {"in.txt": "1", "dvc.yaml": dvc_yaml(make=public)}, config="")
    run_and_push(world)
    world.commit("Private", {"dvc.yaml": dvc_yaml(make=public, keep=private)})
    run_and_push(world)
    run_without_changes(world)


def test_cached_outputs_without_a_remote_are_named(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, {"in.txt": "1", "dvc.yaml": dvc_yaml(make=COPY)}, config="")
    for options in (PUSH, ("run",), (*PUSH, "--dvc-pull", "-")):
        done = world.cml(*options)
        assert done.code == 2
        [line] = error_lines(done)
        assert "out.txt" in line
        assert "dvc remote add -d" in line
    done = world.cml("run", "--dvc-pull", "-")
    assert done.code == 0, done.err
    assert (world.project / "out.txt").read_text() == "1"
    world.write({".dvc/config": "[core]\n    remote = nowhere\n"})
    done = world.cml(*PUSH)
    assert done.code == 2
    assert "out.txt" in error_lines(done)[0]


def test_an_output_with_a_remote_of_its_own(tmp_path: Path) -> None:
    named = "['remote \"other\"']\n    url = ../../other\n"
    own = {**COPY, "outs": [{"out.txt": {"remote": "other"}}]}
    world = make_small_world(tmp_path, {"in.txt": "1", "dvc.yaml": dvc_yaml(make=own)}, config=named)
    run_and_push(world)
    assert len([path for path in (world.folder / "other" / "files").rglob("*") if path.is_file()]) == 1
    world.assert_complete("main")
    run_without_changes(world)


def test_a_remote_that_only_this_machine_knows(tmp_path: Path) -> None:
    own = {**COPY, "outs": [{"out.txt": {"remote": "mine"}}]}
    world = make_small_world(tmp_path, {"in.txt": "1", "dvc.yaml": dvc_yaml(make=own)}, config="")
    world.write({".dvc/config.local": f"['remote \"mine\"']\n    url = {world.storage}\n"})
    run_and_push(world)
    world.commit("Other", {"in.txt": "2"})
    run_and_push(world)
    assert world.report()["warnings"] == []
    assert changed_data(world, "modified") == ["out.txt"]


def test_imports_are_neither_pushed_nor_updated(tmp_path: Path) -> None:
    use = {"cmd": "cp from.txt out.txt", "deps": ["from.txt"], "outs": ["out.txt"]}
    world = make_small_world(tmp_path, {"dvc.yaml": dvc_yaml(use=use)})
    (world.folder / "far.txt").write_text("far away")
    world.dvc("import-url", "--quiet", str(world.folder / "far.txt"), "from.txt")
    world.commit("An import")
    run_and_push(world)
    objects = [path.read_text() for path in (world.storage / "files").rglob("*") if path.is_file()]
    assert objects == ["far away"], "out.txt, which holds the same; the import is no object of the remote's"
    (world.folder / "far.txt").write_text("moved on")
    run_without_changes(world)
    world.assert_complete("main")


def test_data_of_dvc_2_is_pulled_kept_and_verified(tmp_path: Path) -> None:
    text = "1\r\n2\r\n"
    old = hashlib.md5(text.replace("\r\n", "\n").encode(), usedforsecurity=False).hexdigest()
    listing = json.dumps([{"md5": old, "relpath": "a"}])
    folder = f"{hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest()}.dir"
    make = {"cmd": "mkdir d; cp in.txt d/a", "deps": ["in.txt"], "outs": ["d"]}
    lock = {
        "schema": "2.0",
        "stages": {
            "make": {
                "cmd": make["cmd"],
                "deps": [{"path": "in.txt", "md5": old, "size": len(text)}],
                "outs": [{"path": "d", "md5": folder, "size": len(text), "nfiles": 1}],
            }
        },
    }
    world = make_small_world(
        tmp_path, {".gitignore": "/d\n", "dvc.yaml": dvc_yaml(make=make), "dvc.lock": json.dumps(lock)}
    )
    (world.project / "in.txt").write_bytes(text.encode())
    world.commit("Made with DVC 2")
    put_object(world.storage, folder, listing)
    child = put_object(world.storage, old, text)
    run_without_changes(world)
    assert (world.project / "d" / "a").read_bytes() == text.encode()
    child.unlink()
    more = {"cmd": "cp in.txt more.txt", "deps": ["in.txt"], "outs": ["more.txt"]}
    world.commit("One stage more", {"dvc.yaml": dvc_yaml(make=make, more=more)})
    done = world.cml(*PUSH)
    assert done.code == 0, done.err
    assert "including 1 that the DVC remote had lost" in done.err
    assert stage_statuses(world) == {"make": "up to date", "more": "ran"}
    world.assert_complete("main")


# What is not there


def test_pulls_only_what_was_asked_for(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, {"in.txt": "1", "dvc.yaml": dvc_yaml(make=COPY)})
    track(world, "one/source.txt", "source")
    track(world, "two/other.txt", "other")
    world.commit("Data")
    run_and_push(world, "--dvc-pull", "one/source.txt")
    assert (world.project / "one" / "source.txt").exists()
    assert not (world.project / "two" / "other.txt").exists()
    empty_workspace(world, "out.txt", "one/source.txt")
    run_without_changes(world, "--dvc-pull", "make two/other.txt.dvc", "--repro-targets", "-")
    assert (world.project / "out.txt").exists()
    assert (world.project / "two" / "other.txt").exists()
    assert not (world.project / "one" / "source.txt").exists()
    world.assert_complete("main")


def test_auto_pulls_nothing_for_a_pipeline_that_is_up_to_date_and_little_for_one_that_is_not(tmp_path: Path) -> None:
    first = {"cmd": "cat in.txt one/source.txt > out.txt", "deps": ["in.txt", "one/source.txt"], "outs": ["out.txt"]}
    second = {"cmd": "cp out.txt last.txt", "deps": ["out.txt"], "outs": ["last.txt"]}
    world = make_small_world(tmp_path, {"in.txt": "1", "dvc.yaml": dvc_yaml(first=first, second=second)})
    track(world, "one/source.txt", "source")
    track(world, "two/other.txt", "other")
    world.commit("Data")
    run_and_push(world)
    outputs = ("out.txt", "last.txt", "one/source.txt", "two/other.txt")
    empty_workspace(world, *outputs)
    run_without_changes(world, "--dvc-pull", "auto")
    assert not any((world.project / name).exists() for name in outputs)
    assert stage_statuses(world) == {"first": "up to date", "second": "up to date"}
    world.commit("Changed", {"in.txt": "2"})
    # The target itself did not change: what it needs did.
    tip = run_and_push(world, "--dvc-pull", "auto", "--repro-targets", "second")
    assert stage_statuses(world) == {"first": "ran", "second": "ran"}
    assert tip != world.git("rev-parse", "HEAD~1")
    assert not (world.project / "two" / "other.txt").exists()
    world.assert_complete("main")


def test_a_stage_whose_output_is_nowhere_runs_again_and_the_remote_gets_it_back(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, {"in.txt": "1", "dvc.yaml": dvc_yaml(make=COPY)})
    tip = run_and_push(world)
    shutil.rmtree(world.storage)
    empty_workspace(world, "out.txt")
    done = run_without_changes(world)
    assert world.tip() == tip
    assert "out.txt of make is not on the DVC remote: the stage runs again" in world.report()["warnings"]
    assert "1 ran" in done.err
    world.assert_complete("main")


def test_a_source_that_is_nowhere_fails_the_run(tmp_path: Path) -> None:
    use = {"cmd": "cp d/source.txt out.txt", "deps": ["d/source.txt"], "outs": ["out.txt"]}
    world = make_small_world(tmp_path, {"dvc.yaml": dvc_yaml(use=use)})
    stored = track(world, "d/source.txt", "source")
    tip = world.commit("Data")
    stored.unlink()
    done = world.cml(*PUSH)
    assert done.code == 1
    [line] = error_lines(done)
    assert line.startswith("pull: d/source.txt: missing from the cache and from the DVC remote")
    assert world.report()["failure"]["step"] == "pull"
    assert world.outputs()["verdict"] == "failed"
    assert world.tip() == tip


# Baselines


def baseline(world: World, *options: str) -> tuple[str, str]:
    """What a run takes as its baseline: its name and its commit."""
    done = world.cml("run", "--repro-targets", "-", "--dvc-pull", "-", *options)
    assert done.code == 0, done.err
    found = world.report()["baseline"]
    return found["name"], found["sha"]


@pytest.mark.parametrize("branch", ["main", "master", "trunk"])
def test_the_default_branch_is_the_baseline_whatever_its_name(tmp_path: Path, branch: str) -> None:
    world = make_small_world(tmp_path, {"a": "1"}, branch=branch)
    first = world.tip(branch)
    world.commit("Second", {"a": "2"})
    expected = ("origin/master", world.tip(branch)) if branch == "master" else ("HEAD~1", first)
    assert baseline(world) == expected
    world.git("switch", "--quiet", "--create", "try")
    world.commit("Third", {"a": "3"}, push=False)
    assert baseline(world) == (f"origin/{branch}", world.tip(branch))
    if branch == "main":
        world.git("push", "--quiet", "origin", f"{first}:refs/heads/master")
        assert baseline(world) == ("origin/master", first), "it exists, and this clone has not fetched it yet"


def test_a_baseline_that_is_the_head_says_so(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, {name.removeprefix("sub/"): text for name, text in MEASURED.items()})
    tip = run_and_push(world)
    assert baseline(world, "--baseline", "HEAD") == ("HEAD", tip)
    text = world.markdown()
    assert "The baseline is this commit itself" in text
    assert "| m.json | n | 1 |" in text
    assert baseline(world, "--baseline", tip[:9]) == (tip[:9], tip)
    world.git("tag", "v1", "HEAD~1")
    assert baseline(world, "--baseline", "v1") == ("v1", world.git("rev-parse", "HEAD~1"))


def test_a_baseline_that_dvc_cannot_read_is_a_warning(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, {"in.txt": "1", "dvc.yaml": "stages: [nope"})
    world.commit("Mended", {"dvc.yaml": dvc_yaml(make=COPY)})
    run_and_push(world)
    assert any("baseline" in warning for warning in world.report()["warnings"])
    world.assert_complete("main")
