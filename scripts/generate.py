"""`make generate`: writes every generated file of this repository that is out of date.

`python -m scripts.generate --check` writes nothing, prints the files that are out of date and exits with 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

from scripts import action, catalogs, github_workflow, gitlab_templates, readme
from scripts.paths import ACTION, COMPONENT, PIPELINE, PIPELINE_COMPONENT, README, TEMPLATE, TOP, WORKFLOW


def generated_files() -> dict[Path, bytes]:
    """Returns the right content of every generated file."""
    template = gitlab_templates.generate(TEMPLATE.read_text())
    pipeline = gitlab_templates.generate(PIPELINE.read_text())
    texts = {
        README: readme.generate(README.read_text()),
        ACTION: action.generate(ACTION.read_text()),
        TEMPLATE: template,
        COMPONENT: template,
        PIPELINE: pipeline,
        PIPELINE_COMPONENT: pipeline,
        WORKFLOW: github_workflow.generate(WORKFLOW.read_text()),
    }
    return {path: text.encode() for path, text in texts.items()} | catalogs.generated_files()


def outdated_files() -> dict[Path, bytes]:
    """Returns the right content of the generated files that have another one."""
    files = generated_files()
    return {path: data for path, data in files.items() if not path.exists() or path.read_bytes() != data}


def main(arguments: list[str]) -> int:
    outdated = outdated_files()
    if "--check" in arguments:
        for path in outdated:
            print(f"error: {path.relative_to(TOP)} is out of date: run `make generate`", file=sys.stderr)
        return 1 if outdated else 0
    for path, data in outdated.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        print(f"wrote {path.relative_to(TOP)}")
    print("\n".join(catalogs.missing_translations()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
