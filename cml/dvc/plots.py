"""The plots of revisions, as DVC collects and matches them: complete Vega-Lite specifications, and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cml.dvc.logging import one_line
from cml.dvc.patches.keep_reading import StayAtRevision
from cml.model.plots import BrokenPlot, DvcPlot, ImagePlot, VegaPlot

if TYPE_CHECKING:
    from dvc.repo import Repo

WORKSPACE = "workspace"


@dataclass(frozen=True, kw_only=True)
class CollectedPlots:
    """The plots of one revision as DVC collects them: {"definitions": ..., "sources": ...}, or why there are none."""

    found: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def collect_plots(repo: Repo, targets: Sequence[str]) -> CollectedPlots:
    """Collects the plots of the revision that DVC reads now, with their data. Raises nothing."""
    # DVC's own way loads much that a project without plots does not need.
    index = repo.index
    if not targets and not index._plots and not any(out.plot for out in index.outs):
        return CollectedPlots()
    try:
        with StayAtRevision(repo):
            return CollectedPlots(found=_collect(repo, targets))
    except Exception as error:  # whatever is wrong on one side, the other side is shown
        return CollectedPlots(problem=one_line(error))


def read_plots(repo: Repo, sides: Mapping[str, CollectedPlots]) -> list[DvcPlot]:
    """Returns the plots of the project, in the order of dvc.yaml.

    `sides` are "baseline" and "current", or "current" alone. What cannot be read becomes a BrokenPlot, or the note of
    its plot. Raises nothing.
    """
    plots: list[DvcPlot] = []
    collected: dict[str, Any] = {}
    # In this order: DVC takes titles, templates and axes from the first side.
    for label in ("current", "baseline"):
        if label not in sides:
            continue
        if sides[label].problem:
            plots.append(BrokenPlot(title=f"plots of the {label}", reason=sides[label].problem))
        elif sides[label].found:
            collected[label] = sides[label].found
    if not collected:
        return plots
    from dvc.render.match import PlotsData  # a project without plots does not need what this imports

    for plot_id, group in PlotsData(collected).group_definitions().items():
        try:
            plots.append(_read_plot(repo, plot_id, group, collected))
        except Exception as error:  # an unknown template, a field that does not exist, ...
            plots.append(BrokenPlot(title=plot_id, reason=one_line(error)))
    return plots


def _collect(repo: Repo, targets: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = repo.plots.show(targets=list(targets), revs=[WORKSPACE]).get(WORKSPACE, {})
    for part in found.values():
        if error := part.get("error"):
            raise error
    # DVC lists a file twice that is a target or an output, and is also defined under `plots:`.
    definitions = found.get("definitions", {}).get("data", {})
    without_file = definitions.get("", {}).get("data", {})
    defined = {plot_id for file, part in definitions.items() if file for plot_id in part.get("data", {})}
    for plot_id in [plot_id for plot_id, props in without_file.items() if not props and plot_id in defined]:
        del without_file[plot_id]
    return found


def _read_plot(repo: Any, plot_id: str, group: list[Any], collected: Mapping[str, Any]) -> DvcPlot:
    """`group` has (label, id in its file, definition) for each side that defines the plot, the current one first."""
    from dvc.render.match import match_defs_renderers  # as above

    # One plot at a time: DVC matches all plots in one call, and an unknown template in one of them ends the call.
    definitions = {
        label: {
            "definitions": {"data": {"": {"data": {inner_id: {"title": plot_id, **definition}}}}},
            "sources": collected[label].get("sources", {}),
        }
        for label, inner_id, definition in group
    }
    matched = match_defs_renderers(definitions, templates_dir=repo.plots.templates_dir)
    ((renderer, source_errors, errors),) = matched
    note = _problems(list(definitions), source_errors, errors)
    title = str(group[0][2].get("title") or plot_id)
    rows = renderer.datapoints
    if not rows or ("current" in definitions and all(row["rev"] != "current" for row in rows)):
        return BrokenPlot(title=title, reason=note or "it has no data")
    if renderer.TYPE == "image":
        images = {
            label: collected[label]["sources"]["data"][inner_id]["data"]
            for label, inner_id, _ in group
            if any(row["rev"] == label for row in rows)
        }
        return ImagePlot(title=title, sides=images)
    # The baseline first, so that the current side is drawn over it. Facets have the order of the rows.
    rows.sort(key=lambda row: row["rev"] == "current")
    return VegaPlot(title=title, spec=renderer.get_filled_template(), note=note)


def _problems(labels: Sequence[str], source_errors: Mapping[str, Any], errors: Mapping[str, Any]) -> str:
    """Returns in one line why sources of a plot cannot be read, and of which side, unless both have the same reason."""
    sides: dict[str, list[str]] = {}  # reason -> labels
    for label in labels:
        for source, error in sorted(source_errors.get(label, {}).items()):
            text = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
            sides.setdefault(text if source in text else f"{source}: {text}", []).append(label)
        if label in errors:
            sides.setdefault(one_line(errors[label]), []).append(label)
    return "; ".join(
        reason if len(of_sides) == len(labels) else f"{of_sides[0]}: {reason}" for reason, of_sides in sides.items()
    )
