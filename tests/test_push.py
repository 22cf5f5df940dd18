"""How results are committed and pushed: git and DVC are real; servers that do not answer, and pauses, are simulated."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dvc.utils.serialize import dumps_yaml, parse_yaml
from support.small_world import dvc_yaml, kept_in_git, make_small_world
from support.world import World

from cml.dvc.project import Project
from cml.errors import WorkFailed
from cml.git.command import GitFailed
from cml.git.remote import PushOutcome
from cml.git.repository import Repository
from cml.git.trailers import results_message
from cml.process.log import Log
from cml.process.masking import Masks
from cml.run.origin import ResultsExist, ask_push, check_existing_results, fetch_branch
from cml.run.outcome import Saved
from cml.run.save import Results, Saver, save_data

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # of DVC's own
DATE = "2024-05-06T07:08:09+00:00"
PATHS = [".gitignore", "dvc.lock", "m.json"]
KEY, SCOPE = "0a1b2c3d", "4e5f"
BEHIND = PushOutcome(is_done=False, is_behind=True, reason="the branch has new commits")
UNANSWERED = PushOutcome(is_done=False, is_unanswered=True, reason="early EOF")
FILES = {
    ".gitignore": "/a\n/b\n/c\n/d\n",
    "in.txt": "1\n",
    "third.txt": "3\n",
    "dvc.yaml": dvc_yaml(
        train={"cmd": "cp in.txt weights; cp in.txt m.json", "deps": ["in.txt"], "outs": ["weights"]}
        | {"metrics": kept_in_git("m.json")},
        other={"cmd": "cat m.json in.txt > o.txt", "deps": ["m.json"], "outs": ["o.txt"]},
        third={"cmd": "cp third.txt t.txt", "deps": ["third.txt"], "outs": ["t.txt"]},
    ),
}


class Origin(Repository):
    """A repository whose pushes and fetches have the outcomes that a test sets, one after another, and real ones after
    that. The answer of a "lost" push does not arrive, but the push is done.
    """

    pushes: list[PushOutcome | str]
    fetches: list[bool]
    fails = 0

    def push(self, sha: str, *, branch: str, tag: str | None) -> PushOutcome:
        said = self.pushes.pop(0) if self.pushes else ""
        if isinstance(said, PushOutcome):
            return said
        done = super().push(sha, branch=branch, tag=tag)
        return UNANSWERED if said == "lost" else done

    def try_push(self, sha: str, branch: str) -> PushOutcome:
        said = self.pushes.pop(0) if self.pushes else ""
        return said if isinstance(said, PushOutcome) else super().try_push(sha, branch)

    def fetch(self, *refspecs: str, deepen: int | None = None, tip_only: bool = False) -> bool:
        if self.fetches and not self.fetches.pop(0):
            return False
        return super().fetch(*refspecs, deepen=deepen, tip_only=tip_only)

    def remote_tip(self, branch: str) -> str | None:
        if self.fails:
            self.fails -= 1
            raise GitFailed("early EOF")
        return super().remote_tip(branch)


@dataclass
class Save:
    """A run that has results and is about to save them. `slept` are the seconds that it would have waited."""

    world: World
    repository: Origin
    pipeline: Project
    log: Log
    head: str
    slept: list[float] = field(default_factory=list)
    bounds: list[tuple[float, float]] = field(default_factory=list)

    def commit(self, **changed: Any) -> Saved:
        options: dict[str, Any] = {"head": self.head, "paths": tuple(PATHS), "branch": "main", "is_new_branch": False}
        options |= {"tag_prefix": "dvc_", "subject": "Update", "key": KEY, "scope": SCOPE, "use_existing": True}
        options |= {"identity": None, "advice": "ask Ada"}
        results = Results(**{**options, **changed})
        return Saver(self.repository, self.pipeline, self.log, results).save()

    def others(self, files: dict[str, str], message: str = "Meanwhile", *, removed: str = "") -> str:
        """Pushes a commit to main from another clone; returns it."""
        clone = self.world.folder / "others"
        if not clone.exists():
            self.world.clone("others")
        self.world.write(files, cwd=clone)
        if removed:
            (clone / removed).unlink()
        self.world.git("add", "--all", cwd=clone)
        self.world.git("commit", "--quiet", "--allow-empty", "--message", message, cwd=clone)
        self.world.git("push", "--quiet", "origin", "HEAD", cwd=clone)
        return self.world.tip()

    def at_origin(self, path: str) -> str:
        return self.world.git("show", f"main:{path}", cwd=self.world.origin)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    world = make_small_world(tmp_path_factory.mktemp("made"), FILES)
    world.dvc("repro", "--quiet", "third")
    world.commit("Third")
    world.dvc("repro", "--quiet")
    return world


@pytest.fixture
def save(made: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Save]:
    world = World(Path(shutil.copytree(made.folder, tmp_path / "world", symlinks=True)))
    dates = {"GIT_AUTHOR_DATE": DATE, "GIT_COMMITTER_DATE": DATE}
    for name, value in world.environment(dates).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(world.project)
    log = Log(Masks())
    repository = Origin(world.project)
    repository.pushes, repository.fetches = [], []
    pipeline = Project.open(world.project, top=world.project, log=log)
    found = Save(world, repository, pipeline, log, world.git("rev-parse", "HEAD"))

    def uniform(least: float, most: float) -> float:
        found.bounds.append((least, most))
        return most

    # Only in these two modules: subprocess sleeps, too.
    fake_time = SimpleNamespace(sleep=found.slept.append, monotonic=time.monotonic)
    monkeypatch.setattr("cml.run.save.time", fake_time)
    monkeypatch.setattr("cml.process.retry.time", fake_time)
    monkeypatch.setattr("cml.run.save.random", SimpleNamespace(uniform=uniform))
    yield found
    pipeline.close()


# Commit and push


def test_one_commit_and_one_tag_are_pushed_and_checked_out(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    saved = save.commit()
    assert saved == Saved(sha=save.world.tip(), tag=f"dvc_{save.world.tip()[:7]}")
    assert save.world.tags() == [saved.tag]
    assert save.world.git("rev-parse", saved.tag) == saved.sha, "the clone has the tag, too"
    message = save.world.git("log", "-1", "--format=%B", saved.sha)
    assert message + "\n" == results_message("Update", head=save.head, key=KEY, scope=SCOPE)
    assert save.world.git("rev-parse", "HEAD~1") == save.head
    assert save.world.git("status", "--porcelain") == ""
    assert capsys.readouterr().err.count(f"{saved.sha[:7]} pushed to main with tag {saved.tag} (") == 1
    assert save.slept == []


def test_without_a_prefix_there_is_no_tag(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    saved = save.commit(tag_prefix="")
    assert (saved.tag, save.world.tags()) == ("", [])
    assert save.world.git("tag", "--list") == ""
    assert capsys.readouterr().err.count(f"{saved.sha[:7]} pushed to main (") == 1


def test_a_work_tree_on_another_branch_is_not_changed(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    save.world.git("switch", "--quiet", "--create", "mine")
    saved = save.commit()
    assert save.world.git("rev-parse", "HEAD") == save.head
    assert saved.sha == save.world.tip()
    assert "; your work tree was not updated: git pull" in capsys.readouterr().err


@pytest.mark.parametrize("is_right", [True, False])
def test_a_tag_that_exists_is_used_only_at_the_same_commit(save: Save, *, is_right: bool) -> None:
    message = results_message("Update", head=save.head, key=KEY, scope=SCOPE)
    sha = save.repository.commit_files(PATHS, parent=save.head, message=message, identity=None)
    save.world.git("tag", f"dvc_{sha[:7]}", sha if is_right else save.head)
    if is_right:
        assert save.commit().sha == sha
    else:
        with pytest.raises(WorkFailed, match="exists at another commit"):
            save.commit()
        assert save.world.tip() == save.head


def test_a_branch_that_does_not_exist_is_created_only_if_it_is_new(save: Save) -> None:
    save.world.git("update-ref", "-d", "refs/heads/main", cwd=save.world.origin)
    with pytest.raises(WorkFailed, match="the branch main no longer exists on origin"):
        save.commit()
    assert save.commit(is_new_branch=True).sha == save.world.tip()


def test_a_refused_push_is_reported_with_advice(save: Save) -> None:
    hook = save.world.origin / "hooks" / "pre-receive"
    hook.write_text("#!/bin/sh\necho not on Fridays >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(WorkFailed, match=r"refuses the push to main: .*not on Fridays.*ask Ada") as caught:
        save.commit()
    assert caught.value.step == "push"
    assert save.slept == []


# Origin does not answer


@pytest.mark.parametrize("unanswered", [1, 3])
def test_a_push_without_an_answer_is_retried(save: Save, unanswered: int, capsys: pytest.CaptureFixture[str]) -> None:
    save.repository.pushes = [UNANSWERED] * unanswered
    assert save.commit().sha == save.world.tip()
    assert save.slept == [1.0, 3.0, 9.0][:unanswered]
    assert capsys.readouterr().err.count("origin did not answer (early EOF): pushing again") == unanswered


def test_a_push_without_an_answer_is_given_up(save: Save) -> None:
    save.repository.pushes = [UNANSWERED] * 9
    with pytest.raises(WorkFailed, match="early EOF"):
        save.commit()
    assert (len(save.repository.pushes), save.slept) == (5, [1.0, 3.0, 9.0])


def test_a_push_whose_answer_was_lost_is_not_retried(save: Save) -> None:
    save.repository.pushes = ["lost", BEHIND]
    saved = save.commit()
    assert saved.sha == save.world.tip()
    assert save.repository.pushes == [BEHIND]
    assert save.world.git("rev-parse", "HEAD") == saved.sha


@pytest.mark.parametrize("fails", [1, 3, 4])
def test_a_question_without_an_answer_is_retried(save: Save, fails: int) -> None:
    save.repository.fails = fails
    if fails < 4:
        assert save.commit().sha == save.world.tip()
    else:
        with pytest.raises(WorkFailed, match="origin cannot be reached: early EOF") as caught:
            save.commit()
        assert caught.value.step == "push"
    assert save.slept == [1.0, 3.0, 9.0][:fails]


@pytest.mark.parametrize("unanswered", [0, 2, 3, 4])
def test_a_dry_run_of_the_push_is_retried(save: Save, unanswered: int) -> None:
    save.repository.pushes = [UNANSWERED] * unanswered
    found = ask_push(save.repository, head=save.head, branch="main")
    assert (found.is_done, found.is_unanswered) == (unanswered < 4, unanswered == 4)
    assert save.slept == [1.0, 3.0, 9.0][:unanswered]
    assert save.repository.pushes == []


# Others pushed to the branch


def test_results_are_committed_on_top_of_new_commits(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    tip = save.others({"README.md": "words\n"})
    saved = save.commit()
    assert save.world.tip() == saved.sha
    assert save.world.git("rev-parse", f"{saved.sha}~1") == tip
    assert (save.at_origin("README.md"), save.at_origin("m.json")) == ("words", "1")
    message = save.world.git("log", "-1", "--format=%B", saved.sha)
    assert message + "\n" == results_message("Update", head=save.head, key=KEY, scope=SCOPE)
    assert f"main has new commits: the results are committed on top of {tip[:7]}" in capsys.readouterr().err
    assert save.bounds == [(0, 0.1)]
    assert save.slept == [0.1]


def test_too_many_new_commits_end_the_run(save: Save) -> None:
    save.repository.pushes = [BEHIND] * 20
    with pytest.raises(WorkFailed, match="before each of 16 attempts") as caught:
        save.commit()
    assert caught.value.step == "push"
    assert save.slept == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, *[4.0] * 10])
    assert {least for least, _ in save.bounds} == {0}


@pytest.mark.parametrize(
    ("of", "key", "use_existing", "is_duplicate"),
    [
        ("head", KEY, True, True),
        ("head", "ffff", True, False),
        ("first", KEY, True, False),
        ("head", KEY, False, False),
    ],
)
def test_results_of_a_duplicate_run_are_kept(
    save: Save, of: str, key: str, *, use_existing: bool, is_duplicate: bool
) -> None:
    first = save.world.git("rev-parse", "HEAD~1")
    message = results_message("Update", head={"head": save.head, "first": first}[of], key=key, scope=SCOPE)
    tip = save.others({"README.md": "words\n"}, message)
    save.others({"README.md": "more words\n"})
    if is_duplicate:
        with pytest.raises(ResultsExist) as caught:
            save.commit(use_existing=use_existing)
        assert (caught.value.sha, str(caught.value)) == (tip, tip)
    else:
        assert save.commit(use_existing=use_existing).sha == save.world.tip()
        check_existing_results(save.repository, head=save.head, tip=save.head, key=KEY)


def test_the_fetched_branch_must_contain_the_head(save: Save) -> None:
    tip = save.others({"README.md": "words\n"})
    assert fetch_branch(save.repository, branch="main", head=save.head) == tip
    save.repository.fetches = [False]
    assert fetch_branch(save.repository, branch="main", head=save.head) == tip, "asked twice"
    save.repository.fetches = [False, False]
    with pytest.raises(WorkFailed, match="cannot fetch the branch main from origin"):
        fetch_branch(save.repository, branch="main", head=save.head)
    save.world.git("update-ref", "refs/heads/main", f"{save.head}~1", cwd=save.world.origin)
    with pytest.raises(WorkFailed, match=f"does not contain {save.head[:7]}"):
        fetch_branch(save.repository, branch="main", head=save.head)
    save.world.git("update-ref", "-d", "refs/heads/main", cwd=save.world.origin)
    with pytest.raises(WorkFailed, match="the branch main no longer exists on origin"):
        fetch_branch(save.repository, branch="main", head=save.head)


# Two sides of one file


def refused(save: Save, match: str) -> None:
    tip = save.world.tip()
    with pytest.raises(WorkFailed, match=match) as caught:
        save.commit()
    assert caught.value.step == "push"
    assert save.world.tip() == tip
    assert save.world.tags() == []


def test_the_same_result_on_both_sides_is_accepted(save: Save) -> None:
    save.others({"m.json": "1\n"})
    save.commit()
    assert save.at_origin("m.json") == "1"


def test_another_result_of_the_same_stage_is_refused(save: Save) -> None:
    save.others({"m.json": "2\n"})
    refused(save, "main has new commits that change m.json")


@pytest.mark.parametrize("path", [".gitignore", "dvc.lock"])
def test_a_file_of_dvc_that_others_removed_is_refused(save: Save, path: str) -> None:
    save.others({}, removed=path)
    refused(save, f"main has new commits that change {path}")


@pytest.mark.parametrize("path", [".gitignore", "dvc.lock"])
def test_a_file_of_dvc_that_was_removed_here_is_refused(save: Save, path: str) -> None:
    (save.world.project / path).unlink()
    save.others({path: save.at_origin(path).replace("t.txt", "u.txt") + "\n"})
    refused(save, f"main has new commits that change {path}")


def test_lines_that_others_removed_stay_removed(save: Save) -> None:
    save.others({".gitignore": "/b\n/c\n/d\n/t.txt\n"})
    save.commit()
    assert sorted(save.at_origin(".gitignore").split()) == ["/b", "/c", "/d", "/o.txt", "/t.txt", "/weights"]


def test_a_file_that_both_sides_created_is_merged(save: Save) -> None:
    """The head commit has no .gitignore and no dvc.lock."""
    world, lock = save.world, (save.world.project / "dvc.lock").read_text()
    save.others({}, removed=".gitignore")
    save.others({}, removed="dvc.lock")
    world.git("fetch", "--quiet")
    world.git("reset", "--quiet", "origin/main")
    save.head = world.tip()
    world.write({"dvc.lock": locked(lock, "train", "other")})
    save.others({".gitignore": "/theirs\n", "dvc.lock": locked(lock, "third")})
    save.commit()
    assert {"/theirs", "/weights", "/o.txt"} < set(save.at_origin(".gitignore").split())
    assert set(parse_yaml(save.at_origin("dvc.lock"), "dvc.lock")["stages"]) == {"train", "other", "third"}


def locked(lock: str, *names: str) -> str:
    """Returns the text of a lock file with only these stages."""
    document = parse_yaml(lock, "dvc.lock")
    return str(dumps_yaml({**document, "stages": {name: document["stages"][name] for name in names}}))


# Inputs that others changed


def test_results_for_a_changed_input_are_refused(save: Save) -> None:
    save.others({"in.txt": "2\n"})
    refused(save, "change inputs of train")


def test_an_input_of_a_stage_that_was_not_run_may_change(save: Save) -> None:
    save.others({"third.txt": "4\n"})
    assert save.commit().sha == save.world.tip()


def test_results_that_others_have_pushed_already_are_not_checked(save: Save) -> None:
    project = save.world.project
    save.others({name: (project / name).read_text() for name in ("dvc.lock", "m.json")})
    save.others({"in.txt": "2\n"})
    assert save.commit().sha == save.world.tip()


# Data


def test_data_is_uploaded_and_checked(save: Save, capsys: pytest.CaptureFixture[str]) -> None:
    save_data(save.pipeline, save.log, head=save.head, upload=True)
    assert re.fullmatch(r"data +[1-9]\d* files uploaded \(.*\n", capsys.readouterr().err)
    save_data(save.pipeline, save.log, head=save.head, upload=False)
    expected = r"data +nothing to upload: all 3 files are on the DVC remote \(.*\n"
    assert re.fullmatch(expected, capsys.readouterr().err)
    shutil.rmtree(min((save.world.storage / "files" / "md5").iterdir()))
    save_data(save.pipeline, save.log, head=save.head, upload=False)
    assert "data       1 file uploaded" in capsys.readouterr().err


def test_data_that_was_missing_before_is_a_warning(save: Save) -> None:
    shutil.rmtree(save.world.project / ".dvc" / "cache")
    for name in ("weights", "o.txt", "t.txt"):
        (save.world.project / name).unlink()
    save.world.git("checkout", "--quiet", "dvc.lock")
    save.pipeline.close()
    save.pipeline = Project.open(save.world.project, top=save.world.project, log=save.log)
    save_data(save.pipeline, save.log, head=save.head, upload=False)
    assert save.log.warnings == [
        "t.txt: its data is missing from the cache and from the DVC remote, since before this run"
    ]
