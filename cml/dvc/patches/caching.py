"""What DVC has read of a project is kept: left alone, it forgets it around every command and every look at a commit,
and reads every dvc.yaml and dvc.lock anew, which is most of what its commands cost.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dvc.data_cloud import Remote
    from dvc.fs.git import GitFileSystem
    from dvc.repo import Repo
    from dvc.scm import Git
    from dvc.stage import Stage

POINTER = b"version https://"  # how one of LFS begins
# What `Repo._reset` forgets.
READ = ("index", "dvcignore", "dvcfs", "datafs", "config")


@contextlib.contextmanager
def one_command(repo: Repo) -> Iterator[None]:
    """Inside, calls of DVC's are parts of one command, as its own commands call each other: the project is locked, and
    what was read of it stays. Whoever changes the project's files has to `repo._reset()`; a stage that runs does.
    """
    with repo.lock if repo._lock_depth == 0 else contextlib.nullcontext():
        repo._lock_depth += 1
        try:
            yield
        finally:
            repo._lock_depth -= 1


@contextlib.contextmanager
def at_revision(repo: Repo, revision: str | None) -> Iterator[None]:
    """Inside, DVC reads a commit, by its full sha, instead of the work tree; None leaves it there. What it had read of
    the work tree is back afterwards.
    """
    from dvc import fs, scm
    from dvc.repo.brancher import switch

    if revision is None:
        yield
        return
    kept = {name: repo.__dict__.pop(name) for name in READ if name in repo.__dict__}
    resolve_rev, scm.resolve_rev = scm.resolve_rev, lambda _, sha: sha  # its own looks among experiments' names too
    files, fs.GitFileSystem = fs.GitFileSystem, _files_of
    try:
        with switch(repo, revision):
            yield
    finally:
        scm.resolve_rev, fs.GitFileSystem = resolve_rev, files
        repo.__dict__.update(kept)


def _files_of(scm: Git, rev: str) -> GitFileSystem:
    """Returns the files of a commit, read by Dulwich, which DVC has imported anyway: pygit2 takes 11 MB more. Only that
    one can, with scmrepo, fetch what a pointer of LFS stands for.
    """
    from dvc.fs.git import GitFileSystem
    from scmrepo.git.objects import GitTrie

    class Tree(GitTrie):
        @cached_property
        def smudged(self) -> GitTrie:
            return GitTrie(scm.pygit2.get_tree_obj(rev), rev)

        def open(self, key: Any, mode: str | None = "r", encoding: str | None = None, raw: bool = True) -> Any:  # noqa: FBT001, FBT002 - as there
            file = super().open(key, "rb")
            if file.read(len(POINTER)) == POINTER:
                return self.smudged.open(key, mode, encoding, raw=raw)
            file.seek(0)
            return file if mode == "rb" else io.TextIOWrapper(file, encoding=encoding)

    try:
        return GitFileSystem(trie=Tree(scm.dulwich.get_tree_obj(rev), rev))
    except Exception:  # a name that is no UTF-8, or whatever else Dulwich does not know of git
        return GitFileSystem(scm=scm, rev=rev)


@contextlib.contextmanager
def standing_still(repo: Repo) -> Iterator[None]:
    """Inside, DVC stays at the commit that it reads, whatever it is told: it would forget that one first."""
    repo.switch = contextlib.nullcontext
    try:
        yield
    finally:
        del repo.switch


@contextlib.contextmanager
def reading_of(repo: Repo, stages: Iterable[Stage]) -> Iterator[None]:
    """Inside, no other process of DVC's writes what the stages read or have made: each would lock its own files three
    times, which is written to a file each time. Raises DVC's LockError.
    """
    from dvc import rwlock
    from dvc.dependency.db import AbstractDependency
    from dvc.dependency.repo import RepoDependency

    items = [item for stage in stages for item in (*stage.deps, *stage.outs)]
    paths = [item.fs_path for item in items if not isinstance(item, RepoDependency | AbstractDependency)]
    is_hardlinked = repo.config["core"].get("hardlink_lock", False)
    with repo.lock, rwlock.rwlock(repo.tmp_dir, repo.fs, f"cml {os.getpid()}", paths, [], is_hardlinked):
        lock, rwlock.rwlock = rwlock.rwlock, lambda *_: contextlib.nullcontext()
        try:
            yield
        finally:
            rwlock.rwlock = lock


def keep_parsed() -> None:
    """From now on, a dvc.yaml, dvc.lock or .dvc whose very text was parsed and found valid before is not parsed again:
    it is the same in most commits.
    """
    import voluptuous
    from dvc import schema as schemas
    from dvc.utils import strictyaml

    if hasattr(strictyaml.parse_yaml, "cache_clear"):
        return
    parse, validate = strictyaml.parse_yaml, strictyaml.validate

    @lru_cache(maxsize=1024)
    def parsed(text: str) -> bytes:
        return pickle.dumps(parse(text, ""))

    def parse_once(text: str, path: str, typ: str = "safe") -> Any:
        try:
            return pickle.loads(parsed(text)) if typ == "safe" else parse(text, path, typ=typ)  # noqa: S301 - our own
        except strictyaml.YAMLFileCorruptedError:
            return parse(text, path, typ=typ)  # the error names the path

    valid: dict[tuple[str, int], Callable[..., Any]] = {}  # schemas are no keys, but are kept, so that an id stays one

    def validate_once(data: Any, schema: Callable[..., Any], text: str | None = None, **where: Any) -> Any:
        if text is None or (text, id(schema)) not in valid:
            validate(data, schema, text=text, **where)
        if text is not None:
            valid[text, id(schema)] = schema
        return data

    compiled: dict[int, tuple[Any, Any]] = {}

    def compile_once(schema: Any) -> Any:
        """For each stage of a dvc.yaml the same schema would be compiled anew, which is most of what checking costs."""
        if id(schema) not in compiled:
            compiled[id(schema)] = schema, voluptuous.Schema(schema)
        return compiled[id(schema)][1]

    schemas.vol = SimpleNamespace(**{**vars(voluptuous), "Schema": compile_once})
    parse_once.cache_clear = parsed.cache_clear  # type: ignore[attr-defined]  # marks what is ours
    strictyaml.parse_yaml, strictyaml.validate = parse_once, validate_once


def keep_remotes(repo: Repo) -> None:
    """From now on, a remote is opened once while the configuration is the same: DVC opens it for each output."""
    opened: dict[str | None, tuple[Any, Remote]] = {}
    open_remote = repo.cloud.get_remote

    def get_remote(name: str | None = None, command: str = "<command>") -> Remote:
        config, remote = opened.get(name, (None, None))
        if config is not repo.config:
            remote = open_remote(name, command)
            opened[name] = repo.config, remote
        return remote

    repo.cloud.get_remote = get_remote


def use_hashes(repo: Repo, site_cache: str) -> None:
    """Lets DVC know the hashes of files that it has computed on this machine before, from the site cache of that folder
    ("" is DVC's usual one). What else stands there, of remotes and of links, is not believed; where it is not, nothing
    is made.
    """
    import sqlite3

    from dvc.dirs import site_cache_dir
    from dvc_data.hashfile.cache import HashesCache

    private = os.environ.pop("DVC_SITE_CACHE_DIR", None)
    try:
        usual = site_cache_dir(repo.config["core"].get("site_cache_dir"))
    finally:
        if private is not None:
            os.environ["DVC_SITE_CACHE_DIR"] = private
    folder = os.path.join(site_cache or usual, "repo", os.path.basename(repo.site_cache_dir), "hashes", "local")
    if os.access(os.path.join(folder, "cache.db"), os.R_OK | os.W_OK):
        with contextlib.suppress(OSError, sqlite3.Error):
            hashes = HashesCache(folder)
            repo.state.hashes.close()
            repo.state.hashes = hashes
