"""Credentials of DVC remotes, from the environment to private files and DVC configuration, and back out.

What is written where, and undone at the end of a run; which variables there are says `storage`.
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
from cml.remotes.kinds import (
    GOOGLE_DRIVE,
    GOOGLE_FILE,
    SSH_HOSTS,
    VARIABLES,
    CredentialCheck,
    choose_auth_method,
    find,
    is_given,
    kind_of,
    meant_elsewhere,
    place_of,
)
from cml.remotes.plugin_patches import mended

FOLDER = "cml-credentials-"
TRIES = 10  # to remove the folder
UNASKED = {"GDRIVE_NON_INTERACTIVE": "1"}  # PyDrive2 would wait for a browser
NO_MACHINE = {"NO_GCE_CHECK": "true"}  # with a file that is refused, gcsfs would look for a machine's own account


class Credentials:
    """Credentials in force. `secrets` are the texts of files and of decoded variables, for `Masks`; `wrong` says of a
    variable why it cannot be right; `folder` is the run's private one, gone at its end.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        secrets: tuple[str, ...],
        wrong: Mapping[str, str],
        folder: Path,
        until_exit: ExitStack,
    ) -> None:
        self.environment = environment
        self.secrets = secrets
        self.wrong = wrong
        self.folder = folder
        self.until_exit = until_exit
        self.remotes: dict[str, Mapping[str, object]] = {}
        self.elsewhere: dict[str, str] = {}

    def configure(
        self, remotes: Mapping[str, Mapping[str, object]], default: str = ""
    ) -> dict[str, dict[str, dict[str, str]]]:
        """What DVC's configuration must be merged with (`Repo(config=...)`).

        `remotes` is its section `remote`: name -> options with `url`; `default` the name of the default one. With an
        SSH remote among them, DVC checks host keys from now until exit.
        """
        self.remotes, self.elsewhere = dict(remotes), meant_elsewhere(remotes, default)
        written = {name.lower(): settings for name in remotes if (settings := self._settings(name))}
        schemes = {str(options.get("url", "")).partition("://")[0] for options in remotes.values()}
        known_hosts = self.environment.get(SSH_HOSTS.name, "")
        self.until_exit.enter_context(mended(schemes, known_hosts=known_hosts, may_ask=_may_ask()))
        return {"remote": written}

    def credential_check(self, remote: str) -> CredentialCheck:
        """What the environment holds for one of the remotes that were configured."""
        options = self.remotes.get(remote, {})
        url = str(options.get("url", ""))
        if url.startswith("remote://"):  # it takes all from another one
            return self.credential_check(place_of(url)[0])
        found = find(url, self._environment_of(remote), options)
        wrong = [self.wrong[name] for name in found.found if name in self.wrong]
        withheld = [name for name in find(url, self.environment, options).found if name not in found.found]
        if withheld:
            wrong.append(
                f"{' and '.join(withheld)} {'is' if len(withheld) == 1 else 'are'} for {self.elsewhere[remote]} alone: "
                f"give this remote its own by `dvc remote modify --local {remote} ...` in a step before"
            )
        return found._replace(wrong=tuple(wrong))

    def _environment_of(self, remote: str) -> Mapping[str, str]:
        """The environment without what is meant for another server and would be sent to it as it is."""
        options = self.remotes.get(remote, {})
        kind = kind_of(str(options.get("url", "")))
        if kind is None or remote not in self.elsewhere:
            return self.environment
        sent = {v.name for way in kind.auth_methods if not way.proves for v in way.required if v.is_written}
        return {name: value for name, value in self.environment.items() if name not in sent}

    def _settings(self, remote: str) -> dict[str, str]:
        options, environment = self.remotes[remote], self._environment_of(remote)
        url = str(options.get("url", ""))
        kind = kind_of(url)
        if kind is None:
            return {}
        way = choose_auth_method(kind, environment, options)
        settings = {
            variable.options[0]: variable.prefix + environment[variable.name]
            for variable in (*way.required, *way.optional)
            if variable.is_written and environment.get(variable.name)
        }
        is_asked_for = any(environment.get(variable.name) for variable in way.required)
        if is_asked_for and all(is_given(variable, environment, options) for variable in way.required):
            settings |= way.settings
        settings |= kind.settings
        host, _, path = place_of(url)
        if kind.bucket and kind.bucket.is_written and environment.get(kind.bucket.name) and not host:
            settings["url"] = f"{kind.schemes[0]}://{environment[kind.bucket.name]}/{path}"
        if not _may_ask():
            settings |= {option: "false" for option in ("ask_password", "ask_passphrase") if option in options}
        if kind is GOOGLE_DRIVE and _is_service_account(environment.get("GDRIVE_CREDENTIALS_DATA", "")):
            settings["gdrive_use_service_account"] = "true"
        return settings


@contextmanager
def provide_credentials(environment: MutableMapping[str, str], temporary: Path) -> Iterator[Credentials]:
    """Makes the variables of storage's table what the storages' libraries read; on exit all is as it was.

    The text of a file goes to a private folder under `temporary` (which must lie outside the workspace) and its
    variable becomes the path; empty variables are unset. Enter it before DVC or a storage's library is imported.
    """
    before = {name: environment.get(name) for name in (*VARIABLES, *UNASKED, *NO_MACHINE)}
    with ExitStack() as until_exit:
        until_exit.callback(_restore, environment, before)
        try:
            folder = until_exit.enter_context(_private_folder(temporary))
            secrets, wrong = _settle(environment, folder)
        except OSError as error:
            raise WorkFailed(
                f"credentials can't be written under {temporary}: {error.strerror or error}", step="credentials"
            ) from None
        yield Credentials(environment=environment, secrets=secrets, wrong=wrong, folder=folder, until_exit=until_exit)


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
                _remove(folder)
                count += 1
    return count


def _settle(environment: MutableMapping[str, str], folder: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """Returns the secrets that became files or were decoded, and of variables what cannot be right."""
    secrets, wrong = [], {}
    for name, answer in {**UNASKED, **(NO_MACHINE if environment.get(GOOGLE_FILE.name) else {})}.items():
        environment.setdefault(name, answer)
    for variable in VARIABLES.values():
        value = environment.get(variable.name)
        if value == "":
            del environment[variable.name]
        if not value or variable.holds == "value":
            continue
        content = _content(value)
        text = decode(content or value)
        if not content and not is_text(text):  # a path that leads nowhere
            wrong[variable.name] = f"{variable.name} is neither a file here nor the text of one"
            continue
        if variable.is_json and not _is_json(text):
            wrong[variable.name] = f"{variable.name} holds no JSON: was it cut off?"
        if variable.is_secret:
            secrets.append(text)
        if variable.holds == "text":
            environment[variable.name] = text
        elif text != content:
            environment[variable.name] = str(_write(folder / variable.name, text))
    return tuple(secrets), wrong


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


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


def _may_ask() -> bool:
    """Whether a person sits at the terminal; a job must never wait for one."""
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
    made: list[tuple[Path, int]] = []
    try:
        with signals.signals_blocked():  # a cancel between the folder and the promise to remove it would leave it
            made.append(_locked_folder(temporary))
        yield made[0][0]
    finally:
        for folder, handle in made:
            for _ in range(TRIES):
                _remove(folder)
                if not folder.exists():
                    break
                time.sleep(0.05)  # a thread of a library's is still writing there
            os.close(handle)


def _locked_folder(temporary: Path) -> tuple[Path, int]:
    temporary.mkdir(parents=True, exist_ok=True)
    while True:
        folder = temporary / f"{FOLDER}{os.getpid()}-{os.urandom(8).hex()}"
        folder.mkdir(mode=0o700)
        with suppress(FileNotFoundError):  # another run's sweep was quicker
            handle = os.open(folder, os.O_RDONLY)
            with suppress(OSError):  # a file system without locks: nothing there is swept either
                fcntl.flock(handle, fcntl.LOCK_EX)
            if folder.is_dir():
                return folder, handle
            os.close(handle)


def _remove(folder: Path) -> None:
    """Removes a folder of ours, which is mostly empty but for another empty one."""
    try:
        for inner in folder.iterdir():
            inner.rmdir()
        folder.rmdir()
    except OSError:
        from shutil import rmtree

        rmtree(folder, ignore_errors=True)  # nothing that can go stays
