"""Writes the inputs, secrets, images and jobs of the reusable GitHub workflow (.github/workflows/pipeline.yml)."""

from __future__ import annotations

import re

from cml import __version__
from cml.config.variables import VARIABLES
from cml.remotes import kinds
from scripts.sections import choices_in_words, description_lines, replace_section

SCRIPT = "scripts/github_workflow.py"
WAVES = 8  # GitHub wants all jobs of a workflow written down before it runs
# The machine or the image sets these. An unset secret is an empty variable, and that would hide their value.
MACHINE_VARIABLES = {
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "SSH_AUTH_SOCK",
    "HADOOP_HOME",
    "KRB5CCNAME",
    "JAVA_HOME",
    "ARROW_LIBHDFS_DIR",
}
SECRETS = [name for name in kinds.CREDENTIAL_VARIABLES if name not in MACHINE_VARIABLES]
OPTIONS = [variable for variable in VARIABLES if variable.is_option]


def generate(text: str) -> str:
    """Returns pipeline.yml with all its sections up to date."""
    sections = {
        "inputs": _inputs(),
        "images": _images(),
        "secrets": _secrets(),
        "env": _env(),
        "outputs": _outputs(),
        "waves": _waves(checkout=_checkout(text)),
        "credentials": _credentials(),
    }
    for name, content in sections.items():
        text = replace_section(text, name=name, script=SCRIPT, content=content)
    return text


def _inputs() -> str:
    """All inputs are empty by default, as those of the GitLab template."""
    lines: list[str] = []
    for variable in OPTIONS:
        lines += description_lines(variable, f"{variable.help}{choices_in_words(variable)}", indent=6)
        lines += ["        type: string", '        default: ""']
    return "\n".join(lines)


def _images() -> str:
    """The images of exactly this version: a later release must not change the jobs of an earlier one."""
    lines: list[str] = []
    for name, description, flavor in (
        ("image", "Image of the jobs.", ""),
        ("gpu_image", "Image of the jobs with a GPU.", "-gpu"),
    ):
        lines += [f"      {name}:", f"        description: {description}", "        type: string"]
        lines.append(f"        default: ghcr.io/org/cml:{__version__}{flavor}")
    return "\n".join(lines)


def _secrets() -> str:
    return "\n".join(f"      {name}:\n        required: false" for name in SECRETS)


def _env() -> str:
    """The environment of every job: the inputs."""
    return "\n".join(f"  INPUT_{option.name.upper()}: ${{{{ inputs.{option.name} }}}}" for option in OPTIONS)


def _outputs() -> str:
    return "\n".join(f"      wave_{number}: ${{{{ steps.plan.outputs.wave_{number} }}}}" for number in _numbers())


def _credentials() -> str:
    """The environment of a step that reads or writes the DVC remote."""
    return "\n".join(f"          {name}: ${{{{ secrets.{name} }}}}" for name in SECRETS)


def _checkout(text: str) -> str:
    """Returns the `uses:` of the job `plan`, so that an update of that pin reaches the generated jobs too."""
    found = re.search(r"- uses: (actions/checkout@.*)", text)
    if not found:
        raise ValueError("pipeline.yml has no step that uses actions/checkout")
    return found[1]


def _waves(*, checkout: str) -> str:
    """The jobs of a plan: each wave is a matrix of jobs that can run at the same time, after the wave before."""
    return "\n\n".join(_wave(number, checkout=checkout) for number in _numbers())


def _numbers() -> range:
    return range(1, WAVES + 1)


def _wave(number: int, *, checkout: str) -> str:
    needs = "plan" if number == 1 else f"[plan, wave_{number - 1}]"
    runs_on = "fromJSON(matrix.gpu && inputs.gpu_runs_on || inputs.runs_on)"
    return f"""\
  wave_{number}:
    needs: {needs}
    if: needs.plan.outputs.wave_{number} # and the wave before has succeeded
    strategy:
      fail-fast: false # the other jobs finish and keep their results
      matrix: ${{{{ fromJSON(needs.plan.outputs.wave_{number}) }}}}
    name: ${{{{ matrix.name }}}}
    runs-on: ${{{{ matrix.runs_on[0] && matrix.runs_on || {runs_on} }}}}
    timeout-minutes: ${{{{ matrix.timeout || 360 }}}}
    container:
      image: ${{{{ matrix.gpu && inputs.gpu_image || inputs.image }}}}
      options: ${{{{ matrix.gpu && '--gpus all' || '' }}}}
    permissions:
      contents: read # for checkout
    steps:
      - uses: {checkout}
        with:
          persist-credentials: false # no stage needs the git credentials
      - run: cml run "--stages=$STAGES"
        env:
          STAGES: ${{{{ matrix.stages }}}}
          repo_token: ${{{{ github.token }}}}
{_credentials()}"""
