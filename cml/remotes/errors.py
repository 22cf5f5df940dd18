"""Errors of DVC remotes: classifies what the library of a storage raised, and explains it in one line.

Each library has its own exceptions. They are recognised by HTTP status, by errno and by the names of their classes, so
that no library has to be imported.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from cml.remotes.credential_check import CredentialCheck

# unknown_host: the key of an SSH host is not known.
# refused: credentials are missing, wrong or not sufficient.
# temporary: worth a retry.
# missing: there is no such bucket, container or folder.
# not_created: a folder that the first push will create.
ProblemKind = Literal["unknown_host", "refused", "temporary", "missing", "other", "not_created"]
BY_SEVERITY: tuple[ProblemKind, ...] = ("unknown_host", "refused", "temporary", "missing", "other", "not_created")
# In one chain of exceptions, a network error explains a failed sign-in, not the other way round.
BY_CAUSE: tuple[ProblemKind, ...] = ("unknown_host", "temporary", "refused", "missing")

REFUSED_STATUSES = {401, 403, 407}
TEMPORARY_STATUSES = {408, 425, 429, 500, 502, 503, 504}
REFUSED_ERRNOS = {errno.EACCES, errno.EPERM}
TEMPORARY_ERRNOS = {
    *(errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH),
    *(errno.ENETUNREACH, errno.EBUSY, errno.ESTALE, errno.EAGAIN, errno.EREMOTEIO),
}
CLASS_NAMES: dict[ProblemKind, tuple[str, ...]] = {
    "unknown_host": ("HostKeyNotVerifiable",),
    "refused": (
        *("PermissionError", "ForbiddenOperation", "PermissionDenied", "SFTPPermissionDenied"),
        *("KeyImportError", "KeyEncryptionError", "ProfileNotFound", "NoCredentialsError"),
        *("PartialCredentialsError", "CredentialRetrievalError", "ClientAuthenticationError"),
        *("AzureAuthError", "GoogleAuthError", "GDriveAuthError", "AuthenticationError"),
        *("HttpAccessTokenRefreshError", "AccessTokenCredentialsError"),
    ),
    "temporary": (
        *("ConnectionError", "TimeoutError", "Timeout", "TransportError", "gaierror"),
        *("ClientConnectionError", "ClientPayloadError", "ServerNotFoundError"),
        *("ChunkedEncodingError", "HTTPClientError", "ServiceRequestError", "ConnectionLost"),
        *("ServiceResponseError", "IncompleteRead", "DisconnectError", "BadGatewayError"),
    ),
    "missing": ("FileNotFoundError", "ResourceNotFoundError", "ResourceNotFound"),
}
KIND_OF_CLASS = {name: kind for kind, names in CLASS_NAMES.items() for name in names}
# For errors that have nothing but a text.
REFUSAL = re.compile(
    r"\b(401|403)\b|forbidden|unauthorized|access ?denied|not authorized|invalid_grant|authenticat|credential|"
    r"\btoken\b.*(expired|invalid|not valid|can't be found)",
    re.IGNORECASE,
)
NOT_INSTALLED = re.compile(r"is supported,? but requires")  # DVC's message for a plugin that is not installed
MAXIMUM_LENGTH = 300  # characters of a message
MAXIMUM_CAUSES = 4  # exceptions of a chain that are part of the message


@dataclass(frozen=True, kw_only=True)
class StorageProblem:
    """What is wrong with a storage: its kind, and the message of the library on one line."""

    kind: ProblemKind
    message: str


class StorageError(Exception):
    """A DVC remote could not be read or written. `remote` is its name, "" when it is not known which one."""

    def __init__(self, problem: StorageProblem, *, remote: str) -> None:
        super().__init__(problem.message)
        self.problem = problem
        self.remote = remote


def classify(errors: Iterable[BaseException]) -> StorageProblem:
    """Returns the most severe problem among the errors of one operation."""
    classified = [(_kind_of_chain(list(_chain(error))), error) for error in errors]
    kind, error = min(classified, key=lambda each: BY_SEVERITY.index(each[0]))
    return StorageProblem(kind=kind, message=_message(_chain(error)))


def explain(remote: str, check: CredentialCheck, problem: StorageProblem) -> str:
    """Explains in one line what is wrong with a remote, and what to do."""
    message = problem.message
    if not remote:
        return f"cannot read or write the data: {message}"
    name = f"the DVC remote {remote}" + (f" ({check.kind})" if check.kind else "")
    match problem.kind:
        case _ if NOT_INSTALLED.search(message):
            return f"{name} needs a package that is not installed: pip install 'dvc-cml[{check.extra}]'"
        case "refused" | "missing" | "other" if check.problems:
            return f"cannot sign in to {name}: {'; '.join(check.problems)} ({message})"
        case "refused" if check.advice and (check.missing or not check.found):
            return f"{name} needs credentials: {check.advice} ({message})"
        case "refused":
            return f"{name} refuses {' and '.join(check.found) or 'the credentials in its configuration'}: {message}"
        case "unknown_host":
            return f"the SSH host key of {name} is not known: {message}. {check.host_key_advice}"
        case "missing" | "other" if check.hint:
            return f"{name}: {message}. {check.hint.format(remote=remote)}"
        case "missing":
            return f"{name}: {message}; create it, or correct the URL: dvc remote modify {remote} url URL"
        case "temporary":
            return f"{name} does not answer or has an error: {message}. Check its URL, or run again later"
        case _ if check.missing:
            return f"{name}: {message}. It may need credentials: {check.advice}"
        case _:
            used = f"; credentials used: {' and '.join(check.found)}" if check.found else ""
            return f"{name}: {message}{used}"


def _kind_of_chain(chain: list[BaseException]) -> ProblemKind:
    kinds = [_kind_of_error(error) for error in chain]
    return next((kind for kind in BY_CAUSE if kind in kinds), "other")


def _kind_of_error(error: BaseException) -> ProblemKind:
    status = _status(error)
    if status is not None and (kind := _kind_of_status(status)) != "other":
        return kind
    number = getattr(error, "errno", None)
    if number in REFUSED_ERRNOS:
        return "refused"
    if number in TEMPORARY_ERRNOS:
        return "temporary"
    for each in type(error).__mro__:
        if each.__name__ in KIND_OF_CLASS:
            return KIND_OF_CLASS[each.__name__]
    return "refused" if REFUSAL.search(str(error)) else "other"


def _kind_of_status(status: int) -> ProblemKind:
    if status in REFUSED_STATUSES:
        return "refused"
    if status in TEMPORARY_STATUSES:
        return "temporary"
    return "missing" if status == 404 else "other"


def _status(error: BaseException) -> int | None:
    """The HTTP status of an error, wherever its library keeps it."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        response = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    for owner in (error, response, getattr(error, "resp", None)):
        for name in ("status", "status_code", "code"):
            number = getattr(owner, name, None)
            if isinstance(number, int) and 100 <= number < 600:
                return number
    return response if isinstance(response, int) else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an error and its causes, as a traceback shows them."""
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _message(chain: Iterable[BaseException]) -> str:
    """Joins the first lines of an error and its causes, without repetitions."""
    lines: list[str] = []
    for error in list(chain)[:MAXIMUM_CAUSES]:
        line = _first_line(error)
        if not any(line in other or other in line for other in lines):
            lines.append(line)
    return ": ".join(lines)[:MAXIMUM_LENGTH]


def _first_line(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    if text.startswith("{"):  # oss2 prints a dict with everything it knows
        text = str(getattr(error, "message", text)) or text
    first, _, rest = text.partition("\n")
    is_heading = first.rstrip().endswith(":") and len(rest) < MAXIMUM_LENGTH  # the reason is on the next line
    return " ".join((text if is_heading else first).split()).rstrip(".")
