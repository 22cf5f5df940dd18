"""Every form of a secret that a log, a report or a URL can contain is masked."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
import time
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import quote, quote_plus, unquote, unquote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cml.process.masking import Masks
from cml.remotes.kinds import holds_secret

PEM_BODY = [base64.b64encode(bytes(range(i, i + 48))).decode() for i in range(20)]
PEM = "\n".join(["-----BEGIN PRIVATE KEY-----", *PEM_BODY, "dGhlIGVuZA==", "-----END PRIVATE KEY-----"]) + "\n"
ACCOUNT = json.dumps(
    {
        "type": "service_account",
        "project_id": "our-project",
        "private_key_id": "0f1e2d3c4b5a69788796",
        "private_key": PEM,
        "client_email": "robot@our-project.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
        "nested": [{"refresh": "1//refresh-token-value"}],
    },
    indent=2,
)

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=https;AccountName=ours;"
    "AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq==;EndpointSuffix=core.windows.net",
    "AZURE_STORAGE_SAS_TOKEN": "sv=2024-11-04&ss=b&se=2030-01-01&sig=a%2Bb%2Fc1234567890%3D",
    "GOOGLE_APPLICATION_CREDENTIALS": ACCOUNT,
    "DVC_SSH_PRIVATE_KEY": PEM.replace("PRIVATE KEY", "OPENSSH PRIVATE KEY"),
    "DVC_HTTP_PASSWORD": "p&<>\"'ss w\\ord",
    "GITHUB_TOKEN": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "CI_JOB_TOKEN": "glcbt-64_" + "x7Qz" * 30,
    "DB_PASSWORD": "hunter2",
    "SLACK_WEBHOOK_URL": "https://hooks.example/services/T000/B000/XXXXXXXX",
    "KAGGLE_KEY": "0123456789abcdef0123456789abcdef",
}

Encoding = Callable[[str], str]


def masks_for(environment: Mapping[str, str], extra: Iterable[str] = ()) -> Masks:
    return Masks.from_environment(environment, holds_secret=holds_secret, extra=extra)


def _between(before: str, after: str = "") -> Encoding:
    return lambda secret: base64.b64encode((before + secret + after).encode()).decode()


ENCODINGS: dict[str, Encoding] = {
    "raw": str,
    "url": lambda secret: quote(secret, safe=""),
    "url in lower case": lambda secret: re.sub("%..", lambda code: code[0].lower(), quote(secret, safe="")),
    "url's path": quote,
    "form": quote_plus,
    "JavaScript's url": lambda secret: quote(secret, safe="!'()*"),
    "base64": _between(""),
    "base64 after one byte": _between(":", "x"),
    "base64 after two bytes": _between("ab", "\n"),
    "base64 in a url": lambda secret: base64.urlsafe_b64encode(f"user:{secret}".encode()).decode(),
    "checkout's header": _between("x-access-token:"),
    "GitLab's header": _between("oauth2:"),
    "hex": lambda secret: secret.encode().hex(),
    "HEX": lambda secret: secret.encode().hex().upper(),
    "JSON": json.dumps,
    "JSON as it is": lambda secret: json.dumps(secret, ensure_ascii=False),
    "JSON in JSON": lambda secret: json.dumps(json.dumps(secret)),
    "HTML": html.escape,
    "Python": repr,
    "shell": shlex.quote,
}


def readings(text: str) -> list[str]:
    """The text as somebody reads it who decodes everything in it."""
    found = [text, unquote(text), unquote_plus(text), html.unescape(text), text.replace("\\\\", "\\")]
    for run in re.findall(r"[A-Za-z0-9+/_-]{4,}", text):
        for offset in range(4):
            digits = run[offset:].replace("-", "+").replace("_", "/")
            found.append(base64.b64decode(digits[: len(digits) // 4 * 4]).decode("utf-8", "replace"))
    digits_of_hex = re.findall(r"(?i)(?:[0-9a-f]{2})+", text)
    return found + [bytes.fromhex(run).decode("utf-8", "replace") for run in digits_of_hex]


@pytest.fixture(scope="module")
def masks_of_all() -> Masks:
    return masks_for(SECRETS)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("name", SECRETS)
def test_no_secret_survives_in_any_encoding(masks_of_all: Masks, name: str, encoding: str) -> None:
    masked = masks_of_all.mask(f"log: {ENCODINGS[encoding](SECRETS[name])} end")
    assert "***" in masked
    assert masked.startswith("log: ")
    assert masked.endswith(" end")
    assert not any(SECRETS[name].strip() in reading for reading in readings(masked))


visible = st.characters(exclude_categories=["C", "Z"], exclude_characters="*")
secret_texts = st.text(visible, min_size=8, max_size=60)


@settings(max_examples=25, deadline=None)
@given(values=st.lists(secret_texts, min_size=12, max_size=12, unique=True), around=st.text(visible, max_size=9))
def test_no_generated_secret_survives_in_any_encoding(values: list[str], around: str) -> None:
    masks = masks_for({f"KEY_{number}_TOKEN": "a" + value for number, value in enumerate(values)})
    for value in values:
        for encode in ENCODINGS.values():
            masked = masks.mask(f"{around} {encode('a' + value)} {around}")
            assert "***" in masked
            assert len(masked) <= len(around) * 2 + 32, "only the text around the secret is left"
            assert not any("a" + value in reading for reading in readings(masked))


def test_every_line_of_a_private_key_is_masked_when_lines_are_masked_one_by_one() -> None:
    masks = masks_for({"DVC_SSH_PRIVATE_KEY": PEM})
    shown = [masks.mask(line) for line in PEM.splitlines()]
    assert shown == ["-----BEGIN PRIVATE KEY-----", *["***"] * 21, "-----END PRIVATE KEY-----"]


@pytest.mark.parametrize("given_as", ["JSON", "base64 of JSON"])
def test_strings_inside_a_json_secret_are_masked_but_not_its_public_fields(given_as: str) -> None:
    value = ACCOUNT if given_as == "JSON" else base64.b64encode(ACCOUNT.encode()).decode()
    masks = masks_for({"GDRIVE_CREDENTIALS_DATA": value})
    for nested in ("0f1e2d3c4b5a69788796", PEM_BODY[3], "1//refresh-token-value"):
        assert masks.mask(f"<{nested}>") == "<***>"
    public = "service_account our-project https://oauth2.googleapis.com/token"
    assert masks.mask(public) == public


def test_keys_inside_connection_strings_and_settings_files_are_masked() -> None:
    secrets = {**SECRETS, "AWS_SHARED_CREDENTIALS_FILE": "[default]\naws_secret_access_key = abcd/efgh+1234\n"}
    masks = masks_for(secrets)
    for nested in ("Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq==", "a+b/c1234567890="):
        assert masks.mask(f"key: {nested}") == "key: ***"
    assert masks.mask("key: abcd/efgh+1234") == "key: ***"
    assert masks.mask("[default] AccountName=ours") == "[default] AccountName=ours"


@pytest.mark.parametrize("width", [64, 76])
def test_base64_in_broken_lines_is_masked(width: int) -> None:
    token = "glcbt-" + "Ab3dEf6h" * 40
    digits = base64.b64encode(token.encode()).decode()
    masks = masks_for({"CI_JOB_TOKEN": token})
    for at in range(0, len(digits) - width, width):
        assert masks.mask(digits[at : at + width]) == "***"


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("https://user:pass@host/path", "https://***@host/path"),
        ("https://ghp_token@github.com/o/r.git", "https://***@github.com/o/r.git"),
        ("ftp://u:p@ss@host", "ftp://***@host"),
        ("ssh://git@host/o/r", "ssh://git@host/o/r"),
        ("https://host:8080/a@b", "https://host:8080/a@b"),
        ("see https://host and mail me@host", "see https://host and mail me@host"),
    ],
)
def test_users_and_passwords_in_all_urls_are_masked(url: str, masked: str) -> None:
    assert masks_for({}).mask(f"at {url} now") == f"at {masked} now"


def test_the_password_in_the_url_of_a_variable_is_masked_alone_too() -> None:
    masks = masks_for({"MLFLOW_BACKEND": "postgresql://ml:s3cr%40t-word@db/ml"})
    assert masks.mask("password s3cr@t-word, s3cr%40t-word") == "password ***, ***"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_TOKENS", "1000000"),
        ("TOKENIZER", "bert-base-uncased"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/home/runner/key.json"),
        ("CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE", "/home/runner/key.json"),
        ("ACTIONS_ID_TOKEN_REQUEST_URL", "https://pipelines.example/token"),
        ("OSS_BUCKET", "models"),
        ("DVC_SSH_USER", "trainer"),
        ("DVC_SSH_KNOWN_HOSTS", "host ssh-ed25519 AAAAC3NzaC1lZDI1NTE5"),
        ("GIT_AUTHOR_NAME", "Grace Hopper"),
        ("SSH_AUTH_SOCK", "/tmp/ssh-1/agent.1"),
        ("CACHE_KEY", "customer"),
    ],
)
def test_paths_numbers_and_public_values_are_not_masked(name: str, value: str) -> None:
    assert not holds_secret(name, value)
    assert masks_for({name: value}).mask(value) == value


@pytest.mark.parametrize("value", ["", " ", "1", "true", "basic", "******"])
def test_values_too_short_to_be_secrets_are_not_masked(value: str) -> None:
    text = f"accuracy: 1 {value} true basic"
    assert masks_for({"SOME_SECRET": value}, extra=[value]).mask(text) == text


def test_extra_secrets_are_masked() -> None:
    assert masks_for({}, extra=["glpat-abcdefgh"]).mask("glpat-abcdefgh") == "***"


def test_the_repr_of_masks_contains_no_secret() -> None:
    assert "hunter2" not in repr(masks_for({"DB_PASSWORD": "hunter2"}))


def test_secrets_with_a_common_prefix_are_masked_completely() -> None:
    values = {f"A{length}_TOKEN": "a" * length for length in range(6, 400)}
    masks = masks_for(values)
    assert masks.mask("x" + "a" * 399 + "x " + "a" * 7) == "x***x ***"


def test_megabytes_are_masked_in_seconds(masks_of_all: Masks) -> None:
    text = "epoch 12 loss=0.1234 https://host/path aHR0cHM6Ly9ob3N0 wJalrXUtnFEMI\n" * 60_000
    started = time.process_time()
    assert masks_of_all.mask(text) == text
    assert time.process_time() - started < 5


def test_a_secret_that_is_not_utf_8_is_masked_as_the_log_shows_it() -> None:
    secret = b"secret-\xff\xfe-value"
    masks = masks_for({"MY_TOKEN": secret.decode("utf-8", "surrogateescape")})
    assert masks.mask(secret.decode("utf-8", "replace")) == "***"


def test_half_a_surrogate_pair_in_a_json_secret_is_masked() -> None:
    masks = masks_for({"MY_TOKEN": '{"private_key": "long-secret-\\udf22-text"}'})
    assert masks.mask("long-secret-\udf22-text") == "***"
