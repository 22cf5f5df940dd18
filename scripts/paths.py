"""Paths of the files that are generated, for the generators and for the tests that read these files."""

from __future__ import annotations

from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
README = TOP / "README.md"
ACTION = TOP / "action.yml"
# The GitLab templates. GitLab's CI/CD catalog wants components in `templates/`: these are copies of `gitlab/`.
TEMPLATE, COMPONENT = TOP / "gitlab" / "cml.yml", TOP / "templates" / "cml.yml"
PIPELINE, PIPELINE_COMPONENT = TOP / "gitlab" / "pipeline.yml", TOP / "templates" / "pipeline.yml"
# The reusable GitHub workflow.
WORKFLOW = TOP / ".github" / "workflows" / "pipeline.yml"
# The translations of the report.
LOCALES = TOP / "templates" / "report" / "locales"
