"""A plan in the formats of the systems that run it: a GitHub matrix, a GitLab child pipeline, DVC's queue, a Mermaid
diagram, and JSON for all others. Pure.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cml.model.plan import Job, Plan

MOST_NEEDS = 50  # GitLab's default limit for the `needs` of a job
LONGEST_NAME = 255  # characters of the name of a GitLab job
# Keys of .gitlab-ci.yml, which cannot be names of jobs, and the name of our own job.
RESERVED = (
    *("after_script", "before_script", "cache", "default", "false", "image", "include", "nil", "pages", "services"),
    *("spec", "stages", "true", "types", "variables", "workflow", "gather"),
)


@dataclass(frozen=True, kw_only=True)
class GitLabDefaults:
    """What a GitLab job gets if its stages do not say. The runner decides about empty values."""

    image: str = ""
    gpu_image: str = ""
    tags: tuple[str, ...] = ()
    gpu_tags: tuple[str, ...] = ()


def as_json(plan: Plan) -> str:
    """Returns the plan for other scripts: its commit, its jobs, and which jobs can run at the same time."""
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
    """Returns lines for GITHUB_OUTPUT: `waves` is their number, each `wave_<n>` is the matrix of a strategy."""
    lines = [f"waves={len(plan.waves)}"]
    for number, wave in enumerate(plan.waves, start=1):
        matrix = {
            "include": [
                {
                    "name": job.name,
                    "stages": ",".join(job.stages),
                    "runs_on": list(job.runner.runs_on),
                    "gpu": job.runner.gpu,
                    # 0 is false in an expression of GitHub: `matrix.timeout || 360`.
                    "timeout": job.timeout or 0,
                }
                for job in wave
            ]
        }
        lines.append(f"wave_{number}={json.dumps(matrix)}")
    return "\n".join(lines) + "\n"


def as_gitlab(plan: Plan, *, given: Mapping[str, str], source: str, defaults: GitLabDefaults) -> str:
    """Returns a child pipeline, as JSON, which is YAML too. It has one job for each job of the plan, and `gather`.

    `gather` is always there, because GitLab rejects a pipeline without jobs. `given` are the variables of CML that were
    set. `source` is the event of the pipeline that makes the plan: a child pipeline cannot find it out.
    """
    folder = given.get("working_directory", ".")
    document: dict[str, Any] = {
        "stages": [*(_wave_name(number) for number in range(1, len(plan.waves) + 1)), "gather"],
        "variables": {
            "GIT_DEPTH": "20",
            "CML_PIPELINE_SOURCE": source,
            # Not expanded: the parent pipeline has expanded the values, and a `$` that is left belongs to them.
            **{f"INPUT_{name.upper()}": {"value": value, "expand": False} for name, value in given.items()},
        },
    }
    if machine := _gitlab_machine(defaults.image, defaults.tags):
        document["default"] = machine
    for job in plan.jobs:
        document[_gitlab_name(job.name)] = _gitlab_job(job, defaults)
    document["gather"] = _gitlab_gather(f"./{folder}/cml-report/")
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _wave_name(number: int) -> str:
    return f"wave {number}"


def _gitlab_job(job: Job, defaults: GitLabDefaults) -> dict[str, Any]:
    image = defaults.gpu_image if job.runner.gpu else ""
    tags = job.runner.tags or (defaults.gpu_tags if job.runner.gpu else ())
    document: dict[str, Any] = {
        "stage": _wave_name(job.wave),
        "rules": [{"when": "on_success"}],  # a job without rules is in no merge request pipeline
        **_gitlab_machine(image, tags),
    }
    if job.timeout:
        document["timeout"] = f"{job.timeout} minutes"
    if len(job.needs) <= MOST_NEEDS:  # without `needs`, a job waits for all jobs of the earlier waves
        document["needs"] = [_gitlab_name(need) for need in job.needs]
    document["script"] = [f"cml run --stages={shlex.quote(','.join(job.stages))}"]
    return document


def _gitlab_gather(folder: str) -> dict[str, Any]:
    return {
        "stage": "gather",
        "rules": [{"when": "always"}],  # it reports failed jobs too
        # Not the resource group of the job that starts this pipeline: that job waits until this pipeline has ended.
        "resource_group": "cml-gather-$CI_COMMIT_REF_SLUG",
        "interruptible": False,
        "script": ["cml gather"],
        "artifacts": {
            "when": "always",
            "expire_in": "30 days",
            "paths": [folder],
            "reports": {"metrics": f"{folder}metrics.txt", "dotenv": f"{folder}cml.env"},
        },
    }


def _gitlab_machine(image: str, tags: tuple[str, ...]) -> dict[str, Any]:
    return {**({"image": image} if image else {}), **({"tags": list(tags)} if tags else {})}


def _gitlab_name(name: str) -> str:
    if len(name) > LONGEST_NAME:
        # The end of a name tells more than its beginning; the digest keeps names apart.
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]
        return f"{digest} {name[9 - LONGEST_NAME :]}"
    return f"stage {name}" if name in RESERVED or name.startswith(".") else name


def as_mermaid(plan: Plan) -> str:
    """Returns a Mermaid diagram for Markdown: one box for each job, with its stages in it."""
    ids = {stage: f"s{number}" for number, stage in enumerate(stage for job in plan.jobs for stage in job.stages)}
    lines = ["flowchart LR"]
    for number, job in enumerate(plan.jobs):
        lines.append(f'  subgraph j{number}["{_quoted(job.name)}"]')
        lines += [f'    {ids[stage]}["{_quoted(stage)}"]' for stage in job.stages]
        lines.append("  end")
    lines += [f"  {ids[need]} --> {ids[stage]}" for need, stage in plan.edges]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Returns the text with Mermaid's character codes, so that Mermaid shows every character of it."""
    return "".join(char if char.isalnum() or char in " _-./+" else f"#{ord(char)};" for char in text)


def as_dvc(plan: Plan) -> str:
    """Returns shell commands for one machine: DVC's queue of experiments, wave by wave. Each wave gets the results of
    the earlier ones from the run cache.
    """
    lines = ["set -e"]
    for wave in plan.waves:
        lines += [f"dvc exp run --queue -- {shlex.join(job.stages)}" for job in wave]
        lines.append(f"dvc exp run --run-all --jobs {len(wave)}")
    return "\n".join(lines) + "\n"
