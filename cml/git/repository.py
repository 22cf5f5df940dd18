"""Everything that touches git, by its command line: one question or one act per function, shas and full refs only.

Nothing is written to git configuration. What a command needs (safe.directory, the token) goes by its environment;
the token is given to the commands that talk to `origin` and to no other process.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import re
import stat
import subprocess
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cml.errors import BadInput, CmlError

REMOTE = "origin"
OLDEST_GIT = (2, 31)  # the first that reads configuration from GIT_CONFIG_COUNT
GIT_SECONDS = 600
AT_ONCE_SECONDS = 10.0  # in which git takes the locks of what it does here
HEARD = {"cml.heard": "true"}  # nobody else sets it: git says it where it hears GIT_CONFIG_COUNT
FETCH = ("--quiet", "--no-recurse-submodules", "--no-auto-maintenance")
MARK = "cml-git-"  # and the run's process
# What takes locks in the git folder; `diff` does for the times of files that it has looked up.
WRITING = {"checkout", "diff", "fetch", "push", "read-tree", "update-index", "update-ref"}
# What git says of a server that is in trouble, or of a connection that broke; what it says of a token is not among it.
UNANSWERED = (
    r"returned error: (429|5\d\d)|RPC failed|hung up unexpectedly|unexpected disconnect|early EOF|Empty reply|"
    r"Connection (reset|timed out)|Could not resolve host|Failed to connect|Recv failure|Operation timed out|"
    r"Couldn't connect"
)


class GitFailed(CmlError):
    """A git command that ended with other than 0; the text is what it said on stderr."""


class Identity(NamedTuple):
    """Who the results commit is by."""

    name: str
    email: str


class Commit(NamedTuple):
    """What people see of a commit; `date` is ISO 8601 with its zone."""

    sha: str
    parents: tuple[str, ...]
    author: str
    date: str
    message: str

    @property
    def subject(self) -> str:
        return self.message.partition("\n")[0]


class PushOutcome(NamedTuple):
    """How a push ended: done (`is_new` where it made the branch), stale (somebody was faster), or unanswered (it may
    have been done, or not), else why not.
    """

    is_done: bool
    is_unanswered: bool = False
    is_stale: bool = False
    is_new: bool = False
    reason: str = ""


class Repository:
    """A work tree and its `origin`. Raises BadInput on opening where there is none, or git is missing or too old."""

    def __init__(self, directory: Path, *, token: str | None = None, user: str = "x-access-token") -> None:
        self.top = _toplevel(directory)
        self._environment = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        self._configure(self._environment, {"safe.directory": str(self.top), **HEARD})
        # A commit never changes, so it is asked for once; but where a shallow clone is cut, its parents do not show.
        self._known: dict[str, Commit] = {}
        self._excluded: set[str] = set()
        self._settings = self._read_settings()
        self._authorized = dict(self._environment)
        if token and (origin := self.origin_url()) and origin.startswith(("http://", "https://")):
            basic = base64.b64encode(f"{user}:{token}".encode()).decode()
            key = f"http.{re.sub('//[^/@]*@', '//', origin)}.extraheader"
            self._configure(self._authorized, {key: ""})
            self._configure(self._authorized, {key: f"Authorization: basic {basic}"})

    @staticmethod
    def _configure(environment: dict[str, str], settings: Mapping[str, str]) -> None:
        for key, value in settings.items():
            number = int(environment.get("GIT_CONFIG_COUNT", "0"))
            environment.update(
                {
                    f"GIT_CONFIG_KEY_{number}": key,
                    f"GIT_CONFIG_VALUE_{number}": value,
                    "GIT_CONFIG_COUNT": str(number + 1),
                }
            )

    def copy_hooks(self, folder: Path) -> None:
        """Lets commands that carry the token run only the hooks that are here now, from a copy: a stage that writes a
        hook or a credential helper would get the token handed.
        """
        if self._authorized == self._environment:
            return
        own = self._settings.get("core.hookspath")
        hooks = Path(self.top, Path(own).expanduser()) if own else self._git_place("hooks")
        if hooks.is_dir() and any(not file.name.endswith(".sample") for file in hooks.iterdir()):
            from shutil import copytree

            copytree(hooks, folder, ignore_dangling_symlinks=True)
            folder.chmod(0o700)
        else:
            folder.mkdir()
        self._configure(self._authorized, {"core.hooksPath": str(folder)})
        self._configure(self._authorized, {"credential.helper": ""})

    def child_environment(self) -> dict[str, str]:
        """Returns what a child needs to use git in this work tree whoever owns it; no token among it."""
        return {name: value for name, value in self._environment.items() if name.startswith("GIT_CONFIG_")}

    def sweep(self) -> None:
        """Removes the locks that a killed git left: those as old as the mark of the run that had started it. Another's
        is not among them, unless it was made in the same moment.
        """
        with contextlib.suppress(OSError, GitFailed):
            for mark in self._git_place("HEAD").parent.glob(f"{MARK}*"):
                with contextlib.suppress(OSError), mark.open("r+") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not while its run or that git is alive
                    self._drop_locks(since=os.fstat(file.fileno()).st_mtime)
                    mark.unlink()

    def _drop_locks(self, *, since: float) -> None:
        own, shared = (self._git_place(name).parent for name in ("HEAD", "packed-refs"))
        at_once = [own / "HEAD.lock", own / "index.lock"]
        in_time = [shared / "packed-refs.lock", shared / "shallow.lock", *(shared / "refs").rglob("*.lock")]
        for locks, seconds in ((at_once, AT_ONCE_SECONDS), (in_time, GIT_SECONDS)):
            for lock in locks:
                if lock.exists() and since <= lock.stat().st_mtime <= since + seconds:
                    lock.unlink()

    # Questions

    def resolve(self, revision: str) -> str | None:
        """Returns the sha of the commit that a revision names here, or None."""
        if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", revision):
            return next((commit.sha for commit in self.commits([revision])), None)
        try:
            return self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip()
        except GitFailed:
            return None

    def head(self) -> str | None:
        return self.resolve("HEAD")

    def branch(self) -> str | None:
        """Returns the name of the branch that is checked out, or None on a detached HEAD."""
        try:
            return self._git("symbolic-ref", "--quiet", "--short", "HEAD").strip()
        except GitFailed:
            return None

    def commit(self, sha: str) -> Commit:
        """Returns a commit that is here. Raises GitFailed."""
        found = self.commits([sha])
        if not found:
            raise GitFailed(f"git log: there is no commit {sha}")
        return found[0]

    def commits(self, shas: Sequence[str]) -> list[Commit]:
        """Returns those commits, by their full shas, that are here, in the same order."""
        if unknown := [sha for sha in shas if sha not in self._known]:
            fields = "--format=%H%x00%P%x00%an%x00%aI%x00%B"
            options = ("--no-walk=unsorted", "--ignore-missing", "--no-show-signature", "-z", fields)
            texts = self._git("log", *options, "--end-of-options", *unknown).split("\0")
            for sha, parents, author, date, message in zip(*(texts[number::5] for number in range(5)), strict=False):
                self._known[sha] = Commit(
                    sha=sha, parents=tuple(parents.split()), author=author, date=date, message=message.strip()
                )
        return [self._known[sha] for sha in shas if sha in self._known]

    def commits_between(self, old: str, new: str) -> list[Commit]:
        """Returns the commits that `new` has in its history and `old` has not, the newest first."""
        return self.commits(self._git("rev-list", f"{old}..{new}").split())

    def origin_url(self) -> str | None:
        """Returns origin's URL, as it was when the repository was opened: a stage may not send a token elsewhere."""
        return self._settings.get(f"remote.{REMOTE}.url") or None

    def _read_settings(self) -> dict[str, str]:
        """Returns what git's configuration says of origin and hooks, and makes sure that git hears our own. Raises
        BadInput.
        """
        wanted = rf"^(cml\.heard|core\.hookspath|remote\.{REMOTE}\.url)$"
        try:
            told = self._git("config", "-z", "--get-regexp", wanted).split("\0")
        except GitFailed:
            told = []
        except FileNotFoundError:
            raise BadInput("git is not installed, or not on PATH: install it") from None
        if "cml.heard\ntrue" not in told:
            _check_version(self._environment)
        return {name: value for name, _, value in (each.partition("\n") for each in told)}

    def is_shallow(self) -> bool:
        return self._git("rev-parse", "--is-shallow-repository").strip() == "true"

    def default_branch(self) -> str | None:
        """Returns origin's default branch, from here where git knows it, else by asking origin."""
        try:
            return self._git("symbolic-ref", "--quiet", f"refs/remotes/{REMOTE}/HEAD").strip().split("/", 3)[3]
        except GitFailed:
            pass
        try:
            answer = self._git("ls-remote", "--symref", REMOTE, "HEAD", is_remote=True)
        except GitFailed:
            return None
        found = re.match(r"ref: refs/heads/(\S+)\tHEAD", answer)
        return found[1] if found else None

    def remote_tip(self, branch: str) -> str | None:
        """Returns the commit that origin's branch is at, asked now, or None where there is no such branch."""
        lines = self._git("ls-remote", REMOTE, f"refs/heads/{branch}", is_remote=True).splitlines()
        tips = [sha for sha, _, ref in (line.partition("\t") for line in lines) if ref == f"refs/heads/{branch}"]
        return tips[0] if tips else None

    def tracks(self, folder: str) -> bool:
        """Whether git holds anything in a folder below the current one."""
        path = os.path.relpath(os.path.abspath(folder), self.top)
        return bool(self._git("ls-files", "-z", "--", f":(literal,top){path}"))

    def is_ancestor(self, old: str, new: str) -> bool:
        try:
            self._git("merge-base", "--is-ancestor", old, new)
        except GitFailed:
            return False
        return True

    def changed_files(self) -> set[str]:
        """Returns the paths, relative to the top, that differ from HEAD or are new and not ignored."""
        changed = self._git("diff", "--name-only", "--no-renames", "--no-ext-diff", "-z", "HEAD")
        new = self._git("ls-files", "--others", "--exclude-standard", "-z")
        return {path for path in (changed + new).split("\0") if path}

    def changed_between(self, old: str, new: str) -> set[str]:
        """Returns the paths that differ between two commits."""
        return {path for path in self._git("diff-tree", "-r", "--name-only", "-z", old, new).split("\0") if path}

    def changed_from(self, old: str, shas: Iterable[str]) -> dict[str, set[str]]:
        """Returns the paths that differ between a commit and each of others, by the others' shas."""
        changed: dict[str, set[str]] = {sha: set() for sha in shas}
        pairs = "".join(f"{sha} {old}\n" for sha in changed).encode()
        sha = ""
        for text in self._git("diff-tree", "--stdin", "-r", "--name-only", "-z", stdin=pairs).split("\0"):
            if text in changed:
                sha = text  # stands before the paths of its pair
            elif text:
                changed[sha].add(text)
        return changed

    def blobs(self, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
        """Returns the bytes of files by (sha, path), of those that are files there. No path may hold a line break."""
        wanted = list(names)
        listing = "".join(f"{sha}:{path}\n" for sha, path in wanted).encode("utf-8", "surrogateescape")
        answer = self._run("cat-file", "--batch", stdin=listing) if wanted else b""
        found, place = {}, 0
        for name in wanted:
            start = answer.index(b"\n", place) + 1
            head = answer[place : start - 1]
            place = start
            if head.endswith(b" missing"):
                continue
            kind, size = head.split(b" ")[-2:]
            place += int(size) + 1
            if kind == b"blob":
                found[name] = answer[start : place - 1]
        return found

    def same_here(self, sha: str, paths: Iterable[str]) -> list[str]:
        """Returns those of the paths that are in the work tree what they are in a commit."""
        found = []
        for path in paths:
            file = Path(self.top, path)
            entry = self._git("ls-tree", "-z", "--full-tree", sha, "--", f":(literal,top){path}")
            held = entry.partition("\t")[0].split(" ")[-1]
            is_file = file.is_file() and not file.is_symlink()
            data = file.read_bytes() if is_file else None
            now = "" if data is None else self._git("hash-object", "--path", path, "--stdin", stdin=data).strip()
            if held == now:
                found.append(path)
        return found

    def blob(self, sha: str, path: str) -> bytes | None:
        """Returns a file's bytes at a commit, or None where it has none."""
        try:
            return self._run("cat-file", "blob", f"{sha}:{path}")
        except GitFailed:
            return None

    def short(self, sha: str) -> str:
        """Returns the short form of a sha: 7 digits, more where that is ambiguous."""
        return self._git("rev-parse", "--short=7", sha).strip()

    def tag_commit(self, tag: str) -> str | None:
        return self.resolve(f"refs/tags/{tag}")

    def tagged_commits(self, sha: str, prefix: str, count: int) -> list[tuple[str, str]]:
        """Returns up to `count` (tag, sha), the newest first, of the commits in a branch's history that carry a tag
        made of the prefix and their own short sha.
        """
        lines = self._git(
            "log",
            "--topo-order",
            "--simplify-by-decoration",
            f"--decorate-refs=refs/tags/{prefix}*",
            "--decorate=full",
            "--format=%H%x00%D",
            sha,
        ).splitlines()
        found = []
        for line in lines:
            commit, _, decorations = line.partition("\0")
            for decoration in decorations.split(", "):
                tag = decoration.removeprefix("tag: ").removeprefix("refs/tags/")
                suffix = tag.removeprefix(prefix)
                if tag.startswith(prefix) and len(suffix) >= 7 and commit.startswith(suffix):
                    found.append((tag, commit))
                    break
            if len(found) == count:
                break
        return found

    def has_identity(self) -> bool:
        """Whether git knows who would commit here."""
        try:
            self._git("var", "GIT_COMMITTER_IDENT")
        except GitFailed:
            return False
        return True

    # Acts

    def check_out(self, sha: str) -> bool:
        """Checks a commit out in place, detached; returns False where changes of the work tree stand in the way."""
        try:
            self._git("-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", sha)
        except GitFailed:
            return False
        return True

    def fetch(self, *refspecs: str, deepen: int | None = None, tip_only: bool = False) -> bool:
        """Fetches from origin; returns whether it went well. `tip_only` takes one commit where the clone is shallow
        (in a complete one that would make it shallow).
        """
        self._known.clear()
        depth = [f"--deepen={deepen}"] if deepen else ["--depth=1"] if tip_only and self.is_shallow() else []
        try:
            self._git("fetch", *FETCH, "--no-tags", *depth, REMOTE, *refspecs, is_remote=True)
        except GitFailed:
            return False
        return True

    def deepen(self, branch: str, commits: int) -> bool:
        """Fetches so many more commits of a branch's history, with the tags on them; returns whether it went well."""
        self._known.clear()
        # Git follows tags only where a fetch has a place to store the branch.
        refspec = f"+refs/heads/{branch}:refs/remotes/{REMOTE}/{branch}"
        try:
            self._git("fetch", *FETCH, f"--deepen={commits}", REMOTE, refspec, is_remote=True)
        except GitFailed:
            return False
        return True

    def exclude(self, pattern: str) -> None:
        """Keeps a pattern out of commits by git's own info/exclude, one line, once."""
        if pattern in self._excluded:
            return
        self._excluded.add(pattern)
        path = self._git_place("info/exclude")
        lines = path.read_text(errors="surrogateescape").splitlines() if path.exists() else []
        if pattern not in lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = "\n".join([*lines, pattern]) + "\n"
            # At once, so that a kill never leaves half of the user's own lines.
            new = path.with_name(f"{path.name}.cml")
            new.write_text(text, errors="surrogateescape")
            if path.exists():
                new.chmod(stat.S_IMODE(path.stat().st_mode))
            new.replace(path)

    def commit_files(self, paths: Iterable[str], *, parent: str, message: str, identity: Identity | None) -> str:
        """Returns the sha of a new commit: the parent's tree with the paths as they stand in the work tree. Neither
        HEAD nor the index moves.
        """
        with self._index() as index:
            self._git("read-tree", parent, env=index)
            self._git("update-index", "--add", "--remove", "-z", "--stdin", stdin=_nul(paths), env=index)
            return self._commit_index(index, parent=parent, message=message, identity=identity)

    def transplant(
        self,
        commit: str,
        paths: Iterable[str],
        *,
        onto: str,
        contents: Mapping[str, bytes],
        message: str,
        identity: Identity | None,
    ) -> str:
        """Returns the sha of a new commit on another parent: its tree, with the paths as `commit` has them, and with
        `contents` where a path had to be united.
        """
        with self._index() as index:
            self._git("read-tree", onto, env=index)
            entries = []
            for path in paths:
                entry = self._git("ls-tree", "-z", "--full-tree", commit, "--", f":(literal,top){path}")
                mode, _, rest = entry.partition(" ")
                blob = rest.split(" ", 1)[1].split("\t")[0] if entry else "0" * len(commit)
                if path in contents:
                    blob = self._git("hash-object", "-w", "--stdin", stdin=contents[path]).strip()
                entries.append(f"{mode if entry else '0'} {blob}\t{path}")
            self._git("update-index", "-z", "--index-info", stdin=_nul(entries), env=index)
            return self._commit_index(index, parent=onto, message=message, identity=identity)

    def _commit_index(self, index: dict[str, str], *, parent: str, message: str, identity: Identity | None) -> str:
        tree = self._git("write-tree", env=index).strip()
        if tree == self._git("rev-parse", f"{parent}^{{tree}}").strip():
            return parent
        who = (
            {f"GIT_{role}_NAME": identity.name for role in ("AUTHOR", "COMMITTER")}
            | {f"GIT_{role}_EMAIL": identity.email for role in ("AUTHOR", "COMMITTER")}
            if identity
            else {}
        )
        return self._git(
            "commit-tree", "--no-gpg-sign", tree, "-p", parent, "-F", "-", stdin=message.encode(), env=who
        ).strip()

    def can_push(self, sha: str, branch: str) -> PushOutcome:
        """Asks origin, without a change, whether a commit may be pushed to a branch."""
        return self._push([f"{sha}:refs/heads/{branch}"], "--dry-run", "--no-verify")

    def push(self, sha: str, *, branch: str, tag: str | None) -> PushOutcome:
        """Pushes a commit to a branch, and as a tag, both or none. Never forces."""
        return self._push(
            [f"{sha}:refs/heads/{branch}", *([f"{sha}:refs/tags/{tag}"] if tag else [])], "--atomic", "--no-follow-tags"
        )

    def _push(self, refspecs: list[str], *options: str) -> PushOutcome:
        words = ("push", "--porcelain", "--no-recurse-submodules", *options, REMOTE, *refspecs)
        done = self._call(*words, env=self._authorized)
        out, err = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
        if done.returncode == 0:
            return PushOutcome(is_done=True, is_new="[new branch]" in out)
        refused = [line for line in out.splitlines() if line.startswith("!")]
        reasons = [line.split("\t")[-1] for line in refused]
        stale = r"\[rejected\] \((fetch first|non-fast-forward|stale info)\)|failed to update ref|cannot lock ref"
        # Two atomic pushes at the same instant: only the server's own words tell the loser.
        raced = r"^remote: error: cannot lock ref '[^']+': is at [0-9a-f]+ but expected [0-9a-f]+"
        if any(re.search(stale, reason) for reason in reasons) or re.search(raced, err, re.MULTILINE):
            return PushOutcome(is_done=False, is_stale=True, reason="the branch moved on")
        lines = [line.strip() for line in err.splitlines()]
        told = [line.removeprefix("remote:").strip() for line in lines if line.startswith("remote:")]
        # Without a word from the server it was a hook of this clone that spoke, or git itself.
        here = [
            line for line in lines if line and not line.startswith(("remote:", "To ", "hint:", "error: failed to push"))
        ]
        own = [reason for reason in reasons if "atomic" not in reason]
        return PushOutcome(
            is_done=False,
            is_unanswered=not refused and re.search(UNANSWERED, err) is not None,
            reason="; ".join([*own[:1], *(list(filter(None, told))[-2:] or here[-2:])]),
        )

    def adopt(self, sha: str, *, branch: str, head: str, paths: Collection[str], tag: str | None) -> bool:
        """Moves HEAD (and the branch it stands for) from `head` to the results commit that was pushed, the index with
        it, and writes the tag. `paths` are those of its files that the work tree holds already. The user's own changes
        stay. Returns False, with nothing moved, where the user went on meanwhile, or where something stands in the way:
        the results are on origin all the same.
        """
        try:
            if tag and not self.tag_commit(tag):
                self._git("update-ref", f"refs/tags/{tag}", sha)
            if self.head() != head or self.branch() not in (None, branch):
                return False
            if self.commit(sha).parents != (head,) or set(paths) != self.changed_between(head, sha):
                with self._index() as index:
                    self._git("read-tree", head, env=index)
                    self._git("update-index", "--add", "--remove", "-z", "--stdin", stdin=_nul(paths), env=index)
                    ours = self._git("write-tree", env=index).strip()
                self._git("update-index", "--add", "--remove", "-z", "--stdin", stdin=_nul(paths))
                self._git("read-tree", "-m", "-u", ours, sha)
            else:
                self._git("update-index", "--add", "--remove", "-z", "--stdin", stdin=_nul(paths))
            self._git("update-ref", "-m", "cml run", "HEAD", sha, head)
        except (GitFailed, OSError):
            return False
        return True

    def unite_lines(self, ours: bytes, base: bytes, theirs: bytes) -> bytes:
        """Returns the lines of both sides (git merge-file --union), for .gitignore."""
        from tempfile import TemporaryDirectory

        with TemporaryDirectory(prefix="cml-") as folder:
            names = []
            for name, data in (("ours", ours), ("base", base), ("theirs", theirs)):
                Path(folder, name).write_bytes(data)
                names.append(str(Path(folder, name)))
            return self._run("merge-file", "-p", "--union", *names)

    # How git is called

    def _index(self) -> _TemporaryIndex:
        return _TemporaryIndex()

    def _git_place(self, name: str) -> Path:
        """Returns where git keeps a file of its own; of a linked work tree, some are with the main one."""
        folder = self.top / ".git"
        if folder.is_dir() and "GIT_DIR" not in self._environment:
            return folder / name
        return Path(self.top, self._git("rev-parse", "--git-path", name).strip())

    def _git(
        self, *arguments: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None, is_remote: bool = False
    ) -> str:
        output = self._run(*arguments, stdin=stdin, env=env, is_remote=is_remote)
        return output.decode("utf-8", "surrogateescape")

    def _run(
        self, *arguments: str, stdin: bytes | None = None, env: Mapping[str, str] | None = None, is_remote: bool = False
    ) -> bytes:
        base = self._authorized if is_remote else self._environment
        done = self._call(*arguments, env={**base, **(env or {})}, stdin=stdin or b"")
        if done.returncode != 0:
            said = " ".join(done.stderr.decode("utf-8", "replace").split())
            raise GitFailed(f"git {arguments[0]}: {said or f'ended with {done.returncode}'}")
        return done.stdout

    def _call(self, *arguments: str, env: Mapping[str, str], stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Runs git; while it may take locks, under a mark that stays for `sweep` where it is killed."""
        takes_locks = (
            not WRITING.isdisjoint(arguments[:3]) and "--dry-run" not in arguments and "GIT_INDEX_FILE" not in env
        )
        mark, held = self._git_place(f"{MARK}{os.getpid()}") if takes_locks else None, []
        is_over = False
        try:
            with contextlib.ExitStack() as until_over:
                with contextlib.suppress(OSError):  # where nothing can be written, git is the one to say so
                    if mark:
                        file = until_over.enter_context(mark.open("w"))
                        fcntl.flock(file, fcntl.LOCK_SH)
                        held.append(file.fileno())
                done = subprocess.run(
                    ["git", *arguments],
                    cwd=self.top,
                    env=env,
                    input=stdin,
                    capture_output=True,
                    timeout=GIT_SECONDS,
                    pass_fds=held,  # git outlives a run that is killed alone
                )
            is_over = done.returncode >= 0
            return done
        finally:
            if mark and not is_over:
                self.sweep()
            elif mark:
                with contextlib.suppress(OSError):
                    mark.unlink()


class _TemporaryIndex:
    """An index of its own for building a tree, away from the user's."""

    def __enter__(self) -> dict[str, str]:
        from tempfile import TemporaryDirectory

        self._folder = TemporaryDirectory(prefix="cml-")
        return {"GIT_INDEX_FILE": str(Path(self._folder.name, "index"))}

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()


def _nul(lines: Iterable[str]) -> bytes:
    return b"".join(line.encode("utf-8", "surrogateescape") + b"\0" for line in lines)


def _toplevel(directory: Path) -> Path:
    # By hand, since git refuses to tell in a work tree that another user owns before safe.directory names it.
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
