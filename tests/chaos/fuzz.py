"""Coverage-guided fuzzing of the functions that read foreign input: `python tests/chaos/fuzz.py TARGET SECONDS`.

It needs atheris (`make chaos` installs it). A target must return or raise an error of its documented type. Anything else
stops the fuzzer and saves the input that caused it. Interesting inputs are kept in `.chaos/corpus`.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[1]))

with atheris.instrument_imports(include=["cml"]):
    from cml.config.gates import parse_rules
    from cml.config.number_format import NumberFormat
    from cml.config.settings import read_settings
    from cml.config.variables import VARIABLES
    from cml.errors import BadInput, WorkFailed
    from cml.forges.github.context import read_context as read_event
    from cml.forges.gitlab.context import read_context as read_pipeline
    from cml.git.trailers import head_of_results, key_of_results, scope_of_results, skip_reason
    from cml.model.json import read_report
    from cml.process.masking import Masks
    from cml.remotes.kinds import holds_secret
    from cml.report.escape import cell, code, fence, guard_commands, mermaid_label, text
    from cml.report.number_writer import write_value

from chaos.figures import count
from chaos.size import SEED

TOP = Path(__file__).parents[2]
CORPUS = TOP / ".chaos" / "corpus"
COUNT_EVERY = 1000  # inputs
Provider = Any  # atheris.FuzzedDataProvider, which has no type hints


def words(data: Provider, longest: int = 60) -> str:
    return str(data.ConsumeUnicode(data.ConsumeIntInRange(0, longest)))


def settings(data: Provider) -> None:
    names = [variable.name for variable in VARIABLES]
    environment = {names[data.ConsumeIntInRange(0, len(names) - 1)]: words(data) for _ in range(3)}
    read_settings(environment, {}, is_ci=data.ConsumeBool())


def events(data: Provider) -> None:
    names = ["push", "pull_request", "workflow_run", "schedule", "merge_group", ""]
    environment = {
        "GITHUB_EVENT_NAME": data.PickValueInList(names),
        "GITHUB_REPOSITORY": "ada/digits",
        "GITHUB_REF": words(data),
    }
    read_event(environment, words(data, 4096))


def pipelines(data: Provider) -> None:
    names = ["CI_MERGE_REQUEST_IID", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME"]
    names += ["CI_COMMIT_SHA", "CI_COMMIT_TAG", "CI_OPEN_MERGE_REQUESTS", "CI_PROJECT_PATH"]
    read_pipeline({name: words(data) for name in names if data.ConsumeBool()})


def formats(data: Provider) -> None:
    number = NumberFormat.parse(words(data, 24))
    for value in (data.ConsumeFloat(), data.ConsumeInt(9), words(data)):
        write_value(number, value, locale="en")


def rules(data: Provider) -> None:
    parse_rules(words(data, 200))


def saved(data: Provider) -> None:
    read_report(words(data, 4096))


def markup(data: Provider) -> None:
    value = words(data, 300)
    for write in (text, cell, code, mermaid_label, guard_commands):
        assert "\n" not in write(value) or write is guard_commands
    assert fence([value]).count("\n") >= 2


def masks(data: Provider) -> None:
    secret = words(data, 40)
    masked = Masks.from_environment({"MY_TOKEN": secret}, holds_secret=holds_secret).mask(f"a {secret} b")
    assert len(secret.strip()) < 6 or not secret.strip("* \n\t") or secret.strip() not in masked or "*" in secret, (
        masked
    )


def skips(data: Provider) -> None:
    message = words(data, 300)
    (
        skip_reason(message, is_requested=data.ConsumeBool()),
        head_of_results(message),
        key_of_results(message),
        scope_of_results(message),
    )


TARGETS: dict[str, tuple[Callable[[Provider], None], tuple[type[Exception], ...]]] = {
    "settings": (settings, (BadInput,)),
    "events": (events, (BadInput,)),
    "pipelines": (pipelines, (BadInput,)),
    "formats": (formats, (ValueError,)),
    "rules": (rules, (ValueError,)),
    "saved": (saved, (ValueError,)),
    "markup": (markup, ()),
    "masks": (masks, ()),
    "skips": (skips, (WorkFailed,)),
}


def main() -> None:
    name, seconds = sys.argv[1], sys.argv[2]
    target, allowed = TARGETS[name]
    inputs = 0

    def one(data: bytes) -> None:
        nonlocal inputs
        inputs += 1
        # The fuzzer ends the process itself, so nothing can be counted after it.
        if inputs % COUNT_EVERY == 0:
            count("fuzz", inputs=COUNT_EVERY)
        try:
            target(atheris.FuzzedDataProvider(data))
        except allowed as error:
            assert not isinstance(error, BadInput) or len(str(error).splitlines()) == 1, str(error)

    corpus = CORPUS / name
    corpus.mkdir(parents=True, exist_ok=True)
    (corpus / "seed").write_bytes(json.dumps({"pull_request": {"number": 1}}).encode())
    options = [f"-max_total_time={seconds}", f"-seed={SEED}", "-print_final_stats=0", "-verbosity=0", "-timeout=20"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={corpus}-", str(corpus)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    os.chdir(TOP)
    main()
