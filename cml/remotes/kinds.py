"""THE table of storages: kind, ways to sign in, variables; what a remote needs, and what of it is there.

Pure; `credentials` writes and undoes. A variable that the storage's own library reads keeps its name; the others are
DVC_<KIND>_<DVC's option> and go to DVC's configuration, in memory only.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from cml.process.masking import name_suggests_secret
from cml.process.secret_text import decode, is_text

Holds = Literal["value", "file", "text"]
NOTHING: Mapping[str, str] = MappingProxyType({})


class CredentialVariable(NamedTuple):
    """One variable. A file, given as path or text, becomes a path; a text, given as either, the text.

    A text may also come in base64, the only form of a file that GitLab masks.
    `options` are the remote's options in DVC's configuration that stand for it. When `is_written` it is written to
    the first of them, after `prefix`: no library reads the variable itself, or not it alone.
    """

    name: str
    options: tuple[str, ...] = ()
    holds: Holds = "value"
    is_secret: bool = True
    is_written: bool = False
    is_json: bool = False
    prefix: str = ""


class AuthMethod(NamedTuple):
    """One way to sign in: the variables it takes, and the DVC options that go with them.

    `proves` when the secret itself is never sent.
    """

    name: str
    required: tuple[CredentialVariable, ...] = ()
    optional: tuple[CredentialVariable, ...] = ()
    settings: Mapping[str, str] = NOTHING
    proves: bool = False


class Kind(NamedTuple):
    """A kind of storage: its URL schemes, and pip's extra `dvc-cml[...]` that it needs.

    `bucket` names the place where the URL does not, and is written into it; with an option of `spared_by` no variable
    is needed. `settings` are DVC options for all its remotes. Where the URL names a server (`is_server`), the variables
    are for one server alone, unless they only prove: for the default remote's, or else the first one's.
    """

    name: str
    schemes: tuple[str, ...]
    auth_methods: tuple[AuthMethod, ...]
    extra: str = ""
    bucket: CredentialVariable | None = None
    is_server: bool = False
    spared_by: tuple[str, ...] = ()
    settings: Mapping[str, str] = NOTHING
    advice: str = ""
    hint: str = ""


class CredentialCheck(NamedTuple):
    """What the environment holds for one remote.

    `missing` explains a refusal; it is no verdict, since a machine may have an identity of its own (an instance's
    role, ~/.ssh, kinit). `wrong` says what cannot be right of the values that are there,
    `host_key` what to do where an SSH host is not known.
    """

    kind: str
    way: str
    found: tuple[str, ...]
    missing: tuple[str, ...]
    advice: str
    wrong: tuple[str, ...] = ()
    host_key: str = ""
    hint: str = ""
    extra: str = ""


def _secret(name: str, *options: str, holds: Holds = "value", is_json: bool = False) -> CredentialVariable:
    return CredentialVariable(name=name, options=options, holds=holds, is_json=is_json)


def _public(name: str, *options: str, holds: Holds = "value") -> CredentialVariable:
    return CredentialVariable(name=name, options=options, holds=holds, is_secret=False)


def _written(
    name: str, *options: str, holds: Holds = "value", is_secret: bool = True, prefix: str = ""
) -> CredentialVariable:
    return CredentialVariable(
        name=name, options=options, holds=holds, is_secret=is_secret, is_written=True, prefix=prefix
    )


# Sources: DVC's config_schema.py and its plugins s3 3.3, azure 3.1, oss 3.0, gs 3.1, gdrive 3.0, ssh 4.3, webdav 3.0,
# hdfs 3.0, webhdfs 3.1.
# fmt: off
AWS_PLACE = (_public("AWS_REGION"), _public("AWS_DEFAULT_REGION"), _public("AWS_ENDPOINT_URL"))
AWS_FILE = _secret("AWS_SHARED_CREDENTIALS_FILE", "credentialpath", holds="file")
AZURE_ACCOUNT = _public("AZURE_STORAGE_ACCOUNT", "account_name")
AZURE_CLIENT = (_public("AZURE_CLIENT_ID", "client_id"), _public("AZURE_TENANT_ID", "tenant_id"))
# Written, so that this one way is taken: else Azure's library goes on to ask for a machine's identity, for a minute.
AZURE_PRINCIPAL = (_written("AZURE_CLIENT_ID", "client_id", is_secret=False),
                   _written("AZURE_TENANT_ID", "tenant_id", is_secret=False),
                   _written("AZURE_CLIENT_SECRET", "client_secret"))
NO_OTHER_IDENTITY = {"exclude_managed_identity_credential": "true", "exclude_shared_token_cache_credential": "true",
                     "exclude_visual_studio_code_credential": "true"}
GOOGLE_FILE = _secret("GOOGLE_APPLICATION_CREDENTIALS", "credentialpath", holds="file", is_json=True)
SSH_HOSTS = _public("DVC_SSH_KNOWN_HOSTS", holds="file")
SSH_MORE = (_written("DVC_SSH_USER", "user", is_secret=False), SSH_HOSTS)
HTTP_PASSWORD = _written("DVC_HTTP_PASSWORD", "password")
WEBDAV_PASSWORD = _written("DVC_WEBDAV_PASSWORD", "password")
WEBHDFS_USER = _written("DVC_WEBHDFS_USER", "user", is_secret=False)
HADOOP = (_public("HADOOP_USER_NAME"), _public("KRB5CCNAME"), _public("JAVA_HOME"))
ANONYMOUS = AuthMethod(name="no credentials")

OSS = Kind(name="Aliyun OSS", schemes=("oss",), extra="oss", bucket=_written("OSS_BUCKET", is_secret=False),
           auth_methods=(
        AuthMethod(name="access key", required=(_secret("OSS_ACCESS_KEY_ID", "oss_key_id"),
                                         _secret("OSS_ACCESS_KEY_SECRET", "oss_key_secret"),
                                         _public("OSS_ENDPOINT", "oss_endpoint"))),
    ))
GOOGLE_DRIVE = Kind(name="Google Drive", schemes=("gdrive",), extra="gdrive", auth_methods=(
    AuthMethod(name="user or service account",
        required=(_secret("GDRIVE_CREDENTIALS_DATA", "gdrive_service_account_json_file_path",
                          "gdrive_user_credentials_file", holds="text", is_json=True),)),
), advice="the JSON of a service account, or of a user as `dvc push` keeps it on your machine")
SSH = Kind(name="SSH", schemes=("ssh",), extra="ssh", is_server=True, spared_by=("gss_auth",), auth_methods=(
    AuthMethod(name="private key", required=(_written("DVC_SSH_PRIVATE_KEY", "keyfile", holds="file"),),
        optional=(_written("DVC_SSH_PASSPHRASE", "passphrase"), *SSH_MORE), settings={"allow_agent": "false"},
        proves=True),
    AuthMethod(name="password", required=(_written("DVC_SSH_PASSWORD", "password"),), optional=SSH_MORE),
    AuthMethod(name="agent", required=(_public("SSH_AUTH_SOCK"),), optional=SSH_MORE),
), advice="a key in ~/.ssh serves too")

KINDS: tuple[Kind, ...] = (
    Kind(name="S3", schemes=("s3",), extra="s3", spared_by=("allow_anonymous_login",), auth_methods=(
        AuthMethod(name="access key", required=(_secret("AWS_ACCESS_KEY_ID", "access_key_id"),
                                         _secret("AWS_SECRET_ACCESS_KEY", "secret_access_key")),
            optional=(_secret("AWS_SESSION_TOKEN"), *AWS_PLACE)),
        AuthMethod(name="web identity", required=(_public("AWS_ROLE_ARN"),
                                           _secret("AWS_WEB_IDENTITY_TOKEN_FILE", holds="file")),
            optional=(_public("AWS_ROLE_SESSION_NAME"), *AWS_PLACE)),
        AuthMethod(name="profile", required=(_public("AWS_PROFILE", "profile"),), optional=(AWS_FILE, *AWS_PLACE)),
        AuthMethod(name="credentials file", required=(AWS_FILE,), optional=AWS_PLACE),
        AuthMethod(name="container's role", required=(_public("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),)),
        AuthMethod(name="pod's role", required=(_public("AWS_CONTAINER_CREDENTIALS_FULL_URI"),),
            optional=(_secret("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", holds="file"),)),
    ), advice="a machine with an instance role needs none"),
    Kind(name="Azure", schemes=("azure",), extra="azure", spared_by=("allow_anonymous_login",),
         bucket=_public("AZURE_STORAGE_CONTAINER_NAME"), auth_methods=(
        AuthMethod(name="connection string",
                   required=(_secret("AZURE_STORAGE_CONNECTION_STRING", "connection_string"),)),
        AuthMethod(name="account key", required=(AZURE_ACCOUNT, _secret("AZURE_STORAGE_KEY", "account_key"))),
        AuthMethod(name="SAS token", required=(AZURE_ACCOUNT, _secret("AZURE_STORAGE_SAS_TOKEN", "sas_token"))),
        AuthMethod(name="service principal", required=(AZURE_ACCOUNT, *AZURE_PRINCIPAL)),
        AuthMethod(name="workload identity", settings=NO_OTHER_IDENTITY,
            required=(AZURE_ACCOUNT, *AZURE_CLIENT, _secret("AZURE_FEDERATED_TOKEN_FILE", holds="file"))),
        AuthMethod(name="machine's identity", required=(AZURE_ACCOUNT,), optional=AZURE_CLIENT[:1]),
    )),
    OSS,
    Kind(name="Google Storage", schemes=("gs",), extra="gs", spared_by=("allow_anonymous_login",), auth_methods=(
        AuthMethod(name="credentials file", required=(GOOGLE_FILE,)),
        AuthMethod(name="access token", required=(_written("CLOUDSDK_AUTH_ACCESS_TOKEN", "credentialpath"),)),
    ), advice="a machine of Google's cloud with a service account needs none"),
    GOOGLE_DRIVE,
    SSH,
    Kind(name="HTTP", schemes=("http", "https"), is_server=True, auth_methods=(
        AuthMethod(name="token", required=(_written("DVC_HTTP_TOKEN", "password", prefix="Bearer "),),
            settings={"auth": "custom", "custom_auth_header": "Authorization"}),
        AuthMethod(name="user and password",
                   required=(_written("DVC_HTTP_USER", "user", is_secret=False), HTTP_PASSWORD),
            settings={"auth": "basic"}),
        AuthMethod(name="header", settings={"auth": "custom"},
            required=(_written("DVC_HTTP_CUSTOM_AUTH_HEADER", "custom_auth_header", is_secret=False), HTTP_PASSWORD)),
        ANONYMOUS,
    ), hint="DVC uploads by POST; where the server wants PUT: dvc remote modify {remote} method PUT"),
    Kind(name="WebDAV", schemes=("webdav", "webdavs"), extra="webdav", is_server=True, auth_methods=(
        AuthMethod(name="token", required=(_written("DVC_WEBDAV_TOKEN", "token", "bearer_token_command"),)),
        AuthMethod(name="user and password",
            required=(_written("DVC_WEBDAV_USER", "user", is_secret=False), WEBDAV_PASSWORD)),
        AuthMethod(name="header",
                   required=(_written("DVC_WEBDAV_CUSTOM_AUTH_HEADER", "custom_auth_header", is_secret=False),
                                     WEBDAV_PASSWORD)),
        ANONYMOUS,
    )),
    Kind(name="HDFS", schemes=("hdfs",), extra="hdfs", auth_methods=(
        AuthMethod(name="Hadoop's client", required=(_public("HADOOP_HOME"),), optional=HADOOP),
        AuthMethod(name="libhdfs", required=(_public("ARROW_LIBHDFS_DIR"),), optional=HADOOP),
    ), advice="native HDFS needs Java, libhdfs and `hadoop` on the machine; a webhdfs:// URL needs none of them"),
    Kind(name="WebHDFS", schemes=("webhdfs",), extra="webhdfs", is_server=True, spared_by=("kerberos",), auth_methods=(
        AuthMethod(name="delegation token", required=(_written("DVC_WEBHDFS_TOKEN", "token"),)),
        AuthMethod(name="user and password", required=(WEBHDFS_USER, _written("DVC_WEBHDFS_PASSWORD", "password"))),
        AuthMethod(name="user", required=(WEBHDFS_USER,)),
        ANONYMOUS,
    ), settings={"verify": "true"}),  # fsspec takes a data node's error page for the data
    Kind(name="local", schemes=("", "file", "local"), auth_methods=(ANONYMOUS,)),
)
# fmt: on

VARIABLES: dict[str, CredentialVariable] = {
    variable.name: variable
    for kind in KINDS
    for group in ((kind.bucket,) if kind.bucket else (), *((*way.required, *way.optional) for way in kind.auth_methods))
    for variable in group
}


def kind_of(url: str) -> Kind | None:
    """The kind of a remote's URL; None for `remote://NAME/...`, which takes all from that remote, and unknown ones."""
    scheme = url.split("://", 1)[0].lower() if "://" in url else ""
    return next((kind for kind in KINDS if scheme in kind.schemes), None)


def find(url: str, environment: Mapping[str, str], options: Mapping[str, object] | None = None) -> CredentialCheck:
    """Says which credentials of the remote at `url` are there; `options` is the remote's DVC configuration."""
    kind, options = kind_of(url), options or {}
    if kind is None:
        return CredentialCheck(
            kind="", way="", found=(), missing=(), advice=f"{url.partition(':')[0]}:// is no storage of its own"
        )
    if any(str(options.get(option, "")).lower() == "true" for option in kind.spared_by):
        return CredentialCheck(kind=kind.name, way="DVC's configuration", found=(), missing=(), advice="")
    way = choose_auth_method(kind, environment, options)
    host, port, _ = place_of(url)
    needed = (*way.required, kind.bucket) if kind.bucket and not host else way.required
    found = tuple(v.name for v in (*needed, *way.optional) if environment.get(v.name))
    missing = tuple(v.name for v in needed if not is_given(v, environment, options))
    advice, host_key = [], ""
    if missing:
        others = ", ".join(other.name for other in kind.auth_methods if other not in (way, ANONYMOUS))
        advice = [f"set {' and '.join(missing)} ({way.name}{f'; other ways: {others}' if others else ''})", kind.advice]
    elif way is ANONYMOUS and kind.auth_methods != (ANONYMOUS,):
        each = (
            f"{' and '.join(v.name for v in way.required)} ({way.name})" for way in kind.auth_methods if way.required
        )
        advice = [f"set {', or '.join(each)}"]
    if SSH_HOSTS in way.optional:
        scan = f"`ssh-keyscan {f'-p {port} ' if port else ''}{host or 'HOST'}`"
        if SSH_HOSTS.name in found:
            host_key = f"{SSH_HOSTS.name} holds another key of it, or none; {scan} prints what it shows now"
        else:
            host_key = (
                f"{SSH_HOSTS.name} is not set, so the host's key must be in ~/.ssh/known_hosts; "
                f"{scan} prints what the variable holds"
            )
            advice.append(host_key)
    return CredentialCheck(
        kind=kind.name,
        way=way.name,
        found=found,
        missing=missing,
        advice="; ".join(line for line in advice if line),
        host_key=host_key,
        hint="" if options.get("method") else kind.hint,
        extra=kind.extra,
    )


def meant_elsewhere(remotes: Mapping[str, Mapping[str, object]], default: str) -> dict[str, str]:
    """Returns for each remote whose kind's variables are for another server: its name -> that server."""
    servers: dict[str, tuple[str, int | None]] = {}
    others = {}
    for name in sorted(remotes, key=lambda name: name != default):
        url = str(remotes[name].get("url", ""))
        kind = kind_of(url)
        if kind and kind.is_server:
            host, port, _ = place_of(url)
            if servers.setdefault(kind.name, (host, port)) != (host, port):
                others[name] = ":".join(str(part) for part in servers[kind.name] if part)
    return others


def choose_auth_method(kind: Kind, environment: Mapping[str, str], options: Mapping[str, object]) -> AuthMethod:
    """The first complete way, unless more is there of an incomplete one: then that is the one meant."""

    def there(way: AuthMethod) -> int:
        return sum(is_given(variable, environment, options) for variable in (*way.required, *way.optional))

    complete = [way for way in kind.auth_methods if all(is_given(v, environment, options) for v in way.required)]
    fullest = max(kind.auth_methods, key=lambda way: sum(is_given(v, environment, options) for v in way.required))
    if complete and there(complete[0]) >= there(fullest):
        return complete[0]
    return fullest


def is_given(variable: CredentialVariable, environment: Mapping[str, str], options: Mapping[str, object]) -> bool:
    """Whether the environment holds a variable, or the remote's configuration an option that stands for it."""
    return bool(environment.get(variable.name)) or any(options.get(option) for option in variable.options)


def place_of(url: str) -> tuple[str, int | None, str]:
    """The host (or bucket), the port and the path of a URL; empty ones of what is no URL."""
    with suppress(ValueError):
        parts = urlsplit(url)
        return parts.hostname or "", parts.port, parts.path.lstrip("/")
    return "", None, ""


def holds_secret(name: str, value: str) -> bool:
    """Whether a variable holds a secret: by the table, else by its name. A path to a secret file is not secret."""
    if variable := VARIABLES.get(name):
        return variable.is_secret and (variable.holds == "value" or is_text(decode(value)))
    return name_suggests_secret(name, value)
