"""Set-up and tear-down of a command: tokens, settings, forge, log, credentials, and cleaning up at the end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TextIO

from cml.config.settings import Settings, read_settings
from cml.errors import BadInput
from cml.forges import local
from cml.forges.base import Context, Forge, ForgeName
from cml.forges.github import context as github
from cml.forges.gitlab import context as gitlab
from cml.forges.gitlab.forge import GitLab
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


class Command(NamedTuple):
    """What every command works with. The current directory is the working directory.

    `found_repository` is the git repository, or the error that explains why there is none.
    """

    settings: Settings
    found_repository: Repository | BadInput
    forge: Forge
    log: Log
    stdout: TextIO
    credentials: Credentials

    @property
    def repository(self) -> Repository:
        """The git repository. Raises BadInput if there is none; only `cml publish` works without one."""
        if isinstance(self.found_repository, BadInput):
            raise self.found_repository
        return self.found_repository

    @property
    def context(self) -> Context:
        """The event that the command runs for."""
        return self.forge.context

    def open_project(self) -> Project:
        """Opens the DVC project, with the credentials of its remotes."""
        # A skipped run opens no project, and must not import DVC.
        from cml.dvc.project import Project
        from cml.run.temporary import temporary_files_in

        self.credentials.until_exit.enter_context(temporary_files_in(self.credentials.folder))
        project = Project.open(
            Path.cwd(),
            top=self.repository.top,
            log=self.log,
            configure=self.credentials.configure,
        )
        self.credentials.until_exit.callback(project.close)
        return project


@contextlib.contextmanager
def open_command(options: Mapping[str, str]) -> Iterator[Command]:
    """Sets up everything that a command needs, and cleans up at the end. Raises BadInput."""
    # First of all: no process that is started from here on, git included, may see a token.
    tokens = take_tokens()
    original_environment = dict(os.environ)
    context = _read_context(os.environ)
    settings = read_settings(os.environ, options, is_ci=context.is_ci)
    token = tokens.for_forge(context.forge_name)
    is_job_token = tokens.is_job_token(token)
    repository = _open_repository(_enter(settings), token, context.forge_name, is_job_token=is_job_token)
    # What is registered first is undone last: at the very end no process of ours is left, and every file belongs to
    # the owner of the work tree again.
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(signals.reap_children)
        if isinstance(repository, Repository):
            cleanup.enter_context(restore_ownership(repository.top))
            # Stages may start git too: it must accept a work tree that belongs to another user.
            os.environ.update(repository.child_environment())
            repository.remove_stale_locks()
        # An earlier run on this machine may have been killed before it could clean up.
        temporary = _temporary_folder()
        remove_leftovers(temporary)
        credentials = cleanup.enter_context(provide_credentials(os.environ, temporary))
        if isinstance(repository, Repository):
            # Before a stage runs: it could write a hook that gets the token of a later push.
            repository.copy_hooks(credentials.folder / "hooks")
        # From the environment as it was: `provide_credentials` changes variables that contain secrets.
        masks = Masks.from_environment(
            original_environment, holds_secret=holds_secret, extra=[*tokens.values(), *credentials.secrets]
        )
        _set_up_dvc(credentials.folder, is_ci=context.is_ci)
        stdout = _keep_stdout()
        forge = _open_forge(context, settings, token=token, is_job_token=is_job_token, stdout=stdout)
        cleanup.callback(forge.close)
        log = Log(masks, annotate=forge.annotate, around_output=forge.log_group)
        # Registered last, so that it acts first: no process may write to a folder that is being removed.
        cleanup.enter_context(signals.end_children_on_cancel())
        yield Command(
            settings=settings,
            found_repository=repository,
            forge=forge,
            log=log,
            stdout=stdout,
            credentials=credentials,
        )


def _set_up_dvc(folder: Path, *, is_ci: bool) -> None:
    # DVC's site cache is kept after a job. It remembers what a remote contained then, which may be wrong now. On a
    # laptop, or where the user has set it, it is used: `Project.verify` checks each object anyway.
    if is_ci and SITE_CACHE not in os.environ:
        os.environ[SITE_CACHE] = str(folder / "dvc")
    os.environ["DVC_NO_ANALYTICS"] = "true"


def _open_repository(
    directory: Path, token: str | None, forge_name: ForgeName, *, is_job_token: bool
) -> Repository | BadInput:
    if forge_name != "gitlab":
        user = "x-access-token"
    else:
        user = "gitlab-ci-token" if is_job_token else "oauth2"
    try:
        return Repository(directory, token=token, user=user)
    except BadInput as error:
        return error


def _read_context(environment: Mapping[str, str]) -> Context:
    if environment.get("GITHUB_ACTIONS") == "true":
        path = environment.get("GITHUB_EVENT_PATH", "")
        try:
            text = Path(path).read_text(encoding="utf-8") if path else "{}"
        except (OSError, UnicodeDecodeError, ValueError) as error:
            raise BadInput(f"cannot read the file {path!r} that GITHUB_EVENT_PATH names: {error}") from None
        return github.read_context(environment, text)
    if environment.get("GITLAB_CI") == "true":
        return gitlab.read_context(environment)
    return local.read_context()


def _open_forge(
    context: Context, settings: Settings, *, token: str | None, is_job_token: bool, stdout: TextIO
) -> Forge:
    if context.forge_name == "github" and context.slug and token:
        # It imports actions-toolkit, which only a job on GitHub needs.
        from cml.forges.github.forge import GitHub

        job = github.GitHubJob.read(os.environ)
        return GitHub(context, job, token, report_name=settings.report_name, comment=settings.comment)
    if context.forge_name == "gitlab" and context.slug and token and os.environ.get("CI_API_V4_URL"):
        return GitLab(
            context,
            gitlab.GitLabJob.read(os.environ),
            token,
            is_job_token=is_job_token,
            report_name=settings.report_name,
            comment=settings.comment,
            terminal=stdout,
        )
    return local.Local(context, stdout)


def _temporary_folder() -> Path:
    """Returns the folder that tempfile would use, without importing tempfile: a skipped run must not pay for that."""
    variables = (os.environ.get(name) for name in ("TMPDIR", "TEMP", "TMP"))
    for name in (*filter(None, variables), "/tmp", "/var/tmp", "/usr/tmp"):  # noqa: S108 - it gets a private folder
        folder = Path(os.path.abspath(name))
        if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
            return folder
    return Path.cwd()


def _keep_stdout() -> TextIO:
    """Returns the real stdout, which is for the report only; everything else that is printed goes to stderr."""
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return stdout


def _enter(settings: Settings) -> Path:
    """Changes to the working directory, and returns it. Raises BadInput."""
    directory = Path(settings.working_directory)
    if not directory.is_dir():
        raise BadInput(f"working_directory is {settings.working_directory!r}: there is no such folder")
    os.chdir(directory)
    return directory.resolve()
