"""`cml run` from start to end on a laptop, and `cml report` and `cml compare`."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from support.world import DVC_YAML, TRAIN, World

from cml.commands import parser


def test_the_first_run_saves_data_commit_and_tag(trained_world: World) -> None:
    world = trained_world
    tip = world.tip()
    assert world.git("log", "--format=%s", "main").splitlines() == ["Update DVC results", "A pipeline"]
    assert world.git("show", "--format=%(trailers:key=CML-Run,valueonly)", "--no-patch", tip) == world.git(
        "rev-parse", f"{tip}~1"
    )
    changed = world.git("show", "--format=", "--name-only", tip).split()
    assert sorted(changed) == [".gitignore", "dvc.lock", "metrics.json"]
    assert world.tags() == [f"dvc_{tip[:7]}"]
    assert world.git("status", "--porcelain") == ""
    assert world.git("rev-parse", "HEAD") == tip
    assert world.git("log", "-1", "--format=%an <%ae>") == "Ada <ada@example.invalid>"
    assert world.outputs() == {
        "skipped": "false",
        "changed": "true",
        "sha": tip,
        "tag": f"dvc_{tip[:7]}",
        "verdict": "none",
        "report": "cml-report/report.md",
        "report_url": (trained_world.outputs()["report_url"]),
    }
    world.assert_complete("main", f"dvc_{tip[:7]}")


def test_a_second_run_has_nothing_to_do_and_reports(trained_world: World) -> None:
    world = trained_world
    before = world.tip()
    done = world.cml("run", "--push", "true", "--tag-prefix", "dvc_")
    assert done.code == 0, done.err
    assert "2 up to date" in done.err
    assert world.tip() == before
    assert world.tags() == [f"dvc_{before[:7]}"]
    assert world.outputs()["changed"] == "false"
    assert world.outputs()["sha"] == before
    assert world.outputs()["tag"] == ""


def test_a_changed_parameter_is_compared_with_the_baseline(trained_world: World) -> None:
    world = trained_world
    world.git("switch", "--quiet", "--create", "try")
    world.commit("Slower", {"params.yaml": "train:\n  rate: 0.1\n"})
    done = world.cml("run", "--push", "true", "--tag-prefix", "dvc_", "--metrics-format", "0.00")
    assert done.code == 0, done.err
    text = world.markdown()
    assert text.startswith("## DVC Report\n")
    assert f"Baseline: origin/main ({world.tip('main')[:7]} vs {world.tip('try')[:7]})" in text
    row = next(line for line in text.splitlines() if "| accuracy |" in line)
    assert [cell.strip() for cell in row.strip("|").split("|")][2:4] == ["0.80", "0.90"]
    assert "+0.10" in row
    assert "Latest 2 experiments of this branch" in text
    assert "baseline   origin/main, the default branch; origin/master does not exist" in done.err
    world.assert_complete("try")


def test_without_push_nothing_is_pushed(world: World) -> None:
    before = world.git("rev-parse", "HEAD")
    done = world.cml("run")
    assert done.code == 0, done.err
    assert world.git("rev-parse", "HEAD") == before == world.tip()
    assert world.outputs()["changed"] == "true"
    assert world.outputs()["sha"] == before
    assert not list(world.storage.rglob("*.dir")), "nothing is pushed to the DVC remote"
    assert "push is off" in done.err


def test_a_failing_stage_is_reported_and_what_succeeded_is_kept(world: World) -> None:
    world.commit("Broken", {"train.py": "print('before it broke')\nraise SystemExit(3)\n"})
    before = world.tip()
    done = world.cml("run", "--push", "true", "--tag-prefix", "dvc_")
    assert done.code == 1
    assert [line for line in done.err.splitlines() if line.startswith("error: ")] == [
        "error: reproduce: the stage train failed: failed to run: python train.py, exited with 3"
    ]
    assert "Traceback" not in done.err
    assert "before it broke" in world.markdown()
    report = world.report()
    assert report["failure"]["step"] == "reproduce"
    assert {stage["name"]: stage["status"] for stage in report["pipeline"]["stages"]} == {
        "prepare": "ran",
        "train": "failed",
    }
    assert world.outputs()["verdict"] == "failed"
    assert world.tip() == before
    assert world.tags() == []
    world.commit("Fixed", {"train.py": TRAIN})
    done = world.cml("run", "--push", "true")
    assert done.code == 0, done.err
    assert "1 ran" in done.err, "prepare must not run again"


def test_a_gate_that_fails_ends_with_3_and_the_results_are_saved(world: World) -> None:
    done = world.cml("run", "--push", "true", "--metrics-gate", "accuracy >= 0.9")
    assert done.code == 3, done.err
    assert world.outputs()["verdict"] == "failed"
    assert [line for line in done.err.splitlines() if line.startswith("error: ")] == [
        "error: metrics_gate: accuracy >= 0.9 failed. The results are saved"
    ]
    assert world.git("log", "-1", "--format=%s", "main") == "Update DVC results"
    done = world.cml("run", "--push", "true", "--metrics-gate", "accuracy >= 0.7; loss <= 0.5")
    assert done.code == 0, done.err
    assert world.outputs()["verdict"] == "passed"


def test_dashes_switch_steps_and_sections_off(trained_world: World) -> None:
    world = trained_world
    options = ["--repro-targets", "-", "--dvc-pull", "-", "--metrics-diff-targets", "-", "--params-diff-targets", "-"]
    done = world.cml("run", *options, "--plots", "-", "--experiments", "0")
    assert done.code == 0, done.err
    assert "skipped: dvc_pull is `-`" in done.err
    assert "skipped: repro_targets is `-`" in done.err
    text = world.markdown()
    for section in ("### Metrics", "### Params", "### Plots", "### Experiments"):
        assert section not in text


def test_variables_come_from_option_then_input_then_environment(world: World) -> None:
    done = world.cml("report", env={"report_name": "from environment", "INPUT_REPORT_NAME": ""})
    assert done.out.startswith("## from environment\n")
    done = world.cml("report", env={"report_name": "from environment", "INPUT_REPORT_NAME": "from input"})
    assert done.out.startswith("## from input\n")
    done = world.cml("report", "--report-name", "from option", env={"INPUT_REPORT_NAME": "from input"})
    assert done.out.startswith("## from option\n")


def test_report_prints_only_markdown_and_runs_nothing(trained_world: World) -> None:
    world = trained_world
    world.write({"params.yaml": "train:\n  rate: 0.3\n"})
    before = world.git("status", "--porcelain")
    done = world.cml("report")
    assert done.code == 0, done.err
    assert done.out == world.markdown()
    assert world.git("status", "--porcelain") == before
    assert "| train.rate | 0.2 | 0.3 |" in done.out


def test_compare_takes_any_two_revisions(trained_world: World) -> None:
    world = trained_world
    world.commit("Slower", {"params.yaml": "train:\n  rate: 0.1\n"})
    world.cml("run", "--push", "true")
    world.write({"params.yaml": "train:\n  rate: 0.9\n"})
    done = world.cml("compare", "HEAD~2", "HEAD")
    assert done.code == 0, done.err
    row = next(line for line in done.out.splitlines() if "| loss |" in line)
    assert "| 0.2 | 0.1 |" in row
    assert world.cml("compare", "nowhere", "HEAD").code == 2


def test_setup_runs_first_and_its_failure_is_reported(world: World) -> None:
    done = world.cml("run", "--setup", "echo preparing\nfalse\necho never")
    assert done.code == 1
    assert "preparing" in done.err
    assert "never" not in done.err
    assert world.report()["failure"]["step"] == "setup"
    done = world.cml("run", "--push", "true", "--setup", "echo 'a,b' > raw.csv && dvc add --quiet raw.csv")
    assert done.code == 0, done.err
    assert "raw.csv.dvc" in world.git("show", "--format=", "--name-only", "main").split()
    world.assert_complete("main")


def test_dvc_cml_run_is_cml_run(world: World) -> None:
    done = world.try_run("dvc_cml_run", "--repro-targets", "-")
    assert done.code == 0, done.err
    assert (world.project / "cml-report" / "report.html").exists()


def test_a_legacy_target_means_the_stage_of_its_name(world: World) -> None:
    done = world.cml("run", "--repro-targets", "prepare.dvc")
    assert done.code == 0, done.err
    assert "the stage prepare is used" in done.err
    assert "1 ran" in done.err


def test_a_stage_that_lacks_a_package_gets_advice(world: World) -> None:
    world.commit("Needs dvclive", {"train.py": "import dvclive.not_there_either\n"})
    done = world.cml("run", "--setup", "python -c 'import sys; print(sys.prefix)'")
    assert done.code == 1
    assert "add it to your requirements" in done.err


def test_images_of_removed_plots_are_removed_and_the_others_kept(trained_world: World) -> None:
    world = trained_world
    drawings = world.project / "cml-report" / "plots"
    world.write({"a.csv": "x,y\n1,2\n2,3\n", "b.csv": "x,y\n1,1\n2,5\n"})
    world.write({"dvc.yaml": DVC_YAML + "plots:\n  - a.csv: {x: x, y: y}\n  - b.csv: {x: x, y: y}\n"})
    assert world.cml("report").code == 0
    before = {file.name: file.read_bytes() for file in drawings.iterdir()}
    assert len(before) == 2
    kept, gone = (next(name for name in before if name.startswith(plot)) for plot in ("a-", "b-"))
    (drawings / kept).write_bytes(before[kept] + b"mark")
    world.write({"dvc.yaml": DVC_YAML + "plots:\n  - a.csv: {x: x, y: y}\n"})
    assert world.cml("report").code == 0
    assert [file.name for file in drawings.iterdir()] == [kept], gone
    assert (drawings / kept).read_bytes().endswith(b"mark"), "it was not drawn again"
    world.write({"dvc.yaml": DVC_YAML})
    assert world.cml("report").code == 0
    assert not drawings.exists()


def test_every_command_can_be_imported() -> None:
    """The parser names functions as text, so no type checker sees a wrong name."""
    named = re.findall(r'"(cml[\w.]+):(\w+)"', Path(parser.__file__).read_text())
    assert len(named) >= 8
    for module, function in named:
        assert callable(getattr(import_module(module), function))
