"""Credentials of DVC remotes, from the environment to private files and DVC configuration, and back out.

What is written where, and undone at the end of a run; which variables there are says `storage`. DVC is imported
nowhere here but for SSH's host keys.
"""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cml.errors import WorkFailed
from cml.storage import (
    GOOGLE_DRIVE,
    SSH,
    SSH_HOSTS,
    VARIABLES,
    Kind,
    choose_way,
    decoded,
    is_given,
    is_text,
    kind_of,
    place_of,
)

FOLDER = "cml-credentials-"


@dataclass(kw_only=True)
class Grant:
    """Credentials in force. `secrets` are the texts of files and of decoded variables, for `Masks`; `folder` is the
    run's private one, gone at its end.
    """

    environment: Mapping[str, str] = field(repr=False)
    secrets: tuple[str, ...] = field(repr=False)
    folder: Path = field(repr=False)
    until_exit: ExitStack = field(repr=False)

    def configure(self, remotes: Mapping[str, Mapping[str, object]]) -> dict[str, dict[str, dict[str, str]]]:
        """What DVC's configuration must be merged with (`Repo(config=...)`).

        `remotes` is its section `remote`: name -> options with `url`. With an SSH remote among them, DVC checks host
        keys from now until exit.
        """
        written: dict[str, dict[str, str]] = {}
        for name, options in remotes.items():
            url = str(options.get("url", ""))
            if (kind := kind_of(url)) and (settings := self._settings(kind, url, options)):
                written[name.lower()] = settings
        if any(kind_of(str(options.get("url"))) is SSH for options in remotes.values()):
            self.until_exit.enter_context(_host_keys_checked(self.environment.get(SSH_HOSTS.name, "")))
        return {"remote": written}

    def _settings(self, kind: Kind, url: str, options: Mapping[str, object]) -> dict[str, str]:
        way, environment = choose_way(kind, self.environment, options), self.environment
        settings = {
            variable.options[0]: variable.prefix + environment[variable.name]
            for variable in (*way.required, *way.optional)
            if variable.is_written and environment.get(variable.name)
        }
        if settings and all(is_given(variable, environment, options) for variable in way.required):
            settings |= way.settings
        host, _, path = place_of(url)
        if kind.bucket and kind.bucket.is_written and environment.get(kind.bucket.name) and not host:
            settings["url"] = f"{kind.schemes[0]}://{environment[kind.bucket.name]}/{path}"
        if kind is GOOGLE_DRIVE and _is_service_account(environment.get("GDRIVE_CREDENTIALS_DATA", "")):
            settings["gdrive_use_service_account"] = "true"
        return settings


@contextmanager
def credentials(environment: MutableMapping[str, str], temporary: Path) -> Iterator[Grant]:
    """Makes the variables of storage's table what the storages' libraries read; on exit all is as it was.

    The text of a file goes to a private folder under `temporary` (which must lie outside the workspace) and its
    variable becomes the path; empty variables are unset. Enter it before DVC or a storage's library is imported.
    """
    before = {name: environment.get(name) for name in (*VARIABLES, "GDRIVE_NON_INTERACTIVE")}
    with ExitStack() as until_exit:
        until_exit.callback(_restore, environment, before)
        try:
            folder = until_exit.enter_context(_private_folder(temporary))
            secrets = _settle(environment, folder)
        except OSError as error:
            raise WorkFailed(
                f"credentials can't be written under {temporary}: {error.strerror or error}", step="credentials"
            ) from None
        yield Grant(environment=environment, secrets=secrets, folder=folder, until_exit=until_exit)


def sweep(temporary: Path) -> int:
    """Removes what killed runs left under `temporary`, and says how many.

    The folder of a living run is locked; the lock goes with the process, whatever its number in whichever container.
    """
    count = 0
    for folder in temporary.glob(FOLDER + "*"):
        with suppress(OSError), ExitStack() as stack:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            stack.callback(os.close, handle)
            if os.fstat(handle).st_uid == os.geteuid():
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder)
                count += 1
    return count


def _settle(environment: MutableMapping[str, str], folder: Path) -> tuple[str, ...]:
    secrets = []
    environment.setdefault("GDRIVE_NON_INTERACTIVE", "1")  # PyDrive2 would wait for a browser
    for variable in VARIABLES.values():
        value = environment.get(variable.name)
        if value == "":
            del environment[variable.name]
        if not value or variable.holds == "value":
            continue
        content = _content(value)
        text = decoded(content or value)
        if not content and not is_text(text):  # a path that leads nowhere: the storage's library says so
            continue
        if variable.is_secret:
            secrets.append(text)
        if variable.holds == "text":
            environment[variable.name] = text
        elif text != content:
            environment[variable.name] = str(_write(folder / variable.name, text))
    return tuple(secrets)


def _content(path: str) -> str:
    with suppress(OSError, ValueError, RuntimeError):  # a text is taken for a path here: too long, no such user
        if (file := Path(path).expanduser()).is_file():
            return file.read_text(encoding="utf-8")
    return ""


def _write(path: Path, text: str) -> Path:
    lines = text.strip().splitlines()
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        whole = "\n".join(lines) + ("\n" if len(lines) > 1 else "")  # ssh wants the last one, AWS's JWT none
        file.write(whole.encode("utf-8", "surrogateescape"))
    return path


def _is_service_account(text: str) -> bool:
    with suppress(ValueError, AttributeError):
        return bool(json.loads(text).get("type") == "service_account")
    return False


def _restore(environment: MutableMapping[str, str], before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            environment.pop(name, None)
        else:
            environment[name] = value


@contextmanager
def _private_folder(temporary: Path) -> Iterator[Path]:
    folder, handle = _locked_folder(temporary)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _locked_folder(temporary: Path) -> tuple[Path, int]:
    temporary.mkdir(parents=True, exist_ok=True)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-", dir=temporary))  # mode 0700
        with suppress(FileNotFoundError):  # another run's sweep was quicker
            handle = os.open(folder, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks: nothing there is swept either
                fcntl.flock(handle, fcntl.LOCK_EX)
            if folder.is_dir():
                return folder, handle
            os.close(handle)


@contextmanager
def _host_keys_checked(known_hosts: str) -> Iterator[None]:
    """Holds SSH hosts to the file `known_hosts`, else to ~/.ssh/known_hosts.

    dvc-ssh 4.3 connects through sshfs with `known_hosts=None`, which accepts any host key, and has no option for it.
    """
    try:
        plugin: Any = importlib.import_module("dvc_ssh")
    except ImportError:  # DVC says itself which plugin is missing
        yield
        return
    prepare = plugin.SSHFileSystem._prepare_credentials

    def prepare_checked(self: Any, **config: Any) -> dict[str, Any]:
        return {**prepare(self, **config), "known_hosts": known_hosts or ()}

    plugin.SSHFileSystem._prepare_credentials = prepare_checked
    try:
        yield
    finally:
        plugin.SSHFileSystem._prepare_credentials = prepare
