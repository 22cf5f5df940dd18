"""Files that `make generate` writes: each is up to date, and contains every variable, input, secret and job."""

from __future__ import annotations

import pytest
import yaml
from support.gitlab_include import documents, include

from cml import __version__
from cml.commands.parser import _parser
from cml.config.settings import Settings, read_settings
from cml.config.variables import VARIABLES
from cml.forges.base import Outputs
from cml.remotes import kinds
from cml.report.number_writer import write_value
from scripts.generate import main, outdated_files
from scripts.github_workflow import MACHINE_VARIABLES, SECRETS, WAVES
from scripts.paths import ACTION, PIPELINE, TEMPLATE, TOP, WORKFLOW
from scripts.sections import replace_section


def test_generated_files_are_up_to_date() -> None:
    outdated = [str(path.relative_to(TOP)) for path in outdated_files()]
    assert not outdated, f"{', '.join(outdated)}: out of date, run `make generate`"


def test_check_writes_nothing_and_names_what_is_out_of_date(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = ACTION.read_bytes()
    monkeypatch.setattr("scripts.generate.generated_files", lambda: {ACTION: b"new"})
    assert main(["--check"]) == 1
    assert capsys.readouterr().err == "error: action.yml is out of date: run `make generate`\n"
    assert ACTION.read_bytes() == before


def test_a_file_without_its_section_is_an_error() -> None:
    with pytest.raises(ValueError, match="generated section 'inputs' has no line"):
        replace_section("name: x\n", name="inputs", script="scripts/action.py", content="")


def test_action_yml_has_the_inputs() -> None:
    inputs = yaml.safe_load(ACTION.read_text())["inputs"]
    assert list(inputs) == [variable.name for variable in VARIABLES]
    defaults = {name: given["default"] for name, given in inputs.items() if "default" in given}
    assert defaults == {"repo_token": "${{ github.token }}"}


def test_action_yml_has_the_outputs() -> None:
    outputs = yaml.safe_load(ACTION.read_text())["outputs"]
    assert list(outputs) == list(Outputs._fields)
    assert all(set(output) == {"description"} for output in outputs.values())


def test_gitlab_template_has_the_inputs() -> None:
    inputs = documents(TEMPLATE)[0]["spec"]["inputs"]
    names = [variable.name for variable in VARIABLES if variable.name != "repo_token"]
    assert list(inputs) == [*names, "job_name", "stage", "image", "tags", "rules"]
    defaults = {inputs[name]["default"] for name in names}
    assert defaults == {""}, "an input that is not given must not override a variable under `variables:`"


def test_gitlab_template_passes_every_input_to_the_job() -> None:
    given = {variable.name: (variable.choices or ("true",))[0] for variable in VARIABLES if variable.is_option}
    passed = {
        name.removeprefix("INPUT_").lower(): value["value"] if isinstance(value, dict) else value
        for name, value in include(TEMPLATE, given)[".cml"]["variables"].items()
        if name != "GIT_DEPTH"
    }
    assert passed == given


def test_gitlab_pipeline_has_the_inputs_and_passes_them_to_the_job() -> None:
    names = [variable.name for variable in VARIABLES if variable.is_option]
    more = ["job_name", "stage", "image", "gpu_image", "max_jobs", "tags", "job_tags", "gpu_tags", "rules"]
    assert list(documents(PIPELINE)[0]["spec"]["inputs"]) == [*names, *more]
    passed = include(PIPELINE)["cml-plan"]["variables"]
    assert {name for name in passed if name.startswith("INPUT_")} == {f"INPUT_{name.upper()}" for name in names}
    assert "variables" not in include(PIPELINE)["cml"], "they would override the variables of the child pipeline"


def test_github_workflow_has_the_inputs_and_the_secrets() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    call, jobs = workflow[True]["workflow_call"], workflow["jobs"]
    names = [variable.name for variable in VARIABLES if variable.is_option]
    assert list(call["inputs"]) == [*names, "max_jobs", "runs_on", "gpu_runs_on", "image", "gpu_image"]
    assert {each["type"] for each in call["inputs"].values()} == {"string"}
    assert {call["inputs"][name]["default"] for name in names} == {""}
    assert workflow["env"] == {f"INPUT_{name.upper()}": f"${{{{ inputs.{name} }}}}" for name in names}
    assert list(call["secrets"]) == ["repo_token", *SECRETS]
    assert set(kinds.CREDENTIAL_VARIABLES) - MACHINE_VARIABLES == set(SECRETS)
    waves = [f"wave_{number}" for number in range(1, WAVES + 1)]
    assert list(jobs) == ["plan", *waves, "gather"]
    assert jobs["gather"]["needs"] == ["plan", *waves]
    assert f"--max-waves {WAVES} " in jobs["plan"]["steps"][-1]["run"]
    for name in (*waves, "gather"):
        passed = jobs[name]["steps"][-1]["env"]
        assert {each: passed[each] for each in SECRETS} == {each: f"${{{{ secrets.{each} }}}}" for each in SECRETS}
    assert not [value for value in jobs["plan"]["steps"][-1]["env"].values() if "secrets" in value]


def test_every_checkout_of_the_github_workflow_is_the_same_version() -> None:
    """Dependabot updates the written steps; the generated ones follow."""
    jobs = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    assert len({jobs[name]["steps"][0]["uses"] for name in jobs}) == 1


def test_github_workflow_uses_the_images_of_its_own_version() -> None:
    """The file is in the commit of a release tag, and later commits cannot change it."""
    inputs = yaml.safe_load(WORKFLOW.read_text())[True]["workflow_call"]["inputs"]
    image = f"ghcr.io/org/cml:{__version__}"
    assert (inputs["image"]["default"], inputs["gpu_image"]["default"]) == (image, f"{image}-gpu")


def test_every_variable_has_one_setting() -> None:
    settings = set(Settings._fields) - {"is_default_baseline", "given"}
    assert settings == {variable.name for variable in VARIABLES} - {"repo_token"}


def test_the_defaults_of_the_first_cml() -> None:
    settings = read_settings({}, {}, is_ci=True)
    assert settings.baseline == "origin/master"
    assert settings.repro_targets == ("Dvcfile",)
    assert settings.is_whole_project
    assert settings.metrics_diff_targets == ()
    assert settings.tag_prefix == ""
    assert settings.dvc_pull == ()
    assert write_value(settings.number_format, 0.98869997) == "0.9887"
    assert settings.push
    assert not read_settings({}, {}, is_ci=False).push
    assert (settings.comment, settings.report_name, settings.experiments) == ("update", "DVC Report", 5)


def test_every_variable_but_the_token_is_an_option() -> None:
    options = {f"--{variable.name.replace('_', '-')}=x" for variable in VARIABLES if variable.name != "repo_token"}
    parsed = vars(_parser(["run"]).parse_args(["run", *sorted(options)]))
    assert {name for name, value in parsed.items() if value == "x"} == {v.name for v in VARIABLES} - {"repo_token"}
