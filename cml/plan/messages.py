"""Texts about numbers and names of stages, and which results of a plan are missing. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from cml.model.plan import StaleStage

LISTED = 10  # names in one message


def count(number: int, noun: str) -> str:
    """Returns "1 stage", "2 stages"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def list_names(names: Sequence[str]) -> str:
    """Returns the first names, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"{', '.join(names[:LISTED])}{more}"


def describe_missing(
    missing: Sequence[str],
    *,
    stages: Sequence[StaleStage],
    refused: Collection[str],
    failures: Mapping[str, str],
    consequence: str,
) -> str:
    """Returns which of the plan's stages have no result, and why.

    `refused` are those whose result was made from other inputs, `failures` the reasons that jobs have recorded.
    """
    absent = set(missing)
    failed = [name for name in missing if name in failures]
    # A stage behind a missing one could not run: the missing one is the cause.
    waiting = {stage.name for stage in stages if absent & set(stage.needs)} - failures.keys()
    outdated = [name for name in refused if name not in waiting and name not in failed]
    lost = [name for name in missing if name not in {*failed, *waiting, *outdated}]
    parts = [f"{name}: {failures[name]}" for name in failed[:LISTED]]
    if outdated:
        parts.append(f"the results of {list_names(outdated)} were made from other inputs, which have changed since")
    if lost:
        parts.append(f"no result of {list_names(lost)}: its job did not run, was lost or is still running")
    if behind := [name for name in missing if name in waiting]:
        parts.append(f"{list_names(behind)} could not run without them")
    return (
        f"results of {len(missing)} of {len(stages)} stages are missing, {consequence}: {'; '.join(parts)}. "
        "Run their jobs again first"
    )
