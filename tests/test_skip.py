"""Which commits are skipped, and on which events."""

from __future__ import annotations

import re

import pytest
from support.world import World

from cml.git.trailers import head_of_results, key_of_results, results_message, scope_of_results, skip_reason

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("word", ["[ci skip]", "[skip ci]", "[no ci]", "[skip actions]", "[actions skip]", "[CI Skip]"])
def test_a_skip_word_anywhere_in_the_message_skips(word: str) -> None:
    assert skip_reason(f"Words {word}") is not None
    assert skip_reason(f"Words\n\nand more\n{word}") is not None


def test_our_trailer_skips_and_a_quoted_one_does_not() -> None:
    assert skip_reason(f"Update DVC results\n\nCML-Run: {SHA}\n") is not None
    assert skip_reason(f"Words\n\nSigned-off-by: Ada <a@example.invalid>\nCML-Run: {SHA}") is not None
    assert skip_reason(f"About trailers\n\nCML-Run: {SHA}\n\nidentifies a run") is None


@pytest.mark.parametrize("message", ["", "skip ci", "[ci-skip]", "CML-Run: later", "[skip] ci"])
def test_other_messages_do_not_skip(message: str) -> None:
    assert skip_reason(message) is None


def test_the_reason_for_a_skip_is_given() -> None:
    assert skip_reason("Words [CI skip]") == "[ci skip] in the commit message"
    assert skip_reason(results_message("Words", head=SHA, key="0a", scope="1b")) == (
        "the commit contains the results of another run (CML-Run trailer)"
    )


def test_a_results_commit_has_head_key_and_scope() -> None:
    message = results_message("Update", head=SHA, key="0a1b", scope="2c3d")
    assert message == f"Update\n\nCML-Work: 0a1b 2c3d\nCML-Run: {SHA}\n"
    assert (head_of_results(message), key_of_results(message), scope_of_results(message)) == (SHA, "0a1b", "2c3d")
    older = f"Update\n\nCML-Run: {SHA}\n"
    assert (head_of_results(older), key_of_results(older), scope_of_results(older)) == (SHA, None, None)
    assert head_of_results("Update") is None


@pytest.mark.parametrize("place", [{"GITHUB_ACTIONS": "true"}, {"GITLAB_CI": "true"}])
def test_in_ci_a_run_is_skipped_with_its_outputs(world: World, place: dict[str, str]) -> None:
    sha = world.commit("Only words [skip ci]")
    done = world.cml("run", env={"repo_token": "token-of-the-job", **place})
    assert done.code == 0, done.err
    assert "[skip ci]" in done.err
    assert world.outputs()["skipped"] == "true"
    assert world.outputs()["sha"] == sha
    assert not (world.project / "model.bin").exists()


def test_no_run_is_skipped_on_a_laptop(world: World) -> None:
    world.commit("Only words [skip ci]")
    done = world.cml("run")
    assert done.code == 0, done.err
    assert world.outputs()["skipped"] == "false"
    assert (world.project / "model.bin").exists()


def test_in_ci_a_run_for_our_results_commit_is_skipped(trained_world: World) -> None:
    done = trained_world.cml("run", env={"GITLAB_CI": "true", "CI_JOB_TOKEN": "token-of-the-job"})
    assert done.code == 0, done.err
    assert trained_world.outputs()["skipped"] == "true"


def test_a_squash_merge_that_quotes_our_message_is_not_skipped() -> None:
    assert skip_reason(f"Feature (#7)\n\n* Try a rate\n\n* Update DVC results\n\nCML-Run: {SHA}") is None


def test_a_run_that_a_person_asked_for_is_not_skipped_for_our_trailer() -> None:
    assert skip_reason(f"Update DVC results\n\nCML-Run: {SHA}", is_requested=True) is None
    assert skip_reason("Words [skip ci]", is_requested=True) is not None


@pytest.mark.parametrize("depth", [1, 20])
def test_results_of_another_part_of_the_repository_do_not_skip_a_job(trained_world: World, depth: int) -> None:
    world = trained_world
    ci = {"GITLAB_CI": "true", "CI_JOB_TOKEN": "token-of-the-job", "push": "false"}
    clone = world.folder / "clone"
    world.git("clone", "--quiet", f"--depth={depth}", f"file://{world.origin}", str(clone), cwd=world.folder)
    world.dvc("remote", "modify", "--quiet", "--local", "storage", "url", str(world.storage), cwd=clone)
    other = world.cml("run", cwd=clone, env={**ci, "repro_targets": "prepare"})
    assert other.code == 0, other.err
    assert "CML_SKIPPED=false" in (clone / "cml-report" / "cml.env").read_text()
    same = world.cml("run", cwd=clone, env=ci)
    assert "CML_SKIPPED=true" in (clone / "cml-report" / "cml.env").read_text(), same.err


def test_results_below_those_of_another_job_skip_a_job(trained_world: World) -> None:
    world = trained_world
    results = world.git("log", "-1", "--format=%B")
    theirs = results.replace(re.search(r"CML-Work: \w+ (\w+)", results)[1], "0123abcd")  # type: ignore[index]
    world.git("commit", "--quiet", "--allow-empty", "--message", theirs)
    world.git("push", "--quiet", "origin", "HEAD")
    done = world.cml("run", env={"GITLAB_CI": "true", "CI_JOB_TOKEN": "token-of-the-job"})
    assert done.code == 0, done.err
    assert world.outputs()["skipped"] == "true"
