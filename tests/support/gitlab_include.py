"""Reads a GitLab template as `include:` does: a header with inputs, and a body in which they are replaced.

`python -m support.gitlab_include FOLDER` (with `tests` on PYTHONPATH) writes the headers and
jobs of the templates to that folder, and a child pipeline as `cml plan` writes it. The linters read these files, because
they understand neither two documents in one file nor inputs nor hidden jobs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from cml.model.plan import Plan, Runner, StaleStage
from cml.plan.formats import GitLabDefaults, as_gitlab
from cml.plan.grouping import jobs_of
from scripts.paths import PIPELINE, TEMPLATE

BLOCK = re.compile(r"\$\[\[ inputs\.(\w+) \]\]")
TYPES = {"string": str, "array": list}


def documents(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns header and body of a template."""
    header, body = yaml.safe_load_all(path.read_text())
    return header, body


def include(path: Path, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Returns the body with its inputs replaced. Raises ValueError for an input that GitLab would refuse."""
    header, body = documents(path)
    specified = header["spec"]["inputs"]
    values = {name: spec["default"] for name, spec in specified.items()} | dict(given or {})
    for name, value in values.items():
        if name not in specified:
            raise ValueError(f"{name}: unknown input")
        spec = specified[name]
        if not isinstance(value, TYPES[spec.get("type", "string")]):
            raise ValueError(f"{name}: provided value is not a {spec.get('type', 'string')}")
        if value not in spec.get("options", [value]) or not re.search(spec.get("regex", ""), str(value)):
            raise ValueError(f"{name}: {value!r} cannot be used")
    filled = _fill(body, values)
    assert isinstance(filled, dict)
    return filled


def jobs(body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the visible jobs of a body, merged with the jobs that they extend."""
    return {
        name: {**body.get(job.get("extends", ""), {}), **{key: job[key] for key in job if key != "extends"}}
        for name, job in body.items()
        if not name.startswith(".")
    }


def _fill(node: object, values: Mapping[str, Any]) -> object:
    """Replaces inputs in a node. A text that is only one input becomes its value with its type."""
    match node:
        case dict():
            return {_fill(key, values): _fill(value, values) for key, value in node.items()}
        case list():
            return [_fill(item, values) for item in node]
        case str():
            if whole := BLOCK.fullmatch(node):
                return values[whole[1]]
            return BLOCK.sub(lambda block: str(values[block[1]]), node)
        case _:
            return node


def child_pipeline() -> str:
    """Returns a child pipeline that has each kind of job."""
    gpu = Runner(tags=("a100",), gpu=True)
    stages = [
        StaleStage(name="prepare"),
        *(StaleStage(name=f"train@{number}", needs=("prepare",), runner=gpu, timeout=90) for number in range(60)),
        *(StaleStage(name=f"models/dvc.yaml:test@{number}", needs=("prepare",)) for number in range(3)),
        StaleStage(name="compare", needs=tuple(f"train@{number}" for number in range(60))),
    ]
    defaults = GitLabDefaults(image="cml:1", gpu_image="cml:1-gpu", tags=("linux",), gpu_tags=("gpu",))
    plan = Plan(head="0" * 40, jobs=jobs_of(stages, max_jobs=256))
    return as_gitlab(plan, given={"setup": "echo $HOME"}, source="push", defaults=defaults)


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for path in (TEMPLATE, PIPELINE):
        for name, document in (("header", documents(path)[0]), ("job", jobs(include(path)))):
            (folder / f"{path.stem}.{name}.yml").write_text(yaml.safe_dump(document, sort_keys=False))
    (folder / "pipeline.child.yml").write_text(child_pipeline())


if __name__ == "__main__":
    main()
