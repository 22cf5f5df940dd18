"""The workflow of `cml run`, in order. Start reading here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cml.run.existing_results import are_results_on_branch, skip_run, use_duplicate
from cml.run.head import checked_out, find_head, find_previous_head, find_skip

if TYPE_CHECKING:
    from cml.run.context import Command
    from cml.run.run import Run


def run(command: Command, run_type: type[Run] | None = None) -> int:
    """Runs the main job and returns the exit code. `run_type` is a run with other steps (`cml gather`). Raises
    BadInput, with nothing changed.
    """
    # 1. Skip? Nothing up to here may be slow: most runs that a results commit starts end here.
    repository, forge, context = command.repository, command.forge, command.context
    head = find_head(repository, context)
    if skip := find_skip(repository, context, command.settings, head):
        return skip_run(command, head, skip)

    # The rest needs DVC, which takes a second to import, so a skipped run must not import it.
    from cml.run.preflight import prepare, prepare_report_only
    from cml.run.publish import publish
    from cml.run.run import Run

    # 2. Report only? Some events run with a privileged token, so no code of the pull request is executed for them.
    if not context.reproduces:
        return publish(command, command.open_project(), prepare_report_only(command, head))

    # 3. Preflight: bad input ends here, before any work.
    with checked_out(repository, head):
        project = command.open_project()
        preparation = prepare(command, project, head)
        current = (run_type or Run)(command, project, preparation)

    # 4. Work: setup, pull, reproduce, save; unless another run does it or has done it.
    with current.asking_origin():
        duplicate = forge.start(preparation.key)
        if context.is_ci and (previous := find_previous_head(repository, head)):
            forge.end_abandoned(previous)
        if duplicate and are_results_on_branch(repository, duplicate, preparation.branch):
            return use_duplicate(command, duplicate, head)
        current.work()

    # 5. Report and publish, also after a failure.
    return current.publish()
