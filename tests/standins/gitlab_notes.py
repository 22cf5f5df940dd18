"""Notes on the merge requests of the stand-in GitLab: who may write them, their limits, and quick actions in them.

Not modelled: discussions, internal notes, reactions, mentions and references.
"""

from __future__ import annotations

import re

from standins import gitlab_json as write
from standins.gitlab_call import Call, found, page
from standins.gitlab_model import LEVELS, Note
from standins.gitlab_rules import TOO_MANY, count, forbidden, refuse
from standins.web import Response, json_response

LIMIT = 1_000_000
FIELDS = {"body!": str}
UPDATE = {"body": str}
FILTERS = ("order_by", "sort", "activity_filter")
# GitLab executes these at the start of a line, and removes them from the note.
COMMANDS = re.compile(
    r"^/(approve|assign|assign_reviewer|close|copy_metadata|draft|estimate|label|lock|merge|milestone|ready|reassign|rebase"
    r"|relabel|reopen|request_review|run_pipeline|spend|submit_review|subscribe|target_branch|title|todo|unapprove|unlabel"
    r"|unlock|unsubscribe)\b.*$",
    re.MULTILINE,
)
QUIET = re.compile(
    r"^(```|~~~)[^\n]*\n.*?^\1[^\n]*$|^<[^<>]+>\n.*?^</[^<>]+>$|^>>>\n.*?^>>>$|`[^`\n]+`", re.MULTILINE | re.DOTALL
)


def obey(body: str) -> tuple[str, list[str]]:
    """Returns a body without its quick actions, and the quick actions. Code, HTML blocks and quotes have none."""
    commands: list[str] = []
    shown, at = "", 0
    for quiet in [*QUIET.finditer(body), None]:
        loud = body[at : quiet.start() if quiet else len(body)]
        commands += [match[0] for match in COMMANDS.finditer(loud)]
        shown += COMMANDS.sub("", loud) + (quiet[0] if quiet else "")
        at = quiet.end() if quiet else at
    return (shown.strip() if commands else body), commands


def list_notes(call: Call) -> Response:
    order, sort = call.order("created_at", "updated_at")
    iid = call.merge_request().iid
    shown = {"all_notes": (False, True), "only_comments": (False,), "only_activity": (True,)}
    wanted = shown[call.request.query.get("activity_filter", "all_notes")]
    notes = [one for one in call.project.notes if one.merge_request == iid and one.is_system in wanted]
    notes.sort(key=lambda one: (getattr(one, order), one.id), reverse=sort == "desc")
    return page(call, notes, lambda one: write.note(call.state, call.project, one))


def get_note(call: Call) -> Response:
    return json_response(write.note(call.state, call.project, _note(call)))


def create_note(call: Call) -> Response:
    assert call.token
    refusal = json_response({"message": {"error": TOO_MANY}})
    count(call.token.notes, call.state.clock().timestamp(), name="notes_create", body=refusal)
    iid = call.merge_request().iid
    body, commands = _text(call)
    if commands and not body:
        return json_response({"commands_changes": {}, "summary": ["Commands applied"]}, status=202)
    note = call.state.add_note(call.project, iid, body, login=call.login)
    note.commands = commands
    return json_response(write.note(call.state, call.project, note), status=201)


def update_note(call: Call) -> Response:
    note = _own_note(call)
    if "body" in call.body:
        note.body, commands = _text(call)
        note.commands += commands
        note.updated_at = call.state.now()
    return json_response(write.note(call.state, call.project, note))


def delete_note(call: Call) -> Response:
    call.project.notes.remove(_own_note(call))
    return Response(status=204)


def _text(call: Call) -> tuple[str, list[str]]:
    body = str(call.body["body"])
    if not body.strip():
        raise refuse(400, '400 Bad request - Note {:note=>["can\'t be blank"]}')
    if len(body) > LIMIT:
        raise refuse(400, f'400 Bad request - Note {{:note=>["is too long (maximum is {LIMIT} characters)"]}}')
    return obey(body)


def _note(call: Call) -> Note:
    iid, wanted = call.merge_request().iid, call.parameters["id"]
    return found(next((one for one in call.project.notes if (one.merge_request, str(one.id)) == (iid, wanted)), None))


def _own_note(call: Call) -> Note:
    """Returns a note that the token may change: its own, or as a maintainer anybody's; never a system note."""
    note = _note(call)
    assert call.token
    is_maintainer = LEVELS[call.token.role_in(call.project.path)] >= LEVELS["maintainer"]
    if note.is_system or (note.login != call.login and not is_maintainer):
        raise forbidden()
    return note
