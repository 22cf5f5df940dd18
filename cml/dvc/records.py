"""What a job of a plan leaves for the others, beside the run cache on the default DVC remote: the dvc.lock entries of
its stages, how they fared, and why one failed.

The run cache knows every run that there ever was; a record says which of them this plan's other jobs went on from. It
lies at `cml/<plan>/<job>.json`, where a second try of the same job writes it anew, and `gather` removes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cml.dvc.pull import LEGACY
from cml.errors import BadInput
from cml.model.json import read_dataclass
from cml.model.report import StageRun
from cml.process.log import Log
from cml.remotes.probe import attribute_error, retry_remote

if TYPE_CHECKING:
    from dvc.repo import Repo

FOLDER = "cml"
LARGEST = 64 * 2**20  # bytes of a record; one stage takes about a thousand
LONGEST_FAILURE = 1_000  # characters
Entry = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a stage came to: its entry of dvc.lock, and how it fared."""

    entry: Entry
    run: StageRun


@dataclass(frozen=True, kw_only=True)
class Record:
    """What one job came to: the results of its stages by their addresses, and for the stage that failed its message."""

    results: Mapping[str, Result]
    failures: Mapping[str, str]


class Records:
    """The records of one plan. Raises BadInput where the default DVC remote cannot hold any."""

    def __init__(self, repo: Repo, plan: str, log: Log) -> None:
        from dvc.exceptions import DvcException

        self._repo = repo
        self._log = log
        self._remote = str(repo.config["core"].get("remote", ""))
        try:
            odb = repo.cloud.get_remote_odb(None, "push --run-cache", hash_name=LEGACY)
        except DvcException:
            raise BadInput(
                "the jobs of a plan hand their results on by the default DVC remote, and this project has none that "
                "keeps a run cache: dvc remote add -d NAME URL"
            ) from None
        self._fs = odb.fs
        if self._fs.protocol in ("http", "https"):
            raise BadInput(
                f"the jobs of a plan hand their results on by the run cache, and DVC keeps none on an HTTP remote, "
                f"which {self._remote} is: set another one as the default (dvc remote default NAME), or use `cml run`"
            )
        self._folder = self._fs.join(odb.path, FOLDER, plan)

    def read(self) -> Record:
        """Returns what all jobs came to. Raises StorageTrouble."""
        results: dict[str, Result] = {}
        failures: dict[str, str] = {}
        for path in self._retry(self._paths):
            try:
                found = self._retry(lambda: self._read(path))  # noqa: B023 - called at once
            except ValueError as error:
                self._log.warning(f"{path} is no record of a job's, and is left out: {error}")
                continue
            results |= found.results
            failures |= found.failures
        return Record(results=results, failures={name: why for name, why in failures.items() if name not in results})

    def _read(self, path: str) -> Record:
        try:
            if (size := self._fs.info(path)["size"] or 0) > LARGEST:
                raise ValueError(f"it has {size:,} bytes")
            return _parsed(self._fs.cat_file(path))
        except FileNotFoundError:  # another gather has taken it
            return Record(results={}, failures={})

    def write(self, stages: Iterable[str], record: Record) -> None:
        """Writes the record of the job with these stages, over that of an earlier try. Raises StorageTrouble."""
        from dvc_objects.fs.generic import copy
        from dvc_objects.fs.local import localfs

        name = hashlib.sha256("\0".join(stages).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "record.json"
            file.write_text(_text(record), encoding="utf-8")
            self._retry(lambda: copy(localfs, str(file), self._fs, self._fs.join(self._folder, f"{name}.json")))

    def remove(self) -> None:
        """Removes what was gathered, where this job may: a record that stays is in nobody's way."""
        with contextlib.suppress(Exception):
            for path in self._paths():
                self._fs.rm_file(path)
            if self._fs.protocol == "local":
                self._fs.rmdir(self._folder)
                self._fs.rmdir(self._fs.parent(self._folder))

    def _paths(self) -> list[str]:
        with contextlib.suppress(FileNotFoundError):
            return sorted(path for path in self._fs.find(self._folder) if path.endswith(".json"))
        return []

    def _retry(self, question: Any) -> Any:
        """Returns what the remote answers; retried while its problem may pass."""

        def ask() -> Any:
            try:
                return question()
            except ValueError:
                raise
            except Exception as error:  # each storage's library raises its own
                raise attribute_error(self._repo, [self._remote], [error], is_sure=True) from error

        return retry_remote(ask, self._log)


def _text(record: Record) -> str:
    stages = {name: {"entry": result.entry, "run": asdict(result.run)} for name, result in record.results.items()}
    return json.dumps({"stages": stages, "failures": dict(record.failures)}, ensure_ascii=False)


def _parsed(data: bytes) -> Record:
    """Returns a record from its file's bytes. Whoever can write to the remote can write one, so nothing of it is
    believed that has not its shape. Raises ValueError.
    """
    from dvc.schema import COMPILED_LOCK_FILE_STAGE_SCHEMA
    from voluptuous import Invalid

    try:
        document = json.loads(data)
        return Record(
            results={
                name: Result(
                    entry=COMPILED_LOCK_FILE_STAGE_SCHEMA(stage["entry"]),
                    run=read_dataclass(StageRun, stage["run"], name),
                )
                for name, stage in document["stages"].items()
            },
            failures={name: str(why)[:LONGEST_FAILURE] for name, why in document["failures"].items()},
        )
    except (Invalid, KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None
