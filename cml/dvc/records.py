"""Stores the records of a plan's jobs on the default DVC remote, beside DVC's run cache.

The run cache has every run that there ever was. A record says which of them the other jobs of this plan used. It is the
file `cml/<plan>/<job>.json`; a second try of the same job overwrites it, and `cml gather` removes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from dvc.exceptions import DvcException
from dvc.schema import COMPILED_LOCK_FILE_STAGE_SCHEMA
from dvc_objects.fs.generic import copy
from dvc_objects.fs.local import localfs
from voluptuous import Invalid

from cml.dvc.run_cache import LEGACY
from cml.errors import BadInput
from cml.model.records import Entry, JobRecord, StageResult, read_record, write_record
from cml.process.log import Log
from cml.remotes.probe import attribute_error, retry_remote

if TYPE_CHECKING:
    from dvc.repo import Repo

FOLDER = "cml"
MAX_BYTES = 64 * 2**20  # of a record; one stage takes about a thousand
T = TypeVar("T")


class Records:
    """The records of one plan. Raises BadInput where the default DVC remote cannot store any."""

    def __init__(self, repo: Repo, plan: str, log: Log) -> None:
        self._repo = repo
        self._log = log
        self._remote = str(repo.config["core"].get("remote", ""))
        try:
            odb = repo.cloud.get_remote_odb(None, "push --run-cache", hash_name=LEGACY)
        except DvcException:
            raise BadInput(
                "the jobs of a plan exchange their results through the default DVC remote, and this project has none "
                "with a run cache: dvc remote add -d NAME URL"
            ) from None
        self._fs = odb.fs
        if self._fs.protocol in ("http", "https"):
            raise BadInput(
                f"the jobs of a plan exchange their results through the run cache, and DVC has none on an HTTP remote "
                f"such as {self._remote}: set another default remote (dvc remote default NAME), or use `cml run`"
            )
        self._folder = self._fs.join(odb.path, FOLDER, plan)

    def read(self) -> JobRecord:
        """Returns the results of all jobs. Raises StorageError."""
        results: dict[str, StageResult] = {}
        failures: dict[str, str] = {}
        for path in self._retry(self._paths):
            try:
                found = self._retry(lambda: self._read(path))  # noqa: B023 - called before the next path
            except ValueError as error:
                self._log.warning(f"{path} is not a valid record of a job, and is ignored: {error}")
                continue
            results |= found.results
            failures |= found.failures
        return JobRecord(
            # A stage that failed in a first try may have a result from a second one.
            results=results,
            failures={name: reason for name, reason in failures.items() if name not in results},
        )

    def _read(self, path: str) -> JobRecord:
        try:
            # Before it is read: everybody who can write to the remote can put a large file there.
            if (size := self._fs.info(path)["size"] or 0) > MAX_BYTES:
                raise ValueError(f"it has {size:,} bytes")
            return read_record(self._fs.cat_file(path), _check_entry)
        except FileNotFoundError:  # another gather has removed it
            return JobRecord(results={}, failures={})

    def write(self, stages: Iterable[str], record: JobRecord) -> None:
        """Writes the record of the job with these stages, over that of an earlier try. Raises StorageError."""
        # The same name in a second try of the job, and short whatever the names of the stages are.
        name = hashlib.sha256("\0".join(stages).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "record.json"
            file.write_text(write_record(record), encoding="utf-8")
            self._retry(lambda: copy(localfs, str(file), self._fs, self._fs.join(self._folder, f"{name}.json")))

    def remove(self) -> None:
        """Removes the records, if this job may: one that stays does no harm."""
        with contextlib.suppress(Exception):
            for path in self._paths():
                self._fs.rm_file(path)
            # Object storages have no folders that stay behind.
            if self._fs.protocol == "local":
                self._fs.rmdir(self._folder)
                self._fs.rmdir(self._fs.parent(self._folder))

    def _paths(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return sorted(path for path in self._fs.find(self._folder) if path.endswith(".json"))
        return []

    def _retry(self, work: Callable[[], T]) -> T:
        """Returns what `work` returns, and tries again after errors of the storage that may pass."""

        def attempt() -> T:
            try:
                return work()
            except ValueError:  # of a record, not of the storage
                raise
            except Exception as error:  # each storage's library raises its own
                raise attribute_error(self._repo, [self._remote], [error], is_sure=True) from error

        return retry_remote(attempt, self._log)


def _check_entry(entry: Any) -> Entry:
    """Returns an entry of dvc.lock. Raises ValueError where DVC's schema refuses it."""
    try:
        return dict(COMPILED_LOCK_FILE_STAGE_SCHEMA(entry))
    except Invalid as error:
        raise ValueError(str(error)) from None
