"""How git is called: its environment, the token for `origin`, and the marks of commands that take locks.

Nothing is written to git configuration: what a command needs (safe.directory, the token) is in its environment. Only
commands that talk to `origin` get the token.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from cml.errors import BadInput, CmlError
from cml.git import locks

REMOTE = "origin"
OLDEST_GIT = (2, 31)  # the first that reads configuration from GIT_CONFIG_COUNT
# A setting of ours in GIT_CONFIG_COUNT: a git that does not list it is too old to read our settings there.
PROBE, PROBE_VALUE = "cml.probe", "true"
# Commands that take locks in the git folder. `diff` does, to store the times of files that it has looked up.
LOCKING_COMMANDS = {"checkout", "diff", "fetch", "push", "read-tree", "update-index", "update-ref"}


class GitFailed(CmlError):
    """A git command that ended with an error; the text is what it printed on stderr."""


class Git:
    """Git commands in one work tree. Raises BadInput where there is none, or git is missing or too old."""

    def __init__(self, directory: Path, *, token: str | None = None, user: str = "x-access-token") -> None:
        self.top = _find_top(directory)
        # Git must never wait for a password, and `remote` reads its messages in English.
        self._environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        # In a container the clone often belongs to another user, and git refuses to work in such a clone.
        _add_settings(self._environment, {"safe.directory": str(self.top), PROBE: PROBE_VALUE})
        self._settings = self._read_settings()
        # A second environment for commands that talk to origin. No other process ever gets it.
        self._authorized = dict(self._environment)
        if token:
            self._authorize(token, user)

    def origin_url(self) -> str | None:
        """Returns origin's URL as it was when the repository was opened: a stage must not redirect the token."""
        return self._settings.get(f"remote.{REMOTE}.url") or None

    def child_environment(self) -> dict[str, str]:
        """Returns what a child needs to use git in this work tree, whoever owns it; without the token."""
        return {name: value for name, value in self._environment.items() if name.startswith("GIT_CONFIG_")}

    def copy_hooks(self, folder: Path) -> None:
        """Copies the hooks into a new private folder, and makes commands that carry the token use only the copy.

        Otherwise a stage could write a hook, or configure a credential helper, and get the token.
        """
        if self._authorized == self._environment:
            return
        # As it was when the repository was opened: a stage may have changed the configuration since.
        configured = self._settings.get("core.hookspath")
        hooks = Path(self.top, Path(configured).expanduser()) if configured else self._git_path("hooks")
        if hooks.is_dir() and any(not file.name.endswith(".sample") for file in hooks.iterdir()):
            shutil.copytree(hooks, folder, ignore_dangling_symlinks=True)
            folder.chmod(0o700)
        else:
            folder.mkdir()
        # An empty credential.helper removes all helpers that other configuration has set.
        _add_settings(self._authorized, {"core.hooksPath": str(folder), "credential.helper": ""})

    def remove_stale_locks(self) -> None:
        """Removes the locks that a git command of a killed run left behind."""
        try:
            own, shared = self._git_path("HEAD").parent, self._git_path("packed-refs").parent
            locks.remove_stale(own, shared)
        except (OSError, GitFailed):
            pass  # whoever needs the lock reports it

    def _authorize(self, token: str, user: str) -> None:
        origin = self.origin_url()
        if not origin or not origin.startswith(("http://", "https://")):
            return
        credentials = base64.b64encode(f"{user}:{token}".encode()).decode()
        url = re.sub("//[^/@]*@", "//", origin)  # git looks settings up by the URL without its user
        key = f"http.{url}.extraheader"
        # An empty value first: it removes the headers that other configuration has set, such as actions/checkout's.
        _add_settings(self._authorized, {key: ""})
        _add_settings(self._authorized, {key: f"Authorization: basic {credentials}"})

    def _read_settings(self) -> dict[str, str]:
        """Returns git's settings of origin and hooks. Raises BadInput where git does not read our settings."""
        wanted = rf"^(cml\.probe|core\.hookspath|remote\.{REMOTE}\.url)$"
        try:
            entries = self._git("config", "-z", "--get-regexp", wanted).split("\0")
        except GitFailed:
            # Exit code 1: no such setting is set. So git did not read ours either, and the version is checked below.
            entries = []
        except FileNotFoundError:
            raise BadInput("git is not installed, or not on PATH: install it") from None
        settings = {name: value for name, _, value in (entry.partition("\n") for entry in entries)}
        if settings.get(PROBE) != PROBE_VALUE:
            _check_version(self._environment)
        return settings

    def _git_path(self, name: str) -> Path:
        """Returns the path of one of git's own files. A linked work tree shares some of them with the main one."""
        # Nearly always the answer is known without a git process. In a linked work tree or a submodule, .git is a file.
        folder = self.top / ".git"
        if folder.is_dir() and "GIT_DIR" not in self._environment:
            return folder / name
        return Path(self.top, self._git("rev-parse", "--git-path", name).strip())

    def _git(
        self, *arguments: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None, is_remote: bool = False
    ) -> str:
        """Returns what a git command prints. Raises GitFailed. Only with `is_remote` it gets the token."""
        output = self._git_bytes(*arguments, stdin=stdin, env=env, is_remote=is_remote)
        return output.decode("utf-8", "surrogateescape")

    def _succeeds(self, *arguments: str, is_remote: bool = False) -> bool:
        try:
            self._git(*arguments, is_remote=is_remote)
        except GitFailed:
            return False
        return True

    def _git_bytes(
        self, *arguments: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None, is_remote: bool = False
    ) -> bytes:
        environment = self._authorized if is_remote else self._environment
        done = self._call(*arguments, env={**environment, **(env or {})}, stdin=stdin or b"")
        if done.returncode != 0:
            stderr = " ".join(done.stderr.decode("utf-8", "replace").split())
            raise GitFailed(f"git {arguments[0]}: {stderr or f'exit code {done.returncode}'}")
        return done.stdout

    def _call(self, *arguments: str, env: Mapping[str, str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Runs git. A command that may take locks has a mark, so that `remove_stale_locks` works after a kill."""
        if not _takes_locks(arguments, env):
            return self._start(*arguments, env=env, stdin=stdin)
        mark = self._git_path(f"{locks.MARK_PREFIX}{os.getpid()}")
        has_ended = False
        try:
            with locks.held_mark(mark) as descriptors:
                done = self._start(*arguments, env=env, stdin=stdin, pass_fds=descriptors)
            has_ended = done.returncode >= 0
            return done
        finally:
            if has_ended:
                locks.remove_mark(mark)
            else:  # a signal or the time limit has ended it
                self.remove_stale_locks()

    def _start(
        self, *arguments: str, env: Mapping[str, str], stdin: bytes, pass_fds: Iterable[int] = ()
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["git", *arguments],
            cwd=self.top,
            env=env,
            input=stdin,
            capture_output=True,
            timeout=locks.GIT_SECONDS,
            pass_fds=tuple(pass_fds),
        )


def nul_separated(lines: Iterable[str]) -> bytes:
    """Returns lines as git reads them with `-z --stdin`."""
    return b"".join(line.encode("utf-8", "surrogateescape") + b"\0" for line in lines)


def _add_settings(environment: dict[str, str], settings: Mapping[str, str]) -> None:
    """Adds git settings to an environment; of settings with the same name, the later one counts."""
    for key, value in settings.items():
        number = int(environment.get("GIT_CONFIG_COUNT", "0"))
        environment[f"GIT_CONFIG_KEY_{number}"] = key
        environment[f"GIT_CONFIG_VALUE_{number}"] = value
        environment["GIT_CONFIG_COUNT"] = str(number + 1)


def _takes_locks(arguments: tuple[str, ...], env: Mapping[str, str]) -> bool:
    # `-c NAME=VALUE` may precede the command. With an index of its own, a command locks nothing that is shared.
    is_locking = not LOCKING_COMMANDS.isdisjoint(arguments[:3])
    return is_locking and "--dry-run" not in arguments and "GIT_INDEX_FILE" not in env


def _find_top(directory: Path) -> Path:
    # Not by `git rev-parse`: in a work tree of another user, git refuses before safe.directory names its top.
    for folder in (directory.resolve(), *directory.resolve().parents):
        if (folder / ".git").exists():
            return folder
    raise BadInput(
        f"{directory.resolve()} is not in a git repository: run this in a clone, set working_directory, or start with "
        "`git init`"
    )


def _check_version(environment: Mapping[str, str]) -> None:
    text = subprocess.run(["git", "--version"], env=environment, capture_output=True, text=True, timeout=60).stdout
    found = re.search(r"(\d+)\.(\d+)", text)
    if not found or (int(found[1]), int(found[2])) < OLDEST_GIT:
        raise BadInput(f"{text.strip() or 'git'} is too old: CML needs git {'.'.join(map(str, OLDEST_GIT))} or newer")
