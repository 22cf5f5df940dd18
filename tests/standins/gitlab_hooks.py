"""The hooks of the stand-in GitLab, which refuse pushes to protected branches and tags.

If one ref is refused, the whole push is, as by GitLab's own pre-receive hook.
"""

from __future__ import annotations

import re

from standins.gitlab_model import LEVELS, Project, Role

# $STANDIN_RULES: lines of "changes<tab>pattern<tab>reason", the changes some of c(reate), u(pdate), f(orce), d(elete);
# the first match counts; without a reason it allows. The repository's own hook runs after it.
PRE_RECEIVE = r"""#!/bin/sh
tab=$(printf '\t')
changes=$(cat)
judge() {
  while IFS=$tab read -r kinds pattern reason; do
    case $kinds in *"$1"*) case $2 in $pattern)
      [ -z "$reason" ] || { printf 'GitLab: %s\n' "$reason" >&2; return 1; }
      return 0 ;;
    esac ;; esac
  done <<RULES
$STANDIN_RULES
RULES
}
while read -r old new ref; do
  case $old:$new in
  *:*[!0]*) case $old in
    *[!0]*) git merge-base --is-ancestor "$old" "$new" 2>/dev/null || judge f "$ref" || exit 1
      judge u "$ref" || exit 1 ;;
    *) judge c "$ref" || exit 1 ;;
    esac ;;
  *) judge d "$ref" || exit 1 ;;
  esac
done <<CHANGES
$changes
CHANGES
own="$GIT_DIR/hooks/pre-receive"
[ ! -x "$own" ] || printf '%s\n' "$changes" | "$own"
"""
# $STANDIN_PUSHED: the file that the push options and the changes are written to.
POST_RECEIVE = r"""#!/bin/sh
changes=$(cat)
number=0
while [ "$number" -lt "${GIT_PUSH_OPTION_COUNT:-0}" ]; do
  eval "printf 'option %s\n' \"\$GIT_PUSH_OPTION_$number\"" >>"$STANDIN_PUSHED"
  number=$((number + 1))
done
printf '%s\n' "$changes" >>"$STANDIN_PUSHED"
own="$GIT_DIR/hooks/post-receive"
[ ! -x "$own" ] || printf '%s\n' "$changes" | "$own"
"""
HOOKS = {"pre-receive": PRE_RECEIVE, "post-receive": POST_RECEIVE}

NO_PUSH = "You are not allowed to push code to protected branches on this project."
NO_FORCE = "You are not allowed to force push code to a protected branch on this project."
NO_BRANCH = "You are not allowed to create protected branches on this project."
ONLY_WEB_BRANCH = "You can only create protected branches using the web interface and API."
NO_DELETE = "You can only delete protected branches using the web interface."
NO_DEFAULT_DELETE = "The default branch of a project cannot be deleted."
NO_TAG = "You are not allowed to create this tag as it is protected."
NO_TAG_UPDATE = "Protected tags cannot be updated."
NO_TAG_DELETE = "You can only delete protected tags using the web interface."
NO_DEFAULT_TAG = "You cannot use default branch name to create a tag"


def refusals(project: Project, role: Role | None) -> str:
    """Returns the rules of a role for the pre-receive hook. If a ref matches several patterns, the mildest counts."""
    level = LEVELS[role]
    allowed: list[str] = []
    refused: list[str] = []
    default = _literal(project.default_branch)
    first = [f"d\trefs/heads/{default}\t{NO_DEFAULT_DELETE}", f"c\trefs/tags/{default}\t{NO_DEFAULT_TAG}"]
    for pattern, rule in project.protected_branches.items():
        ref = f"refs/heads/{_wild(pattern)}"
        may = ("f" if rule.allow_force else "") + ("cu" if level >= LEVELS[rule.push] else "")
        new = ONLY_WEB_BRANCH if level >= LEVELS[rule.merge] else NO_BRANCH
        allowed += [f"{may}\t{ref}\t"] if may else []
        reasons = {"f": NO_FORCE, "u": NO_PUSH, "c": new, "d": NO_DELETE}
        refused += [f"{change}\t{ref}\t{why}" for change, why in reasons.items()]
    for pattern, rule in project.protected_tags.items():
        ref = f"refs/tags/{_wild(pattern)}"
        allowed += [f"c\t{ref}\t"] if level >= LEVELS[rule.push] else []
        reasons = {"c": NO_TAG, "uf": NO_TAG_UPDATE, "d": NO_TAG_DELETE}
        refused += [f"{change}\t{ref}\t{why}" for change, why in reasons.items()]
    return "\n".join([*first, *allowed, *refused])


def _literal(name: str) -> str:
    """Returns a name as a pattern of sh."""
    return re.sub(r"([\\*?\[\]])", r"\\\1", name)


def _wild(pattern: str) -> str:
    return "*".join(_literal(part) for part in pattern.split("*"))
