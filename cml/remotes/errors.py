"""What a storage's library raised, as one of five kinds and one line. Each library has errors of its own, so they are
told by HTTP status, by errno and by the names of their classes.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from cml.remotes.kinds import CredentialCheck

# refused: credentials are missing, wrong, or may not; stranger: an SSH host whose key nobody vouches for; absent: no
# such bucket, container or folder; unmade: a folder that the first push makes; passing: worth another try.
ProblemKind = Literal["stranger", "refused", "passing", "absent", "other", "unmade"]
GRAVEST_FIRST: tuple[ProblemKind, ...] = ("stranger", "refused", "passing", "absent", "other", "unmade")

REFUSED_STATUSES = {401, 403, 407}
PASSING_STATUSES = {408, 425, 429, 500, 502, 503, 504}
REFUSED_ERRNOS = {errno.EACCES, errno.EPERM}
PASSING_ERRNOS = {
    *(errno.ECONNRESET, errno.ECONNREFUSED, errno.ECONNABORTED, errno.EPIPE, errno.ETIMEDOUT, errno.EHOSTUNREACH),
    *(errno.ENETUNREACH, errno.EBUSY, errno.ESTALE, errno.EAGAIN, errno.EREMOTEIO),
}
NAMES: dict[str, ProblemKind] = {
    **dict.fromkeys(("HostKeyNotVerifiable",), "stranger"),
    **dict.fromkeys(("PermissionError", "ForbiddenOperation", "PermissionDenied", "SFTPPermissionDenied"), "refused"),
    **dict.fromkeys(("KeyImportError", "KeyEncryptionError", "ProfileNotFound", "NoCredentialsError"), "refused"),
    **dict.fromkeys(("PartialCredentialsError", "CredentialRetrievalError", "ClientAuthenticationError"), "refused"),
    **dict.fromkeys(("AzureAuthError", "GoogleAuthError", "GDriveAuthError", "AuthenticationError"), "refused"),
    **dict.fromkeys(("HttpAccessTokenRefreshError", "AccessTokenCredentialsError"), "refused"),
    **dict.fromkeys(("ConnectionError", "TimeoutError", "Timeout", "TransportError", "gaierror"), "passing"),
    **dict.fromkeys(("ClientConnectionError", "ClientPayloadError", "ServerNotFoundError"), "passing"),
    **dict.fromkeys(("ChunkedEncodingError", "HTTPClientError", "ServiceRequestError", "ConnectionLost"), "passing"),
    **dict.fromkeys(("ServiceResponseError", "IncompleteRead", "DisconnectError", "BadGatewayError"), "passing"),
    **dict.fromkeys(("FileNotFoundError", "ResourceNotFoundError", "ResourceNotFound"), "absent"),
}
# For errors that say it in words alone.
REFUSAL = re.compile(
    r"\b(401|403)\b|forbidden|unauthorized|access ?denied|not authorized|invalid_grant|authenticat|credential|"
    r"\btoken\b.*(expired|invalid|not valid|can't be found)",
    re.IGNORECASE,
)
UNINSTALLED = re.compile(r"is supported,? but requires")
LONGEST = 300  # characters


@dataclass(frozen=True, kw_only=True)
class StorageProblem:
    """What is wrong with a storage: of which kind, and in its library's words, one line."""

    kind: ProblemKind
    said: str


class StorageError(Exception):
    """A DVC remote could not be read or written; `remote` is its name, "" where that cannot be told."""

    def __init__(self, trouble: StorageProblem, *, remote: str) -> None:
        super().__init__(trouble.said)
        self.trouble = trouble
        self.remote = remote


def describe_problem(errors: Iterable[BaseException]) -> StorageProblem:
    """Names what is behind the errors of one operation; the gravest of them speaks for all."""
    named = [(_kind_of_chain(list(_chain(error))), error) for error in errors]
    kind, error = min(named, key=lambda each: GRAVEST_FIRST.index(each[0]))
    return StorageProblem(kind=kind, said=_words(_chain(error)))


def explain(remote: str, credential_check: CredentialCheck, trouble: StorageProblem) -> str:
    """Says in one line what is wrong with a remote and what to do, by what the environment holds for it."""
    if not remote:
        return f"the data cannot be had: {trouble.said}"
    what, said = (
        f"the DVC remote {remote}" + (f" ({credential_check.kind})" if credential_check.kind else ""),
        trouble.said,
    )
    match trouble.kind:
        case _ if UNINSTALLED.search(said):
            return f"{what} needs a package that is not installed: pip install 'dvc-cml[{credential_check.extra}]'"
        case "refused" | "absent" | "other" if credential_check.wrong:
            return f"{what} cannot be signed in to: {', and '.join(credential_check.wrong)} ({said})"
        case "refused" if credential_check.missing or not credential_check.found:
            advice = credential_check.advice or "those of its configuration are refused"
            return f"{what} wants credentials: {advice} ({said})"
        case "refused":
            return f"{what} refuses {' and '.join(credential_check.found)}: {said}"
        case "stranger":
            return f"{what} may be anybody: {said}. {credential_check.host_key}"
        case "absent" | "other" if credential_check.hint:
            return f"{what}: {said}. {credential_check.hint.format(remote=remote)}"
        case "absent":
            return f"{what}: {said}: make it, or mend the remote's URL"
        case "passing":
            return f"{what} cannot be reached, or fails: {said}"
        case _ if credential_check.missing:
            return f"{what}: {said}. What helps: {credential_check.advice}"
        case _:
            return f"{what}: {said}" + (
                f"; it was asked with {' and '.join(credential_check.found)}" if credential_check.found else ""
            )


def _kind_of_status(status: int) -> ProblemKind:
    if status in REFUSED_STATUSES:
        return "refused"
    return "passing" if status in PASSING_STATUSES else "absent" if status == 404 else "other"


def _kind_of_chain(chain: list[BaseException]) -> ProblemKind:
    kinds = [_kind_of(link) for link in chain]
    # A library that fails to sign in because the network is down says both.
    told: tuple[ProblemKind, ...] = ("stranger", "passing", "refused", "absent")
    return next((kind for kind in told if kind in kinds), "other")


def _kind_of(error: BaseException) -> ProblemKind:
    status = _status(error)
    if status is not None and (kind := _kind_of_status(status)) != "other":
        return kind
    number = getattr(error, "errno", None)
    if number in REFUSED_ERRNOS:
        return "refused"
    if number in PASSING_ERRNOS:
        return "passing"
    by_name = next((NAMES[each.__name__] for each in type(error).__mro__ if each.__name__ in NAMES), None)
    if by_name:
        return by_name
    return "refused" if REFUSAL.search(str(error)) else "other"


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error carries, wherever its library keeps it."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):  # botocore's
        response = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    for place in (error, response, getattr(error, "resp", None)):
        for name in ("status", "status_code", "code"):
            number = getattr(place, name, None)
            if isinstance(number, int) and 100 <= number < 600:
                return number
    return response if isinstance(response, int) else None


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    seen: set[int] = set()
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _words(chain: Iterable[BaseException]) -> str:
    """The first lines of an error and of what is behind it, each said once."""
    said: list[str] = []
    for link in list(chain)[:4]:
        text = str(link).strip() or type(link).__name__
        if text.startswith("{"):  # oss2 shows all it knows
            text = str(getattr(link, "message", text)) or text
        first, _, rest = text.partition("\n")
        line = " ".join((text if first.rstrip().endswith(":") and len(rest) < LONGEST else first).split()).rstrip(".")
        if not any(line in other or other in line for other in said):
            said.append(line)
    return ": ".join(said)[:LONGEST]
