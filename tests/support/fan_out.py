"""A pipeline with stages that can run at the same time: it branches twice, into sixteen stages, six of them parallel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from support.world import World

STEP = """\
import pathlib, sys
target, *sources = sys.argv[1:]
text = "".join(pathlib.Path(source).read_text() for source in sources)
pathlib.Path(target).write_text(f"{target} from {len(text)} letters: {text[-60:]}\\n")
"""
COMPARE = """\
import json, pathlib, sys
letters = sum(len(pathlib.Path(source).read_text()) for source in sys.argv[1:])
pathlib.Path("metrics.json").write_text(json.dumps({"accuracy": 0.9, "letters": letters}))
"""
MODELS = [f"{half}{number}" for half in "ab" for number in (1, 2, 3)]
RUNNER = {"runs_on": ["self-hosted", "gpu"], "tags": ["gpu"], "gpu": True, "timeout": 120}


def fan_out_pipeline(models: Sequence[str] = MODELS, *, gate: Path | None = None) -> dict[str, str]:
    """Returns the files of the project. train_a1 needs a GPU; train_b2 fails until the file `gate` exists."""
    stages: dict[str, Any] = {"split": _stage("split", ["raw.csv"])}
    for half in sorted({model[0] for model in models}):
        stages[f"half_{half}"] = _stage(f"half_{half}", ["split.txt"])
    for model in models:
        stages[f"train_{model}"] = _stage(f"train_{model}", [f"half_{model[0]}.txt"])
        stages[f"evaluate_{model}"] = _stage(f"evaluate_{model}", [f"train_{model}.txt"])
    evaluated = [f"evaluate_{model}.txt" for model in models]
    stages["compare"] = {
        "cmd": f"python compare.py {' '.join(evaluated)}",
        "deps": ["compare.py", *evaluated],
        "metrics": [{"metrics.json": {"cache": False}}],
    }
    if "a1" in models:
        stages["train_a1"]["meta"] = stages["evaluate_a1"]["meta"] = {"cml": RUNNER}
    if gate:
        stages["train_b2"]["cmd"] = f"test -e {gate} && {stages['train_b2']['cmd']}"
    return {"step.py": STEP, "compare.py": COMPARE, "dvc.yaml": yaml.safe_dump({"stages": stages}, sort_keys=False)}


def small_fan_out_pipeline(condition: str) -> dict[str, str]:
    """Returns the files of three stages, two of which can run at the same time; `good` fails unless the condition holds."""
    stages = {"first": _stage("first", ["raw.csv"])}
    stages |= {name: _stage(name, ["first.txt"]) for name in ("better", "good")}
    stages["better"]["meta"] = {"cml": RUNNER}
    stages["good"]["cmd"] = f"{condition} && {stages['good']['cmd']}"
    return {"step.py": STEP, "dvc.yaml": yaml.safe_dump({"stages": stages}, sort_keys=False)}


def _stage(name: str, sources: list[str]) -> dict[str, Any]:
    return {
        "cmd": f"python step.py {name}.txt {' '.join(sources)}",
        "deps": ["step.py", *sources],
        "outs": [f"{name}.txt"],
    }


def make_fan_out_world(new_world: Callable[[Mapping[str, str]], World], files: Mapping[str, str]) -> World:
    """Makes a world with these files and a DVC remote with an absolute path, so that clones anywhere find it."""
    world = new_world(files)
    world.dvc("remote", "modify", "--quiet", "storage", "url", str(world.storage))
    world.commit("Use an absolute path for the remote")
    return world


def plan_records(world: World) -> list[Path]:
    """Returns the records of the jobs of a plan on the DVC remote."""
    return list((world.storage / "files" / "md5").parent.parent.glob("cml/*/*.json"))


def locked_stages(text: str) -> set[str]:
    """Returns the names of the stages in a dvc.lock."""
    return set(yaml.safe_load(text)["stages"])
