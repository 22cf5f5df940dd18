"""A command from its first instant to its last: the environment is read and cleaned, and the machine left as found."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from cml.config.settings import Settings, read_settings
from cml.errors import BadInput
from cml.forges.base import Context, Forge, ForgeName
from cml.git.repository import Repository
from cml.process import signals
from cml.process.log import Log
from cml.process.masking import Masks
from cml.process.ownership import restore_ownership
from cml.process.tokens import take_tokens
from cml.remotes.credentials import Credentials, provide_credentials, remove_leftovers
from cml.remotes.kinds import holds_secret

if TYPE_CHECKING:
    from cml.dvc.project import Project

SITE_CACHE = "DVC_SITE_CACHE_DIR"


class Session(NamedTuple):
    """What every command works with. The current directory is the working directory. Without a git repository there,
    `work_tree` is why. `own_cache` is DVC's site cache that knows the hashes of this machine's files ("" is its usual
    place), None for a machine that is a job's alone.
    """

    settings: Settings
    work_tree: Repository | BadInput
    forge: Forge
    log: Log
    stdout: TextIO
    credentials: Credentials

    @property
    def repository(self) -> Repository:
        """The work tree. Raises BadInput where there is none, which only `cml publish` does without."""
        if isinstance(self.work_tree, BadInput):
            raise self.work_tree
        return self.work_tree

    def open_project(self) -> Project:
        """Opens the DVC project with the credentials of its remotes in place."""
        self.credentials.until_exit.enter_context(_temporary_files(self.credentials.folder))
        from cml.dvc.project import Project

        project = Project.open(
            Path.cwd(),
            top=self.repository.top,
            log=self.log,
            configure=self.credentials.configure,
        )
        self.credentials.until_exit.callback(project.close)
        return project


@contextlib.contextmanager
def session(options: Mapping[str, str]) -> Iterator[Session]:
    """Reads everything a command needs, and undoes everything at its end. Raises BadInput."""
    tokens = take_tokens()
    at_the_door = dict(os.environ)
    context = _read_context(os.environ)
    settings = read_settings(os.environ, options, is_ci=context.is_ci)
    token = tokens.for_forge(context.forge_name)
    work_tree = _open(_enter(settings), token, context.forge_name, is_job_token=tokens.is_job_token(token))
    with contextlib.ExitStack() as leave:
        leave.callback(signals.reap_children)
        if isinstance(work_tree, Repository):
            leave.enter_context(restore_ownership(work_tree.top))
            os.environ.update(work_tree.child_environment())
            work_tree.remove_stale_locks()
        temporary = _temporary_place()
        remove_leftovers(temporary)
        credentials = leave.enter_context(provide_credentials(os.environ, temporary))
        if isinstance(work_tree, Repository):
            work_tree.copy_hooks(credentials.folder / "hooks")
        masks = Masks.from_environment(
            at_the_door, holds_secret=holds_secret, extra=[*tokens.values(), *credentials.secrets]
        )
        # DVC's own site cache outlives a job and remembers what a remote held then.
        # On a laptop, and where the user has set it, DVC keeps it: `Project.verify` checks each object all the same.
        if context.is_ci and SITE_CACHE not in os.environ:
            os.environ[SITE_CACHE] = str(credentials.folder / "dvc")
        os.environ["DVC_NO_ANALYTICS"] = "true"
        stdout = _keep_stdout()
        forge = _forge(context, settings, token=token, is_job_token=tokens.is_job_token(token), stdout=stdout)
        leave.callback(forge.close)
        log = Log(masks, annotate=forge.annotate, around_output=forge.log_group)
        leave.enter_context(signals.end_children_on_cancel())
        yield Session(
            settings=settings,
            work_tree=work_tree,
            forge=forge,
            log=log,
            stdout=stdout,
            credentials=credentials,
        )


def _open(directory: Path, token: str | None, forge_name: ForgeName, *, is_job_token: bool) -> Repository | BadInput:
    user = "x-access-token" if forge_name != "gitlab" else "gitlab-ci-token" if is_job_token else "oauth2"
    try:
        return Repository(directory, token=token, user=user)
    except BadInput as error:
        return error


def _read_context(environment: Mapping[str, str]) -> Context:
    if environment.get("GITHUB_ACTIONS") == "true":
        from cml.forges.github.context import read_context as read_github_context

        path = environment.get("GITHUB_EVENT_PATH", "")
        try:
            text = Path(path).read_text(encoding="utf-8") if path else "{}"
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise BadInput(f"GITHUB_EVENT_PATH names {path!r}, which cannot be read: {error}") from None
        return read_github_context(environment, text)
    if environment.get("GITLAB_CI") == "true":
        from cml.forges.gitlab.context import read_context as read_gitlab_context

        return read_gitlab_context(environment)
    from cml.forges.local import read_context as read_local_context

    return read_local_context()


def _forge(context: Context, settings: Settings, *, token: str | None, is_job_token: bool, stdout: TextIO) -> Forge:
    if context.forge_name == "github" and context.slug and token:
        from cml.forges.github.publish import GitHub, GitHubJob

        job = GitHubJob.read(os.environ)
        return GitHub(context, job, token, report_name=settings.report_name, comment=settings.comment)
    if context.forge_name == "gitlab" and context.slug and token and os.environ.get("CI_API_V4_URL"):
        from cml.forges.gitlab.api import Api
        from cml.forges.gitlab.context import GitLabJob
        from cml.forges.gitlab.publish import GitLab

        return GitLab(
            context,
            Api(GitLabJob.read(os.environ), token, is_job_token=is_job_token),
            report_name=settings.report_name,
            comment=settings.comment,
            terminal=stdout,
        )
    from cml.forges.local import Local

    return Local(context, stdout)


def _temporary_place() -> Path:
    """The machine's place for temporary files, as tempfile takes it, which would try it by writing a file."""
    named = (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    place = Path(next(filter(None, named), "/tmp"))  # noqa: S108 - what is made there has a name that nobody knows
    if place.is_absolute() and place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return place
    import tempfile

    return Path(tempfile.gettempdir())


@contextlib.contextmanager
def _temporary_files(folder: Path) -> Iterator[None]:
    """Lets our own temporary files lie in the run's private folder, which the next run sweeps where this one is killed.
    Children keep the machine's.
    """
    import tempfile

    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _keep_stdout() -> TextIO:
    """Returns the true stdout for the report alone; whatever else is printed goes to stderr, with the log."""
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return stdout


def _enter(settings: Settings) -> Path:
    directory = Path(settings.working_directory)
    if not directory.is_dir():
        raise BadInput(f"working_directory is {settings.working_directory!r}, which is no folder here")
    os.chdir(directory)
    return directory.resolve()
