"""Settings from options, inputs, the environment and the defaults."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from cml.config.gates import parse_rules
from cml.config.settings import Settings, read_settings
from cml.errors import BadInput

DEFAULTS = {
    "baseline": "origin/master",
    "is_default_baseline": True,
    "repro_targets": ("Dvcfile",),
    "metrics_diff_targets": (),
    "tag_prefix": "",
    "metrics_format": "0[.][0000000]",
    "dvc_pull": (),
    "setup": "",
    "working_directory": ".",
    "push": False,
    "comment": "update",
    "report_name": "DVC Report",
    "template": "",
    "locale": "en",
    "metrics_gate": (),
    "plots": (),
    "experiments": 5,
    "params_diff_targets": (),
    "commit_message": "Update DVC results",
}
# For each variable: a text, and the value that it is parsed to.
SET = {
    "baseline": ("HEAD~1", "HEAD~1"),
    "repro_targets": ("train, eval\nplot", ("train", "eval", "plot")),
    "metrics_diff_targets": ("-", None),
    "tag_prefix": ("dvc_", "dvc_"),
    "metrics_format": ("0.00", "0.00"),
    "dvc_pull": ("auto", ("auto",)),
    "setup": ("pip install x\ntrue", "pip install x\ntrue"),
    "working_directory": ("sub/project", "sub/project"),
    "push": ("Yes", True),
    "comment": ("NEW", "new"),
    "report_name": ("x" * 100, "x" * 100),
    "template": ("mine.md.j2", "mine.md.j2"),
    "locale": ("pt-BR", "pt_BR"),
    "metrics_gate": ("accuracy >= 0.9\nloss < 1", parse_rules("accuracy >= 0.9; loss < 1")),
    "plots": ("a.csv b..c.csv", ("a.csv", "b..c.csv")),
    "experiments": ("0", 0),
    "params_diff_targets": (" p.yaml ", ("p.yaml",)),
    "commit_message": ("Results", "Results"),
}


def read(given: Mapping[str, str] | None = None, *, is_ci: bool = False, **options: str) -> Settings:
    return read_settings({}, {**(given or {}), **options}, is_ci=is_ci)


def fields(settings: Settings) -> dict[str, object]:
    return {name: getattr(settings, name) for name in settings._fields if name != "given"}


def test_defaults_are_those_of_the_variable_table() -> None:
    assert fields(read()) == DEFAULTS


@pytest.mark.parametrize("name", SET)
def test_a_variable_sets_only_its_own_field(name: str) -> None:
    text, value = SET[name]
    changed = {name: value, **({"is_default_baseline": False} if name == "baseline" else {})}
    for found in (read({name: text}), read_settings({name: text}, {}, is_ci=False)):
        assert fields(found) == {**DEFAULTS, **changed}
        assert found.given == {name: text.strip()}


def test_precedence_is_option_then_input_then_environment_and_empty_is_unset() -> None:
    environment = {"tag_prefix": "environment_", "INPUT_TAG_PREFIX": "input_"}
    assert read_settings(environment, {"tag_prefix": "option_"}, is_ci=False).tag_prefix == "option_"
    assert read_settings(environment, {"tag_prefix": ""}, is_ci=False).tag_prefix == "input_"
    assert read_settings({**environment, "INPUT_TAG_PREFIX": ""}, {}, is_ci=False).tag_prefix == "environment_"
    assert read_settings({"tag_prefix": " "}, {}, is_ci=False).tag_prefix == ""


def test_push_is_true_in_ci_and_false_on_a_laptop_by_default() -> None:
    assert [read(is_ci=is_ci).push for is_ci in (True, False)] == [True, False]
    for text in ("true", "TRUE", "1", "yes"):
        assert read(push=text).push is True
    for text in ("false", "False", "0", "no"):
        assert read(is_ci=True, push=text).push is False


def test_experiments_can_be_up_to_999() -> None:
    assert read(experiments="999").experiments == 999


@pytest.mark.parametrize(
    ("name", "value"),
    [("plots", "a/../b.csv"), ("plots", "/a.csv"), ("repro_targets", "/../a"), ("working_directory", "a/..")],
)
def test_a_path_outside_the_project_is_refused(name: str, value: str) -> None:
    with pytest.raises(BadInput, match=name):
        read({name: value})


def test_every_variable_except_comment_changes_the_key() -> None:
    plain = read()
    assert len(plain.key) == 16
    assert plain.key == read().key == read(comment="off").key
    others = {read({name: text}).key for name, (text, _) in SET.items() if name != "comment"}
    assert len(others - {plain.key}) == len(SET) - 1


def test_only_what_is_reproduced_changes_the_scope() -> None:
    plain = read()
    assert len(plain.scope) == 8
    assert read(repro_targets="train").scope != plain.scope != read(working_directory="sub").scope
    rest = {name: text for name, (text, _) in SET.items() if name not in ("repro_targets", "working_directory")}
    assert read(rest).scope == plain.scope


def test_the_default_target_is_the_whole_project() -> None:
    assert read().is_whole_project is True
    assert read(repro_targets="Dvcfile").is_whole_project is True
    assert read()._replace(repro_targets=None).is_whole_project is False
    assert read(repro_targets="train").is_whole_project is False
