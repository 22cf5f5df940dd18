"""Templates cannot leave their sandbox, and templates that would use unlimited time or memory are stopped."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import test_templates as known
from support.world import World
from test_render import markdown, typical

from chaos.figures import count, trial
from chaos.project import copy_project, make_project
from chaos.size import draw
from cml.report.markdown import TemplateProblem, check_template

ESCAPES: list[str] = known.test_templates_stay_in_their_sandbox.pytestmark[0].args[1]  # type: ignore[attr-defined]  # pytest's mark
TOO_MUCH = known.test_a_template_that_needs_too_much_is_stopped_with_a_message
BOMBS: list[str] = [bomb for bomb, _ in TOO_MUCH.pytestmark[0].args[1]]  # type: ignore[attr-defined]  # pytest's mark
MORE = [
    "{{ report.__class__.__init__.__globals__ }}",
    "{{ ''|attr('__cl' ~ 'ass__') }}",
    "{{ (metrics|first)|attr('__dict__') }}",
    "{{ '{0.__class__.__base__.__subclasses__}'.format(name) }}",
    "{{ ('{x.__init__.__globals__}').format_map({'x': report}) }}",
    "{{ name.format.__self__ }}",
    "{% set x = self.__init__ %}{{ x.__globals__ }}",
    "{{ caller.__class__ }}{{ varargs }}{{ kwargs }}",
    "{{ [''].sort(key=name.__class__) }}",
    "{{ metrics|map(attribute='__class__.__mro__')|list }}",
    "{{ name|e|attr('_' ~ '_html__') }}",
    "{{ url_for.__globals__ }}{{ get_flashed_messages.__globals__ }}",
    "{% from 'report.md.j2' import __builtins__ %}{{ __builtins__ }}",
    "{% include ['/proc/self/environ', '../../../proc/self/environ'] %}",
]
LOOT = re.compile(r"<class|<module|<built-in|<function|root:x:|PATH=|/usr/lib|object at 0x")
MORE_BOMBS = [
    "{% macro a(n) %}{{ a(n + 1) }}{% endmacro %}{{ a(0) }}",
    "{% set n = namespace(x=['x']) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
    "{{ ('x' * 99999)|replace('x', 'y' * 99999) }}",
    "{{ range(99999)|list|batch(1)|list|string * 99999 }}",
    "{{ (9 ** (9 ** 9))|string }}",
    "{% for a in range(9999) %}{% for b in range(9999) %}{{ a * b }}{% endfor %}{% endfor %}",
    "{{ '%*d' % (10 ** 9, 1) }}",
    "{{ name|indent(10 ** 9) }}{{ name|wordwrap(1)|center(10 ** 9) }}",
]
SECONDS = 5.0


@pytest.mark.parametrize("escape", [*ESCAPES, *MORE])
def test_known_escapes_do_not_work(escape: str) -> None:
    with trial("templates", escape):
        try:
            text = markdown(typical(), template=escape)
        except TemplateProblem as problem:
            text = str(problem)
        escaped = int(bool(LOOT.search(text)))
        count("templates", escapes=escaped)
        assert not escaped, text


@pytest.mark.parametrize("bomb", draw([*BOMBS, *MORE_BOMBS], 6, name="bombs"))
def test_an_endless_template_is_stopped_in_time(bomb: str) -> None:
    with trial("templates", bomb[:100]):
        since = time.monotonic()
        with pytest.raises(TemplateProblem):
            check_template(bomb)
        took = time.monotonic() - since
        count("templates", bombs=1, longest_max=round(took, 2))
        assert took < SECONDS * 2  # the machine may be busy; the table shows the real time


def test_the_built_in_template_is_used_if_the_users_template_fails_late(tmp_path: Path) -> None:
    """The template passes the check on an empty report, and is endless once there are metrics."""
    bomb = "{% for m in metrics or [] %}{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}{% endfor %}"
    world: World = copy_project(make_project(tmp_path / "made"), tmp_path)
    world.commit("A template", {"own.md.j2": bomb})
    with trial("templates", "late failure"):
        done = world.cml("run", "--template", "own.md.j2")
        assert done.code == 0, done.err
        assert "CML's own template is used" in done.err
        assert "accuracy" in world.markdown()
