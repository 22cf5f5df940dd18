"""`cml publish`: the saved report of a fork's run is read as untrusted data, and posted to the pull request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_github import Hub, hub  # noqa: F401 - the fixture
from test_render import CASES, as_json

from cml.model.json import read_report


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_saved_report_is_read_back(name: str) -> None:
    report = CASES[name]()
    again = json.loads(as_json(read_report(as_json(report))))
    once = json.loads(as_json(report))
    for data in (once, again):
        data.pop("run_url"), data.pop("compare_url")
        for plot in data["plots"] or []:
            plot.pop("images")
        for experiment in data["experiments"]:
            experiment.pop("url")
    assert again == once


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"version": 2}',
        '{"version": 1}',
        "[" * 100_000,
        '{"version": NaN}',
        '"' + "x" * 6_000_000,
    ],
)
def test_the_error_for_any_other_text_is_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        read_report(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(field=st.sampled_from(sorted(json.loads(as_json(CASES["typical"]())))), value=JSON)
@settings(max_examples=200, deadline=None)
def test_a_field_with_any_other_value_is_refused_or_harmless(field: str, value: Any) -> None:
    data = json.loads(as_json(CASES["typical"]()))
    data[field] = value
    try:
        read_report(json.dumps(data))
    except ValueError as error:
        assert "\n" not in str(error)


def saved(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    data = json.loads(as_json(CASES["hostile"]()))
    (folder / "report.json").write_text(json.dumps({**data, **changes}))
    return folder


def fork_pull(hub: Hub) -> tuple[Any, dict[str, str]]:  # noqa: F811
    hub.forge.create_repository("bob/digits", fork_of="ada/digits")
    bobs = hub.forge.state.repositories["bob/digits"].bare
    hub.world.git("branch", "try", "main", cwd=bobs)
    pull = hub.forge.open_pull("try", from_fork="bob/digits")
    first = hub.forge.event("pull_request", pull=pull.number)
    hub.forge.finish_run(first["GITHUB_RUN_ID"])
    return pull, hub.forge.event("workflow_run", run=int(first["GITHUB_RUN_ID"]))


def test_a_forks_report_is_posted_to_the_events_pull_request(hub: Hub, tmp_path: Path) -> None:  # noqa: F811
    pull, env = fork_pull(hub)
    token = hub.forge.token("installation", permissions={"pull_requests": "write", "contents": "read"})
    folder = saved(tmp_path / "artifact", pull_request=999, run_url="javascript:alert(1)")
    workspace = tmp_path / "no-checkout"
    workspace.mkdir()
    done = hub.again(env, "publish", str(folder), token=token, workspace=workspace)
    assert done.code == 0, done.err
    (comment,) = hub.forge.comments(pull.number)
    assert comment.body.startswith("<!-- cml-report: DVC Report -->\n## DVC Report\n")
    assert "javascript:" not in comment.body
    assert hub.forge.check_runs() == []
    done = hub.again(env, "publish", str(folder), token=token, workspace=workspace)
    assert len(hub.forge.comments(pull.number)) == 1
    assert hub.forge.unknown == []


def test_a_broken_artifact_is_bad_input(hub: Hub, tmp_path: Path) -> None:  # noqa: F811
    _, env = fork_pull(hub)
    workspace = hub.forge.checkout(env, token=hub.token)
    folder = saved(tmp_path / "artifact", metrics="many")
    done = hub.again(env, "publish", str(folder), workspace=workspace)
    assert done.code == 2
    assert "cannot read the saved report" in done.err
    assert "report.json: report.metrics" in done.err
