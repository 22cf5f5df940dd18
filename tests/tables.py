"""Writes what follows from the variable table: `python tests/tables.py` writes it anew, test_tables.py holds it."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from cml import __version__
from cml.config.variables import VARIABLES, Variable
from cml.remotes import kinds

TOP = Path(__file__).resolve().parent.parent
TEMPLATE, COMPONENT = TOP / "gitlab" / "cml.yml", TOP / "templates" / "cml.yml"
PIPELINE, PIPELINE_COMPONENT = TOP / "gitlab" / "pipeline.yml", TOP / "templates" / "pipeline.yml"
WORKFLOW = TOP / ".github" / "workflows" / "pipeline.yml"
WAVES = 8  # of a pipeline on GitHub, whose jobs are all written down before it runs
# What a machine or an image says of itself: an empty one, which an unset secret is, would hide it.
MACHINES = {
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
    *("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "SSH_AUTH_SOCK"),
    *("HADOOP_HOME", "KRB5CCNAME", "JAVA_HOME", "ARROW_LIBHDFS_DIR"),
}
SECRETS = [name for name in kinds.VARIABLES if name not in MACHINES]

# What GitLab adds to a variable's help. Its inputs have types, and YAML reads a bare `off` or 5 as no text.
NOTES = {
    "setup": "GitLab leaves `$` to the shell, which sees every variable of the job.",
    "push": "In quotes.",
    "comment": "In quotes.",
    "experiments": "In quotes.",
}


def readme_table() -> str:
    """The table of README."""
    rows = [
        f"| `{variable.name}` | {_default(variable)} | {variable.help}{_choices(variable)} |" for variable in VARIABLES
    ]
    return "\n".join(["| variable | default | what it is |", "| --- | --- | --- |", *rows])


def _default(variable: Variable) -> str:
    if variable.shown_default:
        return variable.shown_default
    return f"`{variable.default}`" if variable.default else ""


def _choices(variable: Variable) -> str:
    return f" One of {', '.join(f'`{choice}`' for choice in variable.choices)}." if variable.choices else ""


def with_table(text: str) -> str:
    """README with the table between its marks."""
    return _between(
        text, "<!-- variables: written from cml/config/variables.py -->", "<!-- /variables -->", readme_table()
    )


def action_inputs() -> str:
    """The inputs of action.yml. None has a default of its own, so that an input left out leaves `env:` its say."""
    return "\n".join(_action_input(variable) for variable in VARIABLES)


def _action_input(variable: Variable) -> str:
    lines = _described(variable, f"{variable.help}{_choices(variable)}", indent=2)
    if variable.name == "repo_token":
        lines.append("    default: ${{ github.token }}")
    return "\n".join(lines)


def _described(variable: Variable, text: str, *, indent: int) -> list[str]:
    """An input's name and description as lines of YAML."""
    default = f" Default: {_default(variable)}." if _default(variable) else ""
    margin = " " * (indent + 4)
    folded = textwrap.fill(
        f"{text}{default}", width=118, initial_indent=margin, subsequent_indent=margin, break_on_hyphens=False
    )
    return [f"{' ' * indent}{variable.name}:", f"{' ' * indent}  description: >-", folded]


def with_inputs(text: str) -> str:
    """action.yml with the inputs between their marks."""
    return _between(text, "# variables: written from cml/config/variables.py", "  # /variables", action_inputs())


def template_inputs() -> str:
    """The inputs of the GitLab template: no secret, and all empty, so that one left out leaves `variables:` its say."""
    return "\n".join(_template_input(variable) for variable in VARIABLES if variable.is_option)


def _template_input(variable: Variable) -> str:
    note = f" {NOTES[variable.name]}" if variable.name in NOTES else ""
    options = ("true", "false") if variable.kind == "boolean" else variable.choices
    lines = _described(variable, f"{variable.help}{note}", indent=4)
    lines.append('      default: ""')
    if options:
        lines.append(f"      options: [{', '.join(json.dumps(option) for option in ('', *options))}]")
    return "\n".join(lines)


def template_variables() -> str:
    """The job variables that hand the inputs on."""
    return "\n".join(_template_variable(variable) for variable in VARIABLES if variable.is_option)


def _template_variable(variable: Variable) -> str:
    name, value = f"    INPUT_{variable.name.upper()}:", f"$[[ inputs.{variable.name} ]]"
    # `$` is the shell's in lines, and a currency's in numeral.js's grammar.
    if variable.kind == "lines" or variable.name == "metrics_format":
        return f"{name}\n      value: {value}\n      expand: false"
    return f"{name} {value}"


def with_template(text: str) -> str:
    """A template of gitlab/ with inputs and job variables between their marks."""
    text = _between(text, "# inputs: written from cml/config/variables.py", "    # /inputs", template_inputs())
    return _between(text, "# variables: written from cml/config/variables.py", "    # /variables", template_variables())


def workflow_inputs() -> str:
    """The inputs of the reusable workflow: all empty, as the template's."""
    return "\n".join(
        "\n".join(
            [
                *_described(variable, f"{variable.help}{_choices(variable)}", indent=6),
                "        type: string",
                '        default: ""',
            ]
        )
        for variable in VARIABLES
        if variable.is_option
    )


def workflow_images() -> str:
    """The inputs for the images of this very version: no commit of ours can name another one's workflow anew."""
    lines = []
    for name, what, flavor in (
        ("image", "Image of the jobs.", ""),
        ("gpu_image", "Image of those with a GPU.", "-gpu"),
    ):
        lines += [f"      {name}:", f"        description: {what}", "        type: string"]
        lines.append(f"        default: ghcr.io/org/cml:{__version__}{flavor}")
    return "\n".join(lines)


def workflow_secrets() -> str:
    """The secrets that a caller may hand over."""
    return "\n".join(f"      {name}:\n        required: false" for name in SECRETS)


def workflow_env() -> str:
    """The environment of every job: the inputs."""
    return "\n".join(
        f"  INPUT_{variable.name.upper()}: ${{{{ inputs.{variable.name} }}}}"
        for variable in VARIABLES
        if variable.is_option
    )


def workflow_credentials() -> str:
    """The environment of a step that meets the DVC remote."""
    return "\n".join(f"          {name}: ${{{{ secrets.{name} }}}}" for name in SECRETS)


def workflow_waves() -> str:
    """The jobs that do a plan: each a matrix of what can run at the same time, after the one before."""
    return "\n\n".join(_wave(number) for number in range(1, WAVES + 1))


def _wave(number: int) -> str:
    needs = "plan" if number == 1 else f"[plan, wave_{number - 1}]"
    return f"""\
  wave_{number}:
    needs: {needs}
    if: needs.plan.outputs.wave_{number} # and what it needs has succeeded
    strategy:
      fail-fast: false # what its siblings do is kept
      matrix: ${{{{ fromJSON(needs.plan.outputs.wave_{number}) }}}}
    name: ${{{{ matrix.name }}}}
    runs-on: ${{{{ matrix.runs_on[0] && matrix.runs_on || fromJSON(matrix.gpu && inputs.gpu_runs_on || inputs.runs_on) }}}}
    timeout-minutes: ${{{{ matrix.timeout || 360 }}}}
    container:
      image: ${{{{ matrix.gpu && inputs.gpu_image || inputs.image }}}}
      options: ${{{{ matrix.gpu && '--gpus all' || '' }}}}
    permissions:
      contents: read # for checkout
    steps:
      - uses: actions/checkout@v5
        with:
          persist-credentials: false # no stage needs git's
      - run: cml run "--stages=$STAGES"
        env:
          STAGES: ${{{{ matrix.stages }}}}
          repo_token: ${{{{ github.token }}}}
{workflow_credentials()}"""


def with_workflow(text: str) -> str:
    """pipeline.yml with all that follows from the tables between its marks."""
    for mark, indent, middle in (
        ("inputs: written from cml/config/variables.py", 6, workflow_inputs()),
        ("images: written from cml/__init__.py", 6, workflow_images()),
        ("secrets: written from cml/remotes/kinds.py", 6, workflow_secrets()),
        ("env: written from cml/config/variables.py", 2, workflow_env()),
        ("outputs: written from tests/tables.py", 6, _outputs()),
        ("waves: written from tests/tables.py", 2, workflow_waves()),
        ("credentials: written from cml/remotes/kinds.py", 10, workflow_credentials()),
    ):
        text = _between(text, f"# {mark}", f"{' ' * indent}# /{mark.partition(':')[0]}", middle)
    return text


def _outputs() -> str:
    return "\n".join(f"      wave_{n}: ${{{{ steps.plan.outputs.wave_{n} }}}}" for n in range(1, WAVES + 1))


def _between(text: str, begin: str, end: str, middle: str) -> str:
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{middle}\n{end}{after}"


def main() -> None:
    for path, write in (
        (TOP / "README.md", with_table),
        (TOP / "action.yml", with_inputs),
        (TEMPLATE, with_template),
        (PIPELINE, with_template),
        (WORKFLOW, with_workflow),
    ):
        path.write_text(write(path.read_text()))
    COMPONENT.write_text(TEMPLATE.read_text())
    PIPELINE_COMPONENT.write_text(PIPELINE.read_text())


if __name__ == "__main__":
    main()
