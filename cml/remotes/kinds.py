"""The table of storage kinds: URL schemes, auth methods, and the variables of each.

Pure. `credential_check` compares the table with an environment; `credentials` hands the values to DVC and the
libraries. A variable that the library of a storage reads itself keeps its usual name. All others are named
DVC_<KIND>_<option of DVC>, and CML sets the option in DVC's configuration, in memory only.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, NamedTuple

from cml.process.masking import name_suggests_secret
from cml.process.secret_text import decode, is_text

Content = Literal["value", "file", "text"]
NO_SETTINGS: Mapping[str, str] = MappingProxyType({})


class CredentialVariable(NamedTuple):
    """One variable.

    `content`: "value" is used as it is. "file" is given as a path or as the text of the file, and becomes a path.
    "text" is given as either, and becomes the text. A text may be in base64: GitLab can mask no other form of it.

    `options` are options of a remote in DVC's configuration with the same meaning. With `is_set_in_config`, the value
    (after `prefix`) is set as the first of them, because no library reads the variable, or not in every case.
    """

    name: str
    options: tuple[str, ...] = ()
    content: Content = "value"
    is_secret: bool = True
    is_set_in_config: bool = False
    is_json: bool = False
    prefix: str = ""


class AuthMethod(NamedTuple):
    """One way to sign in: its variables, and the DVC options that it needs.

    `sends_no_secret`: the server gets a proof, not the secret, as with a private key.
    """

    name: str
    required: tuple[CredentialVariable, ...] = ()
    optional: tuple[CredentialVariable, ...] = ()
    settings: Mapping[str, str] = NO_SETTINGS
    sends_no_secret: bool = False


class StorageKind(NamedTuple):
    """A kind of storage: its URL schemes, and the extra of the package that it needs (`dvc-cml[EXTRA]`).

    `bucket` is the variable that names the bucket when the URL does not. With one of `login_options` in DVC's
    configuration no variable is needed. `settings` are DVC options for every remote of this kind.
    `has_server_url`: the URL names a server. The variables are then sent to one server only, that of the default
    remote (or else of the first one), so that no other server can read them. Methods that send no secret are exempt.
    """

    name: str
    schemes: tuple[str, ...]
    auth_methods: tuple[AuthMethod, ...]
    extra: str = ""
    bucket: CredentialVariable | None = None
    has_server_url: bool = False
    login_options: tuple[str, ...] = ()
    settings: Mapping[str, str] = NO_SETTINGS
    advice: str = ""
    hint: str = ""

    def variables(self) -> list[CredentialVariable]:
        """Returns all variables of this kind."""
        bucket = [self.bucket] if self.bucket else []
        return bucket + [variable for method in self.auth_methods for variable in (*method.required, *method.optional)]


def _secret(name: str, *options: str, content: Content = "value", is_json: bool = False) -> CredentialVariable:
    return CredentialVariable(name=name, options=options, content=content, is_json=is_json)


def _public(name: str, *options: str, content: Content = "value") -> CredentialVariable:
    return CredentialVariable(name=name, options=options, content=content, is_secret=False)


def _in_config(
    name: str, *options: str, content: Content = "value", is_secret: bool = True, prefix: str = ""
) -> CredentialVariable:
    return CredentialVariable(
        name=name, options=options, content=content, is_secret=is_secret, is_set_in_config=True, prefix=prefix
    )


# Sources: DVC's config_schema.py, and its plugins s3 3.3, azure 3.1, oss 3.0, gs 3.1, gdrive 3.0, ssh 4.3, webdav 3.0,
# hdfs 3.0, webhdfs 3.1.

ANONYMOUS = AuthMethod(name="no credentials")
ANONYMOUS_LOGIN = ("allow_anonymous_login",)

# S3

AWS_LOCATION = (_public("AWS_REGION"), _public("AWS_DEFAULT_REGION"), _public("AWS_ENDPOINT_URL"))
AWS_KEY_ID = _secret("AWS_ACCESS_KEY_ID", "access_key_id")
AWS_KEY = _secret("AWS_SECRET_ACCESS_KEY", "secret_access_key")
AWS_TOKEN_FILE = _secret("AWS_WEB_IDENTITY_TOKEN_FILE", content="file")
AWS_CREDENTIALS_FILE = _secret("AWS_SHARED_CREDENTIALS_FILE", "credentialpath", content="file")

S3 = StorageKind(
    name="S3",
    schemes=("s3",),
    extra="s3",
    login_options=ANONYMOUS_LOGIN,
    auth_methods=(
        AuthMethod(
            name="access key",
            required=(AWS_KEY_ID, AWS_KEY),
            optional=(_secret("AWS_SESSION_TOKEN"), *AWS_LOCATION),
        ),
        AuthMethod(
            name="web identity",
            required=(_public("AWS_ROLE_ARN"), AWS_TOKEN_FILE),
            optional=(_public("AWS_ROLE_SESSION_NAME"), *AWS_LOCATION),
        ),
        AuthMethod(
            name="profile",
            required=(_public("AWS_PROFILE", "profile"),),
            optional=(AWS_CREDENTIALS_FILE, *AWS_LOCATION),
        ),
        AuthMethod(name="credentials file", required=(AWS_CREDENTIALS_FILE,), optional=AWS_LOCATION),
        AuthMethod(name="container role", required=(_public("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),)),
        AuthMethod(
            name="pod role",
            required=(_public("AWS_CONTAINER_CREDENTIALS_FULL_URI"),),
            optional=(_secret("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", content="file"),),
        ),
    ),
    advice="a machine with an instance role needs no variables",
)

# Azure

AZURE_ACCOUNT = _public("AZURE_STORAGE_ACCOUNT", "account_name")
AZURE_KEY = _secret("AZURE_STORAGE_KEY", "account_key")
AZURE_SAS = _secret("AZURE_STORAGE_SAS_TOKEN", "sas_token")
AZURE_CONNECTION = _secret("AZURE_STORAGE_CONNECTION_STRING", "connection_string")
AZURE_CLIENT = (_public("AZURE_CLIENT_ID", "client_id"), _public("AZURE_TENANT_ID", "tenant_id"))
AZURE_TOKEN_FILE = _secret("AZURE_FEDERATED_TOKEN_FILE", content="file")
# Set in DVC's configuration, so that Azure's library tries only this method. Otherwise it asks for a managed identity
# too, which takes a minute.
AZURE_PRINCIPAL = (
    _in_config("AZURE_CLIENT_ID", "client_id", is_secret=False),
    _in_config("AZURE_TENANT_ID", "tenant_id", is_secret=False),
    _in_config("AZURE_CLIENT_SECRET", "client_secret"),
)
NO_OTHER_IDENTITY = {
    "exclude_managed_identity_credential": "true",
    "exclude_shared_token_cache_credential": "true",
    "exclude_visual_studio_code_credential": "true",
}

AZURE = StorageKind(
    name="Azure",
    schemes=("azure",),
    extra="azure",
    login_options=ANONYMOUS_LOGIN,
    bucket=_public("AZURE_STORAGE_CONTAINER_NAME"),
    auth_methods=(
        AuthMethod(name="connection string", required=(AZURE_CONNECTION,)),
        AuthMethod(name="account key", required=(AZURE_ACCOUNT, AZURE_KEY)),
        AuthMethod(name="SAS token", required=(AZURE_ACCOUNT, AZURE_SAS)),
        AuthMethod(name="service principal", required=(AZURE_ACCOUNT, *AZURE_PRINCIPAL)),
        AuthMethod(
            name="workload identity",
            required=(AZURE_ACCOUNT, *AZURE_CLIENT, AZURE_TOKEN_FILE),
            settings=NO_OTHER_IDENTITY,
        ),
        AuthMethod(name="managed identity", required=(AZURE_ACCOUNT,), optional=AZURE_CLIENT[:1]),
    ),
)

# Aliyun OSS

OSS_KEY_ID = _secret("OSS_ACCESS_KEY_ID", "oss_key_id")
OSS_KEY = _secret("OSS_ACCESS_KEY_SECRET", "oss_key_secret")
OSS_ENDPOINT = _public("OSS_ENDPOINT", "oss_endpoint")

OSS = StorageKind(
    name="Aliyun OSS",
    schemes=("oss",),
    extra="oss",
    bucket=_in_config("OSS_BUCKET", is_secret=False),
    auth_methods=(AuthMethod(name="access key", required=(OSS_KEY_ID, OSS_KEY, OSS_ENDPOINT)),),
)

# Google

GOOGLE_FILE = _secret("GOOGLE_APPLICATION_CREDENTIALS", "credentialpath", content="file", is_json=True)
GOOGLE_TOKEN = _in_config("CLOUDSDK_AUTH_ACCESS_TOKEN", "credentialpath")
GOOGLE_DRIVE_JSON = _secret(
    "GDRIVE_CREDENTIALS_DATA",
    "gdrive_service_account_json_file_path",
    "gdrive_user_credentials_file",
    content="text",
    is_json=True,
)

GOOGLE_STORAGE = StorageKind(
    name="Google Storage",
    schemes=("gs",),
    extra="gs",
    login_options=ANONYMOUS_LOGIN,
    auth_methods=(
        AuthMethod(name="credentials file", required=(GOOGLE_FILE,)),
        AuthMethod(name="access token", required=(GOOGLE_TOKEN,)),
    ),
    advice="a machine in Google Cloud with a service account needs no variables",
)
GOOGLE_DRIVE = StorageKind(
    name="Google Drive",
    schemes=("gdrive",),
    extra="gdrive",
    auth_methods=(AuthMethod(name="user or service account", required=(GOOGLE_DRIVE_JSON,)),),
    advice="its value is the JSON key of a service account, or the user credentials that `dvc push` saved",
)

# SSH

SSH_KEY = _in_config("DVC_SSH_PRIVATE_KEY", "keyfile", content="file")
SSH_HOSTS = _public("DVC_SSH_KNOWN_HOSTS", content="file")
SSH_OPTIONAL = (_in_config("DVC_SSH_USER", "user", is_secret=False), SSH_HOSTS)

SSH = StorageKind(
    name="SSH",
    schemes=("ssh",),
    extra="ssh",
    has_server_url=True,
    login_options=("gss_auth",),
    auth_methods=(
        AuthMethod(
            name="private key",
            required=(SSH_KEY,),
            optional=(_in_config("DVC_SSH_PASSPHRASE", "passphrase"), *SSH_OPTIONAL),
            settings={"allow_agent": "false"},
            sends_no_secret=True,
        ),
        AuthMethod(name="password", required=(_in_config("DVC_SSH_PASSWORD", "password"),), optional=SSH_OPTIONAL),
        AuthMethod(name="agent", required=(_public("SSH_AUTH_SOCK"),), optional=SSH_OPTIONAL),
    ),
    advice="a key in ~/.ssh works too",
)

# HTTP and WebDAV

HTTP_USER = _in_config("DVC_HTTP_USER", "user", is_secret=False)
HTTP_PASSWORD = _in_config("DVC_HTTP_PASSWORD", "password")
HTTP_TOKEN = _in_config("DVC_HTTP_TOKEN", "password", prefix="Bearer ")
HTTP_HEADER = _in_config("DVC_HTTP_CUSTOM_AUTH_HEADER", "custom_auth_header", is_secret=False)
WEBDAV_USER = _in_config("DVC_WEBDAV_USER", "user", is_secret=False)
WEBDAV_PASSWORD = _in_config("DVC_WEBDAV_PASSWORD", "password")
WEBDAV_TOKEN = _in_config("DVC_WEBDAV_TOKEN", "token", "bearer_token_command")
WEBDAV_HEADER = _in_config("DVC_WEBDAV_CUSTOM_AUTH_HEADER", "custom_auth_header", is_secret=False)

HTTP = StorageKind(
    name="HTTP",
    schemes=("http", "https"),
    has_server_url=True,
    auth_methods=(
        AuthMethod(
            name="token",
            required=(HTTP_TOKEN,),
            settings={"auth": "custom", "custom_auth_header": "Authorization"},
        ),
        AuthMethod(name="user and password", required=(HTTP_USER, HTTP_PASSWORD), settings={"auth": "basic"}),
        AuthMethod(name="header", required=(HTTP_HEADER, HTTP_PASSWORD), settings={"auth": "custom"}),
        ANONYMOUS,
    ),
    hint="DVC uploads with POST; if the server expects PUT: dvc remote modify {remote} method PUT",
)
WEBDAV = StorageKind(
    name="WebDAV",
    schemes=("webdav", "webdavs"),
    extra="webdav",
    has_server_url=True,
    auth_methods=(
        AuthMethod(name="token", required=(WEBDAV_TOKEN,)),
        AuthMethod(name="user and password", required=(WEBDAV_USER, WEBDAV_PASSWORD)),
        AuthMethod(name="header", required=(WEBDAV_HEADER, WEBDAV_PASSWORD)),
        ANONYMOUS,
    ),
)

# Hadoop

HADOOP_OPTIONAL = (_public("HADOOP_USER_NAME"), _public("KRB5CCNAME"), _public("JAVA_HOME"))
WEBHDFS_USER = _in_config("DVC_WEBHDFS_USER", "user", is_secret=False)

HDFS = StorageKind(
    name="HDFS",
    schemes=("hdfs",),
    extra="hdfs",
    auth_methods=(
        AuthMethod(name="Hadoop client", required=(_public("HADOOP_HOME"),), optional=HADOOP_OPTIONAL),
        AuthMethod(name="libhdfs", required=(_public("ARROW_LIBHDFS_DIR"),), optional=HADOOP_OPTIONAL),
    ),
    advice="hdfs:// needs Java, libhdfs and `hadoop` on the machine; webhdfs:// needs none of them",
)
WEBHDFS = StorageKind(
    name="WebHDFS",
    schemes=("webhdfs",),
    extra="webhdfs",
    has_server_url=True,
    login_options=("kerberos",),
    auth_methods=(
        AuthMethod(name="delegation token", required=(_in_config("DVC_WEBHDFS_TOKEN", "token"),)),
        AuthMethod(name="user and password", required=(WEBHDFS_USER, _in_config("DVC_WEBHDFS_PASSWORD", "password"))),
        AuthMethod(name="user", required=(WEBHDFS_USER,)),
        ANONYMOUS,
    ),
    settings={"verify": "true"},  # without it, fsspec returns the error page of a data node as the data
)

LOCAL = StorageKind(name="local", schemes=("", "file", "local"), auth_methods=(ANONYMOUS,))

# The order is that of the generated documentation.
STORAGE_KINDS = (S3, AZURE, OSS, GOOGLE_STORAGE, GOOGLE_DRIVE, SSH, HTTP, WEBDAV, HDFS, WEBHDFS, LOCAL)

CREDENTIAL_VARIABLES: dict[str, CredentialVariable] = {
    variable.name: variable for kind in STORAGE_KINDS for variable in kind.variables()
}


def kind_of(url: str) -> StorageKind | None:
    """The kind of a URL; None for `remote://NAME/...` (a path on another remote) and for unknown schemes."""
    scheme = url.split("://", 1)[0].lower() if "://" in url else ""
    return next((kind for kind in STORAGE_KINDS if scheme in kind.schemes), None)


def holds_secret(name: str, value: str) -> bool:
    """Whether a variable holds a secret: by the table, else by its name. The path of a secret file is not secret."""
    if variable := CREDENTIAL_VARIABLES.get(name):
        return variable.is_secret and (variable.content == "value" or is_text(decode(value)))
    return name_suggests_secret(name, value)
