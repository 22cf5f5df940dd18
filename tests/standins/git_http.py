"""Git over smart HTTP for a stand-in forge: git's own `http-backend`, and hooks that refuse what a forge refuses.

The forge decides who may do what before it calls `serve`. Git LFS and the dumb protocol are not modelled.
"""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, cast

from standins.web import CHUNK, Body, Request, Response

SERVICES = ("/info/refs", "/git-upload-pack", "/git-receive-pack")
SETTINGS = (
    ("safe.directory", "*"),
    ("http.receivepack", "true"),
    ("uploadpack.allowFilter", "true"),
    ("uploadpack.allowAnySHA1InWant", "true"),
    ("receive.autogc", "false"),
)

# $STANDIN_PROTECTED: lines of "ref code"; $STANDIN_WORKFLOWS: "refused" for a token that may not write workflow files;
# $STANDIN_REASONS: the file that gets "ref<tab>reason" for the client. The repository's own hooks run after ours.
UPDATE_HOOK = r"""#!/bin/sh
ref=$1 new=$3
say() { printf '%s\n' "$@" >&2; }
because() { printf '%s\t%s\n' "$ref" "$1" >>"$STANDIN_REASONS"; exit 1; }
case $(printf '%s\n' "$STANDIN_PROTECTED" | awk -v ref="$ref" '$1 == ref { print $2; exit }') in
GH006)
  say "error: GH006: Protected branch update failed for $ref." "" "- Changes must be made through a pull request."
  because "protected branch hook declined" ;;
GH013)
  say "error: GH013: Repository rule violations found for $ref." "" "- Changes must be made through a pull request." ""
  because "push declined due to repository rule violations" ;;
esac
if [ "$STANDIN_WORKFLOWS" = refused ] && [ "${new#*[!0]}" != "$new" ]; then
  file=$(git log --format= --name-only "$new" --not --all -- .github/workflows | head -n 1)
  [ -z "$file" ] || because \
    "refusing to allow a GitHub App to create or update workflow \`$file\` without \`workflows\` permission"
fi
own="$GIT_DIR/hooks/update"
[ ! -x "$own" ] || exec "$own" "$@"
"""
CHAINED_HOOK = '#!/bin/sh\nown="$GIT_DIR/hooks/${0##*/}"\n[ ! -x "$own" ] || exec "$own" "$@"\ncat >/dev/null\n'


def environment(settings: Sequence[tuple[str, str]] = SETTINGS) -> dict[str, str]:
    """Returns an environment for git without the configuration of this machine."""
    configuration = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings):
        configuration |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        **configuration,
    }


class GitFailed(Exception):
    """A git command that failed; the text is its stderr."""


def git(*arguments: str, cwd: Path, env: Mapping[str, str] | None = None, stdin: str = "") -> str:
    """Runs git; returns its stdout without white space around it."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=cwd,
        env={**environment(), **(env or {})},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise GitFailed(f"git {' '.join(arguments)}: {done.stderr}{done.stdout}")
    return done.stdout.strip()


def resolve(bare: Path, *revisions: str) -> str | None:
    """Returns the commit of the first revision that names one, or None."""
    for revision in revisions:
        try:
            return git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}", cwd=bare)
        except GitFailed:
            continue
    return None


def is_ancestor(bare: Path, old: str, new: str) -> bool:
    try:
        git("merge-base", "--is-ancestor", old, new, cwd=bare)
    except GitFailed:
        return False
    return True


def write_request_refs(
    bare: Path, refs: str, *, source: Path, head: str, base: str, name: str, email: str
) -> str | None:
    """Writes the refs of a pull or merge request: REFS/head, and REFS/merge unless the branches conflict.

    Returns the merge commit, or None for a conflict.
    """
    git("fetch", "--quiet", str(source), f"+{head}:{refs}/head", cwd=bare)
    merge_sha = _merge(bare, base, head, name=name, email=email)
    if merge_sha:
        git("update-ref", f"{refs}/merge", merge_sha, cwd=bare)
    else:
        git("update-ref", "-d", f"{refs}/merge", cwd=bare)
    return merge_sha


def _merge(bare: Path, base: str, head: str, *, name: str, email: str) -> str | None:
    """Returns a merge commit of head into base, or None if they conflict.

    The same two commits always give the same merge commit: it has the time of the head.
    """
    message = f"Merge {head} into {base}"
    try:
        tree = git("merge-tree", "--write-tree", base, head, cwd=bare).splitlines()[0]
    except GitFailed:
        return None
    when = git("show", "--no-patch", "--format=%ct +0000", head, cwd=bare)
    who = {f"GIT_{role}_NAME": name for role in ("AUTHOR", "COMMITTER")}
    who |= {f"GIT_{role}_EMAIL": email for role in ("AUTHOR", "COMMITTER")}
    who |= {f"GIT_{role}_DATE": when for role in ("AUTHOR", "COMMITTER")}
    return git("commit-tree", tree, "-p", base, "-p", head, "-m", message, cwd=bare, env=who)


def write_hooks(folder: Path, own: Mapping[str, str] | None = None) -> Path:
    """Writes a forge's hooks (default: UPDATE_HOOK) into a folder for core.hooksPath; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("pre-receive", "update", "reference-transaction", "post-receive", "post-update")
    hooks = dict.fromkeys(names, CHAINED_HOOK)
    for name, text in {**hooks, **(own or {"update": UPDATE_HOOK})}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


def serve(
    request: Request,
    bare: Path,
    service: str,
    *,
    user: str,
    hooks: Path,
    hidden: Sequence[str] = (),
    settings: Sequence[tuple[str, str]] = (),
    variables: Mapping[str, str] | None = None,
    after_push: Callable[[], None] = lambda: None,
) -> Response:
    """Answers a git request whose path ends in `service` from a bare repository.

    Refs with the prefixes `hidden` can be fetched and not pushed. `settings` are settings of git, `variables` the
    hooks' environment. `after_push` is called after a push, before the client gets its answer.
    """
    reasons = hooks / f"reasons-{threading.get_ident()}"
    hides = [("receive.hideRefs", prefix) for prefix in hidden]
    process = subprocess.Popen(
        ["git", "http-backend"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={
            **environment([*SETTINGS, ("core.hooksPath", str(hooks)), *hides, *settings]),
            "GIT_PROJECT_ROOT": str(bare.parent),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{bare.name}{service}",
            "QUERY_STRING": "&".join(f"{name}={value}" for name, value in request.query.items()),
            "REQUEST_METHOD": request.method,
            "REMOTE_USER": user,
            "REMOTE_ADDR": "127.0.0.1",
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "STANDIN_REASONS": str(reasons),
            **(variables or {}),
        },
    )
    feeder = threading.Thread(target=_feed, args=(process, request.body), daemon=True)
    feeder.start()
    response = _start_of_answer(process, feeder)
    if service == "/git-receive-pack":
        body = b"".join(response.body if not isinstance(response.body, bytes) else [response.body])
        refused = dict(line.split("\t", 1) for line in reasons.read_text().splitlines()) if reasons.exists() else {}
        reasons.unlink(missing_ok=True)
        after_push()
        response.body = with_reasons(body, refused) if refused else body
    return response


def _feed(process: subprocess.Popen[bytes], body: Body) -> None:
    try:
        with cast("BinaryIO", process.stdin) as stdin:
            while piece := body.read():
                stdin.write(piece)
    except (OSError, ValueError):
        pass


def _start_of_answer(process: subprocess.Popen[bytes], feeder: threading.Thread) -> Response:
    response, stdout = Response(), cast("BufferedReader", process.stdout)
    while line := stdout.readline().strip():
        name, _, value = line.decode().partition(": ")
        if name == "Status":
            response.status = int(value.split()[0])
        else:
            response.headers[name] = value
    response.body = _rest_of_answer(process, feeder)
    return response


def _rest_of_answer(process: subprocess.Popen[bytes], feeder: threading.Thread) -> Iterator[bytes]:
    try:
        with cast("BufferedReader", process.stdout) as stdout:
            while piece := stdout.read1(CHUNK):
                yield piece
    finally:
        process.kill()
        process.wait()
        feeder.join(timeout=5)


def packets(data: bytes) -> Iterator[bytes | None]:
    """Yields the payloads of pkt-lines; None for a flush."""
    while data:
        length = int(data[:4], 16)
        yield data[4:length] if length else None
        data = data[max(length, 4) :]


def packet(payload: bytes | None) -> bytes:
    return b"0000" if payload is None else b"%04x%b" % (len(payload) + 4, payload)


def with_reasons(answer: bytes, reasons: Mapping[str, str]) -> bytes:
    """Returns receive-pack's answer with the forge's reasons in place of git's "hook declined"."""
    report, others = b"", []
    for payload in packets(answer):
        if payload and payload[:1] == b"\x01":
            report += payload[1:]
        elif payload:
            others.append(packet(payload))
    lines = []
    for line in packets(report):
        words = (line or b"").decode().split(" ", 2)
        refused = words[0] == "ng" and words[2].strip() == "hook declined" and words[1] in reasons
        lines.append(packet(f"ng {words[1]} {reasons[words[1]]}\n".encode() if refused else line))
    return b"".join([*others, packet(b"\x01" + b"".join(lines)), packet(None)])
