"""What is written from the variable table is as it would be written now."""

from __future__ import annotations

import yaml
from gitlab_include import documents, include
from tables import (
    COMPONENT,
    MACHINES,
    PIPELINE,
    PIPELINE_COMPONENT,
    SECRETS,
    TEMPLATE,
    TOP,
    WAVES,
    WORKFLOW,
    with_inputs,
    with_table,
    with_template,
    with_workflow,
)

from cml import __version__
from cml.commands.parser import _parser
from cml.config.settings import Settings, read_settings
from cml.config.variables import VARIABLES
from cml.forges.base import Outputs
from cml.remotes import kinds


def test_readme_has_the_table() -> None:
    text = (TOP / "README.md").read_text()
    assert text == with_table(text), "run `python tests/tables.py`"


def test_action_yml_has_the_inputs() -> None:
    text = (TOP / "action.yml").read_text()
    assert text == with_inputs(text), "run `python tests/tables.py`"
    inputs = yaml.safe_load(text)["inputs"]
    assert list(inputs) == [variable.name for variable in VARIABLES]
    assert {name: given["default"] for name, given in inputs.items() if "default" in given} == {
        "repo_token": "${{ github.token }}"
    }


def test_action_yml_has_the_outputs() -> None:
    outputs = yaml.safe_load((TOP / "action.yml").read_text())["outputs"]
    assert list(outputs) == list(Outputs._fields)
    assert all(set(output) == {"description"} for output in outputs.values())


def test_the_gitlab_template_has_the_inputs() -> None:
    text = TEMPLATE.read_text()
    assert text == with_template(text), "run `python tests/tables.py`"
    assert COMPONENT.read_bytes() == TEMPLATE.read_bytes(), "run `python tests/tables.py`"
    inputs = documents(TEMPLATE)[0]["spec"]["inputs"]
    names = [variable.name for variable in VARIABLES if variable.name != "repo_token"]
    assert list(inputs) == [*names, "job_name", "stage", "image", "tags", "rules"]
    assert {inputs[name]["default"] for name in names} == {""}, "an input left out leaves `variables:` its say"


def test_the_gitlab_template_hands_every_input_on() -> None:
    given = {variable.name: (variable.choices or ("true",))[0] for variable in VARIABLES if variable.is_option}
    handed_on = {
        name.removeprefix("INPUT_").lower(): value["value"] if isinstance(value, dict) else value
        for name, value in include(TEMPLATE, given)[".cml"]["variables"].items()
        if name != "GIT_DEPTH"
    }
    assert handed_on == given


def test_the_gitlab_pipeline_has_the_inputs_and_hands_them_on() -> None:
    text = PIPELINE.read_text()
    assert text == with_template(text), "run `python tests/tables.py`"
    assert PIPELINE_COMPONENT.read_bytes() == PIPELINE.read_bytes(), "run `python tests/tables.py`"
    names = [variable.name for variable in VARIABLES if variable.is_option]
    more = ["job_name", "stage", "image", "gpu_image", "max_jobs", "tags", "job_tags", "gpu_tags", "rules"]
    assert list(documents(PIPELINE)[0]["spec"]["inputs"]) == [*names, *more]
    handed_on = include(PIPELINE)["cml-plan"]["variables"]
    assert {name for name in handed_on if name.startswith("INPUT_")} == {f"INPUT_{name.upper()}" for name in names}
    assert "variables" not in include(PIPELINE)["cml"], "they would win over what the plan says"


def test_the_workflow_has_the_inputs_and_the_secrets() -> None:
    text = WORKFLOW.read_text()
    assert text == with_workflow(text), "run `python tests/tables.py`"
    workflow = yaml.safe_load(text)
    call, jobs = workflow[True]["workflow_call"], workflow["jobs"]
    names = [variable.name for variable in VARIABLES if variable.is_option]
    assert list(call["inputs"]) == [*names, "max_jobs", "runs_on", "gpu_runs_on", "image", "gpu_image"]
    assert {each["type"] for each in call["inputs"].values()} == {"string"}
    assert {call["inputs"][name]["default"] for name in names} == {""}
    assert workflow["env"] == {f"INPUT_{name.upper()}": f"${{{{ inputs.{name} }}}}" for name in names}
    assert list(call["secrets"]) == ["repo_token", *SECRETS]
    assert set(kinds.VARIABLES) - MACHINES == set(SECRETS)
    waves = [f"wave_{number}" for number in range(1, WAVES + 1)]
    assert list(jobs) == ["plan", *waves, "gather"]
    assert jobs["gather"]["needs"] == ["plan", *waves]
    assert f"--max-waves {WAVES} " in jobs["plan"]["steps"][-1]["run"]
    for name in (*waves, "gather"):
        handed_on = jobs[name]["steps"][-1]["env"]
        assert {each: handed_on[each] for each in SECRETS} == {each: f"${{{{ secrets.{each} }}}}" for each in SECRETS}
    assert not [value for value in jobs["plan"]["steps"][-1]["env"].values() if "secrets" in value]


def test_the_workflow_takes_the_images_of_its_own_version() -> None:
    """Its file is in the commit that a release's tag names, which no later one changes."""
    inputs = yaml.safe_load(WORKFLOW.read_text())[True]["workflow_call"]["inputs"]
    image = f"ghcr.io/org/cml:{__version__}"
    assert (inputs["image"]["default"], inputs["gpu_image"]["default"]) == (image, f"{image}-gpu")


def test_every_variable_has_one_setting() -> None:
    settings = set(Settings._fields) - {"is_default_baseline", "given"}
    assert settings == {variable.name for variable in VARIABLES} - {"repo_token"}


def test_the_seeds_defaults() -> None:
    settings = read_settings({}, {}, is_ci=True)
    assert settings.baseline == "origin/master"
    assert settings.repro_targets == ("Dvcfile",)
    assert settings.is_whole_project
    assert settings.metrics_diff_targets == ()
    assert settings.tag_prefix == ""
    assert settings.dvc_pull == ()
    assert settings.number_format.value(0.98869997) == "0.9887"
    assert settings.push
    assert not read_settings({}, {}, is_ci=False).push
    assert (settings.comment, settings.report_name, settings.experiments) == ("update", "DVC Report", 5)


def test_every_variable_but_the_token_is_an_option() -> None:
    options = {f"--{variable.name.replace('_', '-')}=x" for variable in VARIABLES if variable.name != "repo_token"}
    parsed = vars(_parser(["run"]).parse_args(["run", *sorted(options)]))
    assert {name for name, value in parsed.items() if value == "x"} == {v.name for v in VARIABLES} - {"repo_token"}
