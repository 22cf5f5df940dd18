"""A plan in the languages of the engines that do it: GitHub's matrices, GitLab's child pipeline, DVC's queue, a
picture, and JSON for every other.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cml.model.plan import Job, Plan

MOST_NEEDS = 50  # of a GitLab job, unless its administrator says otherwise
LONGEST_NAME = 255  # characters of a GitLab job's name
# Keys of .gitlab-ci.yml that no job can be called by, and our own job.
RESERVED = (
    *("after_script", "before_script", "cache", "default", "false", "image", "include", "nil", "pages", "services"),
    *("spec", "stages", "true", "types", "variables", "workflow", "gather"),
)


def as_json(plan: Plan) -> str:
    """Returns the plan for people's own scripts: its commit, its jobs, and which of them can run at the same time."""
    document = {
        "head": plan.head,
        "jobs": [_plain(job) for job in plan.jobs],
        "waves": [[job.name for job in wave] for wave in plan.waves],
        "edges": plan.edges,
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _plain(job: Job) -> dict[str, Any]:
    return {
        "name": job.name,
        "wave": job.wave,
        "stages": list(job.stages),
        "needs": list(job.needs),
        "timeout": job.timeout,
        **{name: list(value) if isinstance(value, tuple) else value for name, value in asdict(job.runner).items()},
    }


def as_github(plan: Plan) -> str:
    """Returns lines for GITHUB_OUTPUT: `waves`, how many there are, and for each `wave_<n>`, a strategy's matrix."""
    lines = [f"waves={len(plan.waves)}"]
    for number, wave in enumerate(plan.waves, start=1):
        matrix = {
            "include": [
                {
                    "name": job.name,
                    "stages": ",".join(job.stages),
                    "runs_on": list(job.runner.runs_on),
                    "gpu": job.runner.gpu,
                    "timeout": job.timeout or 0,
                }
                for job in wave
            ]
        }
        lines.append(f"wave_{number}={json.dumps(matrix)}")
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, kw_only=True)
class GitLabDefaults:
    """What GitLab's jobs get whose stages say nothing of it; an empty one is left to the runner."""

    image: str = ""
    gpu_image: str = ""
    tags: tuple[str, ...] = ()
    gpu_tags: tuple[str, ...] = ()


def as_gitlab(plan: Plan, *, given: Mapping[str, str], source: str, defaults: GitLabDefaults) -> str:
    """Returns a child pipeline: a job for each of the plan's, and `gather`, which is there also when there is nothing
    to do, since GitLab takes no pipeline without a job. `given` are CML's variables, `source` is what started the
    pipeline that plans, which a child pipeline is not told. JSON is YAML.
    """
    stages = [*(f"wave {number}" for number in range(1, len(plan.waves) + 1)), "gather"]
    folder = given.get("working_directory", ".")
    document: dict[str, Any] = {
        "stages": stages,
        "variables": {
            "GIT_DEPTH": "20",
            "CML_PIPELINE_SOURCE": source,
            **{f"INPUT_{name.upper()}": {"value": value, "expand": False} for name, value in given.items()},
        },
    }
    if own := _gitlab_machine(defaults.image, defaults.tags):
        document["default"] = own
    for job in plan.jobs:
        gpu = job.runner.gpu
        document[_gitlab_name(job.name)] = {
            "stage": stages[job.wave - 1],
            "rules": [{"when": "on_success"}],  # without rules a job is in no pipeline of a merge request
            **_gitlab_machine(defaults.gpu_image if gpu else "", job.runner.tags or (defaults.gpu_tags if gpu else ())),
            **({"timeout": f"{job.timeout} minutes"} if job.timeout else {}),
            # Without `needs` a job waits for all the stages before its own.
            **({"needs": [_gitlab_name(need) for need in job.needs]} if len(job.needs) <= MOST_NEEDS else {}),
            "script": [f"cml run --stages={shlex.quote(','.join(job.stages))}"],
        }
    document["gather"] = {
        "stage": "gather",
        "rules": [{"when": "always"}],  # a job that failed is told of, too
        # Not the group of the job that starts this pipeline: that one is held until this one has ended.
        "resource_group": "cml-gather-$CI_COMMIT_REF_SLUG",
        "interruptible": False,
        "script": ["cml gather"],
        "artifacts": {
            "when": "always",
            "expire_in": "30 days",
            "paths": [f"./{folder}/cml-report/"],
            "reports": {"metrics": f"./{folder}/cml-report/metrics.txt", "dotenv": f"./{folder}/cml-report/cml.env"},
        },
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _gitlab_machine(image: str, tags: tuple[str, ...]) -> dict[str, Any]:
    return {**({"image": image} if image else {}), **({"tags": list(tags)} if tags else {})}


def _gitlab_name(name: str) -> str:
    if len(name) > LONGEST_NAME:
        sign = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        return f"{sign} {name[9 - LONGEST_NAME :]}"
    return f"stage {name}" if name in RESERVED or name.startswith(".") else name


def as_mermaid(plan: Plan) -> str:
    """Returns a picture for Markdown: each job a box, in it its stages."""
    ids = {stage: f"s{number}" for number, stage in enumerate(stage for job in plan.jobs for stage in job.stages)}
    lines = ["flowchart LR"]
    for number, job in enumerate(plan.jobs):
        lines.append(f'  subgraph j{number}["{_quoted(job.name)}"]')
        lines += [f'    {ids[stage]}["{_quoted(stage)}"]' for stage in job.stages]
        lines.append("  end")
    lines += [f"  {ids[need]} --> {ids[stage]}" for need, stage in plan.edges]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Returns a text as Mermaid shows it whole, whatever is in it."""
    return "".join(each if each.isalnum() or each in " _-./+" else f"#{ord(each)};" for each in text)


def as_dvc(plan: Plan) -> str:
    """Returns shell lines for one machine: DVC's queue of experiments, wave by wave. The run cache takes the results of
    one wave to the next.
    """
    lines = ["set -e"]
    for wave in plan.waves:
        lines += [f"dvc exp run --queue -- {shlex.join(job.stages)}" for job in wave]
        lines.append(f"dvc exp run --run-all --jobs {len(wave)}")
    return "\n".join(lines) + "\n"
