"""docs/pipelines.md: its diagram and examples are correct, and DVC's queue and Slurm can run a plan."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import yaml
from support.fan_out import locked_stages, make_fan_out_world, plan_records, small_fan_out_pipeline
from support.gitlab_include import include
from support.world import World

from cml.model.plan import Plan, Runner, StaleStage
from cml.plan.formats import as_mermaid
from cml.plan.grouping import jobs_of
from scripts.paths import PIPELINE, TOP, WORKFLOW

DOCS = (TOP / "docs" / "pipelines.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", DOCS, re.DOTALL)
SUBMIT = TOP / "examples" / "slurm" / "submit.sh"

# What `sbatch` is to the script: it runs each job at once, unless one that must have succeeded has not.
SBATCH = """\
#!/usr/bin/env python3
import json, pathlib, subprocess, sys
state, arguments = pathlib.Path(__file__).parent / "slurm", sys.argv[1:]
script, done = sys.stdin.read(), json.loads(state.read_text()) if state.exists() else []
wanted = arguments[arguments.index("--dependency") + 1] if "--dependency" in arguments else "afterany"
kind, *ids = wanted.split(":")
needed = [done[int(each) - 1] for each in ids]
code = None
if kind == "afterany" or all(job["code"] == 0 for job in needed):
    ran = subprocess.run(["sh"], input=script, capture_output=True, text=True)
    code = ran.returncode
    sys.stderr.write(ran.stdout + ran.stderr)
done.append({"name": arguments[arguments.index("--job-name") + 1], "needs": ids, "code": code, "script": script})
state.write_text(json.dumps(done))
print(len(done))
"""


@pytest.fixture
def fan(new_world: Callable[[Mapping[str, str]], World]) -> World:
    """A pipeline of three stages, of which two can run at the same time. `good` fails where BROKEN is set."""
    world = make_fan_out_world(new_world, small_fan_out_pipeline('test -z "$BROKEN"'))
    world.timeout_seconds = 600
    return world


def test_dvcs_queue_runs_a_plan(fan: World) -> None:
    done = fan.try_run("sh", "-c", "cml plan --format dvc | sh")
    assert done.code == 0, done.err
    assert fan.git("status", "--short") == ""
    gathered = fan.cml("gather", "--push")
    assert gathered.code == 0, gathered.err
    assert "3 results collected, 0 files fetched; nothing was run" in gathered.err
    assert locked_stages(fan.git("show", "main:dvc.lock", cwd=fan.origin)) == {"first", "good", "better"}
    fan.assert_complete("origin/main")


def test_slurm_runs_a_plan_and_gather_names_missing_results(fan: World) -> None:
    tools = fan.folder / "tools"
    tools.mkdir()
    (tools / "sbatch").write_text(SBATCH)
    (tools / "sbatch").chmod(0o755)
    path = f"{tools}:{fan.environment()['PATH']}"

    def submit(**env: str) -> list[dict[str, Any]]:
        done = fan.try_run("sh", str(SUBMIT), "--partition", "short", env={"PATH": path, **env})
        assert done.code == 0, done.err
        found = json.loads((tools / "slurm").read_text())
        (tools / "slurm").unlink()
        assert isinstance(found, list)
        return found

    first = submit(BROKEN="yes")
    assert [(job["name"], job["needs"], job["code"]) for job in first] == [
        ("cml-first", [], 0),
        ("cml-better", ["1"], 0),
        ("cml-good", ["1"], 1),
        ("cml-gather", ["1", "2", "3"], 1),
    ]
    asked = re.findall("^#SBATCH (.*)", str(first[1]["script"]), re.MULTILINE)
    assert asked == ["--kill-on-invalid-dep yes", "--time 120", "--gres gpu:1", "--constraint gpu"]
    assert "good: the stage good failed" in fan.markdown()
    again = submit()
    assert [(job["name"], job["code"]) for job in again][-1] == ("cml-gather", 0)
    assert locked_stages(fan.git("show", "main:dvc.lock", cwd=fan.origin)) == {"first", "good", "better"}
    assert plan_records(fan) == []
    fan.assert_complete("origin/main")


def test_the_diagram_in_the_docs_is_what_cml_prints() -> None:
    gpu = Runner(runs_on=("self-hosted", "gpu"), gpu=True)
    stages = [
        StaleStage(name="prepare"),
        StaleStage(name="features", needs=("prepare",)),
        *(StaleStage(name=f"train@{size}", needs=("features",), runner=gpu) for size in ("small", "large")),
        *(StaleStage(name=f"test@{size}", needs=(f"train@{size}",)) for size in ("small", "large")),
        StaleStage(name="compare", needs=("test@small", "test@large")),
    ]
    edges = tuple((need, stage.name) for stage in stages for need in stage.needs)
    drawn = as_mermaid(Plan(head="", jobs=jobs_of(stages, max_jobs=20), edges=edges))
    assert [text for language, text in BLOCKS if language == "mermaid"] == [drawn]


def test_the_examples_in_the_docs_use_inputs_that_exist() -> None:
    github, gitlab, stage = (yaml.safe_load(text) for language, text in BLOCKS if language == "yaml")
    (job,) = github["jobs"].values()
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert job["permissions"] == workflow["jobs"]["gather"]["permissions"]
    include(PIPELINE, gitlab["include"][0]["inputs"])
    assert set(stage["stages"]["train"]["meta"]["cml"]) == {"runs_on", "tags", "gpu", "timeout"}
    for table, inputs in (("GitHub", workflow[True]["workflow_call"]["inputs"]), ("GitLab", include_inputs())):
        section = DOCS.partition(f"\n## {table}\n")[2].partition("\n## ")[0]
        rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section, re.MULTILINE)
        assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} <= set(inputs)


def include_inputs() -> set[str]:
    return set(next(yaml.safe_load_all(PIPELINE.read_text()))["spec"]["inputs"])
