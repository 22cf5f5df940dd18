"""Which credentials the environment has for a DVC remote, which are missing, and what to do about it.

Pure: compares the table of storage kinds with an environment and with the options of the remote in DVC's
configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple
from urllib.parse import urlsplit

from cml.remotes.kinds import ANONYMOUS, SSH_HOSTS, AuthMethod, CredentialVariable, StorageKind, kind_of

NO_OPTIONS: Mapping[str, object] = {}


class CredentialCheck(NamedTuple):
    """What the environment has for one remote. The texts are for messages.

    `missing` variables explain why a remote refuses us. They are no proof that it will: a machine may have an identity
    of its own (an instance role, ~/.ssh, kinit). `problems` are values that cannot be right.
    """

    kind: str
    auth_method: str
    found: tuple[str, ...]
    missing: tuple[str, ...]
    advice: str
    problems: tuple[str, ...] = ()
    host_key_advice: str = ""
    hint: str = ""
    extra: str = ""


def check_credentials(
    url: str, environment: Mapping[str, str], options: Mapping[str, object] = NO_OPTIONS
) -> CredentialCheck:
    """Checks the credentials for a remote; `options` is its DVC configuration."""
    kind = kind_of(url)
    if kind is None:
        scheme = url.partition(":")[0]
        return CredentialCheck(
            kind="", auth_method="", found=(), missing=(), advice=f"CML knows no credentials for {scheme}://"
        )
    # The user has configured a way to sign in that needs no variable.
    if any(str(options.get(option, "")).lower() == "true" for option in kind.login_options):
        return CredentialCheck(kind=kind.name, auth_method="DVC's configuration", found=(), missing=(), advice="")
    method = choose_auth_method(kind, environment, options)
    host, port, _ = split_url(url)
    # A URL without a bucket gets it from a variable, which is then necessary.
    needed = (*method.required, kind.bucket) if kind.bucket and not host else method.required
    found = tuple(variable.name for variable in (*needed, *method.optional) if environment.get(variable.name))
    missing = tuple(variable.name for variable in needed if not is_given(variable, environment, options))
    advice = [_advise(kind, method, missing)]
    host_key_advice = ""
    if SSH_HOSTS in method.optional:
        is_set = SSH_HOSTS.name in found
        host_key_advice = _advise_on_host_key(host, port, is_set=is_set)
        if not is_set:
            advice.append(host_key_advice)
    return CredentialCheck(
        kind=kind.name,
        auth_method=method.name,
        found=found,
        missing=missing,
        advice="; ".join(filter(None, advice)),
        host_key_advice=host_key_advice,
        hint="" if options.get("method") else kind.hint,
        extra=kind.extra,
    )


def _advise(kind: StorageKind, method: AuthMethod, missing: tuple[str, ...]) -> str:
    """Which variables to set; "" when nothing is missing."""
    if missing:
        others = [other.name for other in kind.auth_methods if other not in (method, ANONYMOUS)]
        alternatives = f"; other auth methods: {', '.join(others)}" if others else ""
        advice = f"set {' and '.join(missing)} ({method.name}{alternatives})"
        return f"{advice}; {kind.advice}" if kind.advice else advice
    if method is ANONYMOUS and kind.auth_methods != (ANONYMOUS,):
        methods = [other for other in kind.auth_methods if other.required]
        return f"set {', or '.join(f'{join_names(other.required)} ({other.name})' for other in methods)}"
    return ""


def _advise_on_host_key(host: str, port: int | None, *, is_set: bool) -> str:
    scan = f"`ssh-keyscan {f'-p {port} ' if port else ''}{host or 'HOST'}`"
    if is_set:
        return f"{SSH_HOSTS.name} does not contain the current key of the host, which {scan} prints"
    return f"set {SSH_HOSTS.name} to the output of {scan}, or add it to ~/.ssh/known_hosts"


def join_names(variables: Iterable[CredentialVariable]) -> str:
    return " and ".join(variable.name for variable in variables)


def choose_auth_method(kind: StorageKind, environment: Mapping[str, str], options: Mapping[str, object]) -> AuthMethod:
    """The first method with all its variables; but an incomplete method when more variables of that one are set.

    Whoever set two of three variables of a method means that one, and wants to read what is missing.
    """

    def count(variables: Iterable[CredentialVariable]) -> int:
        return sum(is_given(variable, environment, options) for variable in variables)

    complete = [method for method in kind.auth_methods if count(method.required) == len(method.required)]
    # `max` returns the first of several that are equally complete: the table has the usual one first.
    fullest = max(kind.auth_methods, key=lambda method: count(method.required))
    if not complete:
        return fullest
    first = complete[0]
    is_meant = count((*first.required, *first.optional)) >= count((*fullest.required, *fullest.optional))
    return first if is_meant else fullest


def is_given(variable: CredentialVariable, environment: Mapping[str, str], options: Mapping[str, object]) -> bool:
    """Whether the variable is set, or an option with the same meaning in the configuration of the remote."""
    return bool(environment.get(variable.name)) or any(options.get(option) for option in variable.options)


def remotes_on_other_servers(remotes: Mapping[str, Mapping[str, object]], default: str) -> dict[str, str]:
    """Returns the remotes that must not get the variables of their kind: name -> the server that may get them.

    That is the server of the default remote, or else of the first one in DVC's configuration.
    """
    servers: dict[str, tuple[str, int | None]] = {}
    others = {}
    # Sorting keeps the order of equals: after the default remote, all others as in the configuration.
    for name in sorted(remotes, key=lambda name: name != default):
        url = str(remotes[name].get("url", ""))
        kind = kind_of(url)
        if kind is None or not kind.has_server_url:
            continue
        host, port, _ = split_url(url)
        server = servers.setdefault(kind.name, (host, port))
        if server != (host, port):
            others[name] = ":".join(str(part) for part in server if part)
    return others


def split_url(url: str) -> tuple[str, int | None, str]:
    """The host (or bucket), the port and the path of a URL; empty values when it is not a valid URL."""
    with suppress(ValueError):
        parts = urlsplit(url)
        return parts.hostname or "", parts.port, parts.path.lstrip("/")
    return "", None, ""
