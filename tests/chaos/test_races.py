"""Runs at the same time lose nothing: several runs push through a slow, real git HTTP server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from standins.github import Forge
from support.small_world import REMOTE, dvc_yaml, make_small_world
from support.world import Result

from chaos.figures import count, trial
from chaos.project import assert_complete, results_commits, temp_folder
from chaos.size import by_size, seeded_random

SLOW_HOOK = "#!/bin/sh\nsleep 0.$(( $$ % 4 ))\n"
WRITERS = {2: by_size(2, 20), 4: by_size(2, 15), 8: by_size(1, 13)}


def pipeline(command: str) -> str:
    named = {
        f"s{number}": {"cmd": command.format(number), "deps": [f"in{number}.txt"], "outs": [f"out{number}.txt"]}
        for number in range(8)
    }
    return dvc_yaml(**named)


class Server:
    """A project with an HTTP origin. Anybody with the token may push to its main branch."""

    def __init__(self, folder: Path, forge: Forge, command: str) -> None:
        self.forge = forge
        files = {"dvc.yaml": pipeline(command)} | {f"in{number}.txt": "0\n" for number in range(8)}
        self.world = make_small_world(folder, files, config=REMOTE.replace("{}", str(folder / "world" / "storage")))
        self.world.git("remote", "set-url", "origin", str(self.world.origin))
        hook = self.world.origin / "hooks" / "pre-receive"
        hook.write_text(SLOW_HOOK)
        hook.chmod(0o755)
        forge.create_repository("ada/digits", bare=self.world.origin)
        self.token = forge.token("installation")
        temp_folder(self.world).mkdir()
        assert self.world.cml("run", "--push", "true").code == 0  # now each stage has data that a fresh clone can pull
        self.world.commit("Changed", {f"in{number}.txt": "1\n" for number in range(8)})

    def clone(self, name: str) -> Path:
        url = self.forge.clone_url().replace("://", f"://x-access-token:{self.token}@")
        clone = self.world.folder / name
        self.world.git("clone", "--quiet", url, str(clone), cwd=self.world.folder)
        self.world.git("remote", "set-url", "origin", self.forge.clone_url(), cwd=clone)
        return clone

    def run_at_same_time(self, clones: Mapping[str, Path], **variables: str) -> list[Result]:
        """Starts one run in each clone, all at the same time. The key of a clone is the stage that it runs."""
        runs = []
        for number, (stage, clone) in enumerate(clones.items()):
            extra = {"repo_token": self.token, "TMPDIR": str(temp_folder(self.world)), **variables}
            extra |= {"repro_targets": stage.partition("@")[0], "commit_message": f"Writer {number}"}
            command = ["cml", "run", "--push", "true", "--tag-prefix", "dvc_", "--dvc-pull=-"]
            runs.append(
                subprocess.Popen(
                    command,
                    cwd=clone,
                    env=self.world.environment(extra),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        output = [run.communicate(timeout=300)[1] for run in runs]
        return [Result(run.returncode, "", text) for run, text in zip(runs, output, strict=True)]


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    with Forge(tmp_path / "forge") as forge:
        yield forge


@pytest.mark.parametrize("writers", WRITERS)
def test_runs_at_the_same_time_lose_and_duplicate_nothing(forge: Forge, tmp_path: Path, writers: int) -> None:
    server = Server(tmp_path, forge, "cat in{0}.txt > out{0}.txt")
    world, rng = server.world, seeded_random(f"race {writers}")
    for number in range(WRITERS[writers]):
        world.git("pull", "--quiet", "--rebase", "origin", "main")
        world.commit(f"Round {number}", {f"in{each}.txt": f"{number} {rng.random()}\n" for each in range(8)})
        chosen = rng.sample(range(8), writers)
        clones = {f"s{each}": server.clone(f"{number}-{each}") for each in chosen}
        before = results_commits(world)
        with trial("races", f"{writers} writers, round {number}"):
            done = server.run_at_same_time(clones)
            assert [one.code for one in done] == [0] * writers, "\n\n".join(one.err for one in done)
            new = [sha for sha in results_commits(world) if sha not in before]
            subjects = [world.git("log", "-1", "--format=%s", sha, cwd=world.origin) for sha in new]
            lost, doubled = writers - len(set(subjects)), len(subjects) - len(set(subjects))
            count("races", pushes=len(new), lost=lost, doubled=doubled)
            assert (lost, doubled) == (0, 0)
            assert set(world.tags()) >= {f"dvc_{sha[:7]}" for sha in new}
            assert_complete(world, *new)
            fresh = world.clone(f"fresh-{number}")
            env = {"DVC_SITE_CACHE_DIR": str(fresh / ".site")}
            world.run("dvc", "pull", "--quiet", "--allow-missing", *clones, cwd=fresh, env=env)
            assert "changed" not in world.run("dvc", "status", *clones, cwd=fresh, env=env)


@pytest.mark.parametrize("number", range(by_size(2, 24)))
def test_the_second_result_of_the_same_stage_is_refused(forge: Forge, tmp_path: Path, number: int) -> None:
    server = Server(tmp_path, forge, "od -An -N16 -tx1 /dev/urandom > out{0}.txt; sleep 0.3")
    clones = {"s1@first": server.clone("first"), "s1@second": server.clone("second")}
    before = results_commits(server.world)
    with trial("races", f"the same stage, {number}"):
        done = server.run_at_same_time(clones)
        codes = sorted(one.code for one in done)
        is_refused = codes == [0, 1] and len(results_commits(server.world)) == len(before) + 1
        count("races", same_stage=1, refused=int(is_refused))
        assert is_refused, "\n\n".join(one.err for one in done)
        assert_complete(server.world, *results_commits(server.world))
