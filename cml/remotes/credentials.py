"""Hands the credentials in the environment to DVC and to the libraries of storages; undoes that at the end of a run.

`kinds` says which variables there are, `credential_check` which of them a remote needs.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from cml.errors import WorkFailed
from cml.process import signals
from cml.process.secret_text import decode, is_text
from cml.remotes.credential_check import (
    CredentialCheck,
    check_credentials,
    choose_auth_method,
    is_given,
    remotes_on_other_servers,
    split_url,
)
from cml.remotes.kinds import CREDENTIAL_VARIABLES, GOOGLE_DRIVE, GOOGLE_FILE, SSH_HOSTS, CredentialVariable, kind_of
from cml.remotes.plugin_patches import patched_plugins

FOLDER_PREFIX = "cml-credentials-"
REMOVE_ATTEMPTS = 10
NO_BROWSER = {"GDRIVE_NON_INTERACTIVE": "1"}  # otherwise PyDrive2 waits for somebody to sign in with a browser
NO_METADATA_SERVER = {"NO_GCE_CHECK": "true"}  # otherwise gcsfs, when a file is refused, looks for a machine account


class Credentials:
    """The credentials of a run, while they are in place.

    `secrets` are the texts of files and of decoded variables, for the masks. `problems` has a message for each variable
    whose value cannot be right. `folder` is the private folder of the run, removed at its end.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        secrets: tuple[str, ...],
        problems: Mapping[str, str],
        folder: Path,
        until_exit: ExitStack,
    ) -> None:
        self.environment = environment
        self.secrets = secrets
        self.problems = problems
        self.folder = folder
        self.until_exit = until_exit
        self.remotes: dict[str, Mapping[str, object]] = {}
        self.on_other_servers: dict[str, str] = {}

    def configure(
        self, remotes: Mapping[str, Mapping[str, object]], default: str = ""
    ) -> dict[str, dict[str, dict[str, str]]]:
        """Returns the configuration to merge into DVC's (`Repo(config=...)`), and patches the plugins of the remotes.

        `remotes` is the section `remote` of DVC's configuration: name -> options with `url`. `default` is the name of
        the default remote.
        """
        self.remotes, self.on_other_servers = dict(remotes), remotes_on_other_servers(remotes, default)
        # DVC has the names of remotes in lower case after it has read its configuration files.
        configured = {name.lower(): settings for name in remotes if (settings := self._settings(name))}
        schemes = {str(options.get("url", "")).partition("://")[0] for options in remotes.values()}
        known_hosts = self.environment.get(SSH_HOSTS.name, "")
        self.until_exit.enter_context(patched_plugins(schemes, known_hosts=known_hosts, may_ask=_may_ask()))
        return {"remote": configured}

    def check(self, remote: str) -> CredentialCheck:
        """Checks the credentials of one of the configured remotes."""
        options = self.remotes.get(remote, {})
        url = str(options.get("url", ""))
        if url.startswith("remote://"):  # a path on another remote, with the settings of that one
            return self.check(split_url(url)[0])
        check = check_credentials(url, self._environment_of(remote), options)
        problems = [self.problems[name] for name in check.found if name in self.problems]
        withheld = [name for name in check_credentials(url, self.environment, options).found if name not in check.found]
        if withheld:
            names = f"{' and '.join(withheld)} {'is' if len(withheld) == 1 else 'are'}"
            problems.append(
                f"{names} only sent to {self.on_other_servers[remote]}: set the credentials of this remote with "
                f"`dvc remote modify --local {remote} ...` in an earlier step"
            )
        return check._replace(problems=tuple(problems))

    def _environment_of(self, remote: str) -> Mapping[str, str]:
        """The environment without variables that are for another server and that this remote would send to its own."""
        options = self.remotes.get(remote, {})
        kind = kind_of(str(options.get("url", "")))
        if kind is None or remote not in self.on_other_servers:
            return self.environment
        sent = {
            variable.name
            for method in kind.auth_methods
            if not method.sends_no_secret
            for variable in method.required
            if variable.is_set_in_config
        }
        return {name: value for name, value in self.environment.items() if name not in sent}

    def _settings(self, remote: str) -> dict[str, str]:
        """Returns the options for one remote that DVC needs beside those of its configuration."""
        options, environment = self.remotes[remote], self._environment_of(remote)
        url = str(options.get("url", ""))
        kind = kind_of(url)
        if kind is None:
            return {}
        method = choose_auth_method(kind, environment, options)
        settings = {
            variable.options[0]: variable.prefix + environment[variable.name]
            for variable in (*method.required, *method.optional)
            if variable.is_set_in_config and environment.get(variable.name)
        }
        # Only for a complete method: with `allow_agent: false` and no key, nothing would be left to sign in with.
        is_any_set = any(environment.get(variable.name) for variable in method.required)
        if is_any_set and all(is_given(variable, environment, options) for variable in method.required):
            settings |= method.settings
        settings |= kind.settings
        host, _, path = split_url(url)
        bucket = environment.get(kind.bucket.name) if kind.bucket and kind.bucket.is_set_in_config else None
        if bucket and not host:
            settings["url"] = f"{kind.schemes[0]}://{bucket}/{path}"
        # An option of the user's own configuration, which would make a job wait for an answer until its timeout.
        if not _may_ask():
            settings |= {option: "false" for option in ("ask_password", "ask_passphrase") if option in options}
        if kind is GOOGLE_DRIVE and _is_service_account(environment.get("GDRIVE_CREDENTIALS_DATA", "")):
            settings["gdrive_use_service_account"] = "true"
        return settings


@contextmanager
def provide_credentials(environment: MutableMapping[str, str], temporary: Path) -> Iterator[Credentials]:
    """Turns the variables of the table into what the libraries of storages read; restores `environment` on exit.

    The text of a file is written to a private folder in `temporary` (which must be outside the workspace), and its
    variable becomes the path. Empty variables are unset. Enter it before DVC or a library of a storage is imported:
    some of them read the environment then.
    """
    before = {name: environment.get(name) for name in (*CREDENTIAL_VARIABLES, *NO_BROWSER, *NO_METADATA_SERVER)}
    with ExitStack() as until_exit:
        # First, so that it is done also where the files cannot be written, and after they were removed.
        until_exit.callback(_restore, environment, before)
        try:
            folder = until_exit.enter_context(_private_folder(temporary))
            secrets, problems = _convert_variables(environment, folder)
        except OSError as error:
            raise WorkFailed(
                f"cannot write credentials to {temporary}: {error.strerror or error}; "
                "set TMPDIR to a folder that this user can write to",
                step="credentials",
            ) from None
        yield Credentials(
            environment=environment, secrets=secrets, problems=problems, folder=folder, until_exit=until_exit
        )


def remove_leftovers(temporary: Path) -> int:
    """Removes the credential folders of killed runs from `temporary` and returns their number.

    A running run holds a lock on its folder, which ends with the process. A process ID would not do: another container
    with the same temporary folder has process IDs of its own.
    """
    count = 0
    for folder in temporary.glob(FOLDER_PREFIX + "*"):
        with suppress(OSError), ExitStack() as stack:
            # O_NOFOLLOW: in a temporary folder that everybody can write to, a link could lead anywhere.
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            stack.callback(os.close, handle)
            # A folder of another user is that user's to remove, and its lock says nothing to us.
            if os.fstat(handle).st_uid == os.geteuid():
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)
                count += 1
    return count


def _convert_variables(environment: MutableMapping[str, str], folder: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """Writes files, decodes texts. Returns the secrets in them, and the problems of variables by name."""
    secrets: list[str] = []
    problems: dict[str, str] = {}
    defaults = {**NO_BROWSER, **(NO_METADATA_SERVER if environment.get(GOOGLE_FILE.name) else {})}
    for name, value in defaults.items():
        environment.setdefault(name, value)
    for variable in CREDENTIAL_VARIABLES.values():
        if environment.get(variable.name) == "":
            del environment[variable.name]
        elif variable.name in environment and variable.content != "value":
            _convert(variable, environment, folder, secrets, problems)
    return tuple(secrets), problems


def _convert(
    variable: CredentialVariable,
    environment: MutableMapping[str, str],
    folder: Path,
    secrets: list[str],
    problems: dict[str, str],
) -> None:
    """Converts one variable that holds the text or the path of a file."""
    name, value = variable.name, environment[variable.name]
    content = _read_file(value)
    text = decode(content or value)
    if not content and not is_text(text):
        problems[name] = f"{name} is neither the path of a file nor its content"
        return
    if variable.is_json and not _is_json_object(text):
        problems[name] = f"{name} is not valid JSON; was it truncated?"
    if variable.is_secret:
        secrets.append(text)
    if variable.content == "text":
        environment[name] = text
    elif text != content:
        environment[name] = str(_write_private(folder / name, text))


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _read_file(path: str) -> str:
    """The content of a file; "" when `path` is not the path of a file."""
    with suppress(OSError, ValueError, RuntimeError):  # a key or JSON is not a path: too long, a NUL, no such ~user
        if (file := Path(path).expanduser()).is_file():
            return file.read_text(encoding="utf-8")
    return ""


def _write_private(path: Path, text: str) -> Path:
    lines = text.strip().splitlines()
    # ssh requires a line end after the last line of a key; AWS refuses one after a token.
    content = "\n".join(lines) + ("\n" if len(lines) > 1 else "")
    # O_EXCL: never into a file or a link that somebody else has put there.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content.encode("utf-8", "surrogateescape"))
    return path


def _may_ask() -> bool:
    """Whether a person can answer questions on the terminal. A CI job must never wait for one."""
    return bool(sys.stdin) and sys.stdin.isatty()


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
    created: list[tuple[Path, int]] = []
    try:
        with signals.signals_blocked():  # a signal between the creation and the `append` would leave the folder
            created.append(_create_locked_folder(temporary))
        yield created[0][0]
    finally:
        for folder, handle in created:
            for _ in range(REMOVE_ATTEMPTS):
                _remove(folder)
                if not folder.exists():
                    break
                time.sleep(0.05)  # a thread of a library is still writing there
            os.close(handle)


def _create_locked_folder(temporary: Path) -> tuple[Path, int]:
    """Returns a new private folder and the file descriptor that holds its lock."""
    temporary.mkdir(parents=True, exist_ok=True)
    while True:
        folder = temporary / f"{FOLDER_PREFIX}{os.getpid()}-{os.urandom(8).hex()}"
        folder.mkdir(mode=0o700)
        with suppress(FileNotFoundError):  # `remove_leftovers` of another run removed it before it was locked
            handle = os.open(folder, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks; `remove_leftovers` removes nothing there either
                fcntl.flock(handle, fcntl.LOCK_EX)
            if folder.is_dir():
                return folder, handle
            os.close(handle)


def _remove(folder: Path) -> None:
    """Removes one of our folders. Mostly it contains only an empty folder, which needs no import of shutil."""
    try:
        for inner in folder.iterdir():
            inner.rmdir()
        folder.rmdir()
    except OSError:
        from shutil import rmtree  # a skipped run, which has no files there, must not pay for this import

        rmtree(folder, ignore_errors=True)
