"""The results of a run in the text of its check run, hidden from readers: a duplicate run reads them from there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cml.forges.base import DuplicateRun, Outputs, Publication

if TYPE_CHECKING:
    from github.CheckRun import CheckRun

PREFIX, SUFFIX = "<!-- cml-outputs: ", " -->"
# Other versions of CML read this text, so its names must not change.
OPEN_CHECK_KEY = "left_open"
EXIT_CODES = (0, 3)  # of runs that came to results


def write_results(publication: Publication, *, has_open_check: bool | None = None) -> str:
    """Returns the text for a check run, empty if duplicate runs must not use the results. `has_open_check`: see
    DuplicateRun.
    """
    if not publication.is_complete:
        return ""
    data: dict[str, Any] = {"outputs": publication.outputs.pairs(), "exit_code": publication.exit_code}
    if has_open_check is not None:
        data[OPEN_CHECK_KEY] = has_open_check
    return f"{PREFIX}{json.dumps(data)}{SUFFIX}"


def read_results(check: CheckRun) -> DuplicateRun | None:
    """Returns the run that a check run belongs to, or None if its text has no results that can be read."""
    text = check.output.text or ""
    if not text.startswith(PREFIX):
        return None
    try:
        return _parse(json.loads(text.removeprefix(PREFIX).removesuffix(SUFFIX)), check)
    except (ValueError, KeyError, TypeError):
        return None


def _parse(data: Any, check: CheckRun) -> DuplicateRun | None:
    pairs = data["outputs"]
    url = check.html_url or ""
    outputs = Outputs(
        changed=pairs["changed"] == "true",
        sha=str(pairs["sha"]),
        tag=str(pairs["tag"]),
        verdict=str(pairs["verdict"]),
        report=str(pairs["report"]),
        report_url=str(pairs["report_url"]) or url,
    )
    if data["exit_code"] not in EXIT_CODES:
        return None
    return DuplicateRun(
        url=url,
        outputs=outputs,
        exit_code=int(data["exit_code"]),
        markdown=check.output.summary or "",
        has_open_check=data.get(OPEN_CHECK_KEY) is True,
    )
