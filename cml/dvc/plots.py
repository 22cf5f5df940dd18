"""The plots of revisions, as DVC collects and matches them: complete Vega-Lite specifications, and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cml.dvc.logging import one_line
from cml.dvc.patches.caching import standing_still
from cml.report.plots.files import BrokenPlot, DvcPlot, ImagePlot, VegaPlot

if TYPE_CHECKING:
    from dvc.repo import Repo

WORKSPACE = "workspace"


@dataclass(frozen=True, kw_only=True)
class Collected:
    """The plots of one revision as DVC collects them: {"definitions": ..., "sources": ...}, or why there are none."""

    found: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def collect_plots(repo: Repo, targets: Sequence[str]) -> Collected:
    """Collects the plots of the revision that DVC reads now, with their data. Nothing is raised."""
    index = repo.index
    if not targets and not index._plots and not any(out.plot for out in index.outs):
        return Collected()
    try:
        with standing_still(repo):
            return Collected(found=_collect(repo, targets))
    except Exception as error:  # whatever a side holds, the other one is shown
        return Collected(problem=one_line(error))


def read_plots(repo: Repo, sides: Mapping[str, Collected]) -> list[DvcPlot]:
    """Returns the plots of the project, in the order of dvc.yaml.

    `sides` are "baseline" and "current", or the latter alone. What can't be read becomes a BrokenPlot, or the note of
    its plot; nothing is raised.
    """
    plots: list[DvcPlot] = []
    collected: dict[str, Any] = {}
    for label in ("current", "baseline"):  # in this order: DVC lets the first side's titles, templates and axes win
        if label not in sides:
            continue
        if sides[label].problem:
            plots.append(BrokenPlot(title=f"plots of the {label}", reason=sides[label].problem))
        elif sides[label].found:
            collected[label] = sides[label].found
    if not collected:
        return plots
    from dvc.render.match import PlotsData

    for plot_id, group in PlotsData(collected).group_definitions().items():
        try:
            plots.append(_read_plot(repo, plot_id, group, collected))
        except Exception as error:  # an unknown template, a field that is not there, ...
            plots.append(BrokenPlot(title=plot_id, reason=one_line(error)))
    return plots


def _collect(repo: Repo, targets: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = repo.plots.show(targets=list(targets), revs=[WORKSPACE]).get(WORKSPACE, {})
    for part in found.values():
        if error := part.get("error"):
            raise error
    definitions = found.get("definitions", {}).get("data", {})
    # DVC lists a file twice that is a target or an output, and is also defined under `plots:`.
    loose = definitions.get("", {}).get("data", {})
    defined = {plot_id for file, part in definitions.items() if file for plot_id in part.get("data", {})}
    for plot_id in [plot_id for plot_id, props in loose.items() if not props and plot_id in defined]:
        del loose[plot_id]
    return found


def _read_plot(repo: Any, plot_id: str, group: list[Any], collected: Mapping[str, Any]) -> DvcPlot:
    """`group` holds (label, id in its file, definition) for each side that defines the plot, the current one first."""
    from dvc.render.match import match_defs_renderers

    alone = {  # DVC matches all plots in one call, which an unknown template of any of them ends
        label: {
            "definitions": {"data": {"": {"data": {inner_id: {"title": plot_id, **definition}}}}},
            "sources": collected[label].get("sources", {}),
        }
        for label, inner_id, definition in group
    }
    ((renderer, source_errors, errors),) = match_defs_renderers(alone, templates_dir=repo.plots.templates_dir)
    reasons: dict[str, list[str]] = {}
    for label in alone:
        for source, error in sorted(source_errors.get(label, {}).items()):
            text = error.strerror if isinstance(error, OSError) and error.strerror else one_line(error)
            reasons.setdefault(text if source in text else f"{source}: {text}", []).append(label)
        if label in errors:
            reasons.setdefault(one_line(errors[label]), []).append(label)
    note = "; ".join(text if len(where) == len(alone) else f"{where[0]}: {text}" for text, where in reasons.items())
    title = str(group[0][2].get("title") or plot_id)
    rows = renderer.datapoints
    if not rows or ("current" in alone and all(row["rev"] != "current" for row in rows)):
        return BrokenPlot(title=title, reason=note or "it holds no data")
    if renderer.TYPE == "image":
        return ImagePlot(
            title=title,
            sides={
                label: collected[label]["sources"]["data"][inner_id]["data"]
                for label, inner_id, _ in group
                if any(row["rev"] == label for row in rows)
            },
        )
    rows.sort(key=lambda row: row["rev"] == "current")  # stable; facets and offsets stand in the order of the rows
    return VegaPlot(title=title, spec=renderer.get_filled_template(), note=note)
