"""Templates of users: what they may override, messages about errors in them, and that none can harm a run."""

from __future__ import annotations

import dataclasses
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.small_world import error_lines, make_small_world
from test_render import FORMAT, assert_whole, big, empty, everything, markdown, metric, size, typical

from cml.config.settings import read_settings
from cml.errors import BadInput
from cml.process.log import Log
from cml.process.masking import Masks
from cml.report import sandbox
from cml.report.markdown import TemplateProblem, check_template
from cml.report.template_files import templates_folder
from cml.report.view_builder import build_view
from cml.run import render


def test_a_template_overrides_a_block_and_keeps_the_others() -> None:
    template = '{% extends "report.md.j2" %}\n{% block params %}\nLearning rate: {{ params[0].new }} {{ name }}\n{% endblock %}'
    text = markdown(replace(typical(), name="a|b"), template=template)
    assert "Learning rate: 0.0005 a&#124;b\n" in text
    assert "### Params" not in text
    assert "### Metrics" in text
    extended = '{% extends "report.md.j2" %}{% block footer %}{{ super() }}Bye{% endblock %}'
    assert markdown(typical(), template=extended).endswith("</sub>\nBye\n")


def test_a_template_that_does_not_extend_ours_is_escaped_too() -> None:
    template = "{% for row in metrics %}- {{ row.name }} {{ row.name|upper }} {{ [row.name]|join }}\n{% endfor %}"
    text = markdown(replace(empty(), metrics=(metric("<a>*@b", 1, 2),)), template=template)
    assert text == "- &lt;a&gt;&#42;@&#8203;b &lt;A&gt;&#42;@&#8203;B &lt;a&gt;&#42;@&#8203;b\n"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("one\n{% for %}", "line 2: "),
        ("one\ntwo {{ metrix }}", "line 2: 'metrix' is undefined"),
        (
            '{% extends "report.md.j2" %}\n{% block params %}\n{{ nothing.here }}\n{% endblock %}',
            "line 3: 'nothing' is",
        ),
        ('{% extends "other.md.j2" %}', "line 1: template 'other.md.j2' does not exist: extend 'report.md.j2'"),
        ('{% include "../../pyproject.toml" %}', "line 1: template '../../pyproject.toml' does not exist"),
        ("\n\n{{ 1 / 0 }}", "line 3: division by zero"),
        ("{% macro a() %}{{ a() }}{% endmacro %}\n{{ a() }}", "line 1: it calls itself endlessly"),
        ("{% if 1 %}" * 3000 + "{% endif %}" * 3000, "it calls itself endlessly, or is nested too deeply"),
        ("{% for i in [1] %}" * 30 + "{% endfor %}" * 30, "it calls itself endlessly, or is nested too deeply"),
        ("{{ name|nothing }}", "line 1: No filter named 'nothing'"),
    ],
)
def test_a_broken_template_is_found_before_the_run_with_its_line(template: str, message: str) -> None:
    with pytest.raises(TemplateProblem) as problem:
        check_template(template)
    assert message in str(problem.value)
    assert "\n" not in str(problem.value)


@pytest.mark.parametrize(
    "escape",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ report.__init__.__globals__ }}",
        "{{ self._TemplateReference__context.environment }}",
        "{{ range.__class__ }}",
        "{{ ('%s' ~ '') .format.__globals__ }}",
        "{{ '{0.__class__.__init__}'.format(report) }}",
        "{{ ('{0.__class__}'|attr('format'))(1) }}",
        "{{ report|attr('__class__') }}",
        "{{ namespace.__init__.__globals__ }}",
        "{{ dict.__base__ }}{{ ''['__class__'] }}",
        "{{ lipsum.__globals__['os'].popen('id') }}",
        "{{ cycler.__init__.__globals__.os }}",
        "{{ joiner.__init__.__globals__ }}",
        "{{ [report]|map(attribute='__class__')|join }}",
        "{{ [report]|groupby('name.__class__.__mro__') }}",
        "{{ ['']|map('attr', '__class__')|list }}",
        "{{ '{0.__class__.__mro__}'.format_map({'0': 1}) }}",
        "{{ (name ~ '{0.__class__}').format(1) }}",
        "{% macro a() %}{% endmacro %}{{ a.__init__.__globals__ }}",
        "{% for i in [1] %}{{ loop.__class__ }}{{ loop._iterator.__class__ }}{% endfor %}",
        "{% import 'macros.md.j2' as md %}{{ md.__init__.__globals__ }}",
        "{{ config }}{{ request }}{{ environment }}{{ os }}",
        "{% include '/etc/passwd' %}",
        "{% extends '../../../etc/passwd' %}",
        "{{ {}.update({1: 2}) }}",
    ],
)
def test_templates_stay_in_their_sandbox(escape: str) -> None:
    try:
        text = markdown(typical(), template=escape)
    except TemplateProblem as problem:
        text = re.sub(".*(is unsafe|is undefined|template .* does not exist.*|out of range)", "", str(problem))
    assert text.strip(".\n") in ("", "&#91;Undefined&#93;"), "only an error or an undefined name is shown"


@pytest.mark.parametrize(
    ("bomb", "message"),
    [
        ("{% for i in range(10 ** 9) %}x{% endfor %}", "line 2: Range too big"),
        ("{{ 'a' * 10 ** 9 }}", "line 2: it needs more than 512 MB of memory"),
        ("{{ name|center(10 ** 9) }}", "line 2: it needs more than 512 MB of memory"),
        ("{{ range(99999)|join('x' * 99999) }}", "line 2: it needs more than 512 MB of memory"),
        ("{{ '%1000000000d' % 1 }}", "line 2: it needs more than 512 MB of memory"),
        ("{% set a = namespace(a='a') %}{% for i in range(99) %}{% set a.a = a.a ~ a.a %}{% endfor %}", "line 2: "),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "line 2: it takes longer"),
        ("{% for i in range(20) recursive %}{{ loop(range(20)) }}{% endfor %}", "line 2: "),
        ("{{ 10 ** (10 ** 10) }}", "line 2: it takes longer than 4 s"),
        (
            f"{{% for i in range(200) %}}{'x' * 99_999}{{% endfor %}}",
            "it writes 19999804 characters; at most 16777216 are allowed",
        ),
    ],
)
def test_a_template_that_needs_too_much_is_stopped_with_a_message(bomb: str, message: str) -> None:
    start = time.monotonic()
    with pytest.raises(TemplateProblem) as problem:
        check_template(f"one\n{bomb}")
    assert message in str(problem.value)
    assert time.monotonic() - start < 10, "4 seconds and the start of a child"


def test_a_step_that_never_returns_to_python_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = "import sys, signal, cml.report.sandbox as c; c._stop = print; c.SECONDS = 0.1; c.serve()"
    monkeypatch.setattr(sandbox, "START", f"import sys; sys.path[:] = sys.argv[1:]; {stuck}")
    with pytest.raises(TemplateProblem, match=r"^it takes longer than 4 s$"):
        check_template("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}")


def test_a_bad_template_is_bad_input_that_names_file_and_line(tmp_path: Path) -> None:
    world = make_small_world(tmp_path, {"own.md.j2": "one\n{{ 'a' * 10 ** 9 }}\n"})
    done = world.cml("report", "--template", "own.md.j2")
    assert done.code == 2
    assert error_lines(done) == ["template own.md.j2: line 2: it needs more than 512 MB of memory"]


def test_a_template_that_fails_after_its_check_is_replaced_by_ours(tmp_path: Path) -> None:
    text = '{% extends "report.md.j2" %}\n{% block metrics %}{{ metrics[0].name * 10 ** 9 if metrics }}{% endblock %}'
    (tmp_path / "own.md.j2").write_text(text)
    settings = read_settings({"template": str(tmp_path / "own.md.j2")}, {}, is_ci=False)
    assert render.read_template(settings) == text
    log = Log(Masks(expression=None))
    written = render.render_report(typical(), settings=settings, template=text, log=log)
    assert written == markdown(typical())
    (warning,) = log.warnings
    assert warning.startswith(f"template {tmp_path}/own.md.j2: line 2: it needs more than 512 MB of memory; CML's")


def test_a_report_of_a_users_template_is_shortened_too() -> None:
    template = '{% extends "report.md.j2" %}{% block footer %}{{ super() }}Bye{% endblock %}'
    text = markdown(big(), template=template, limit=9000)
    assert size(text) <= 9000
    assert text.endswith("</sub>\nBye\n")
    assert_whole(text)


def test_our_template_lists_every_variable() -> None:
    view = build_view(everything(), number_format=FORMAT, locale="en")
    head = (templates_folder() / "report.md.j2").read_text(encoding="utf-8").partition("-#}")[0]
    listed = re.findall(r"^  (\w+) +(\w.*)$", head, re.MULTILINE)
    names = {section: names.split(", ") for section, names in listed}
    assert sorted(name for section in names.values() for name in section) == sorted(view.context())
    for section in names.keys() - {"all"}:
        fields = {field.name for field in dataclasses.fields(getattr(view, section))}
        assert set(names[section]) == fields - {"unlisted"}, section


def test_a_template_sees_no_file_and_no_environment() -> None:
    names = set(build_view(everything(), number_format=FORMAT, locale="en").context())
    assert not names & {"os", "environ", "settings", "request", "config"}
    assert all(
        not callable(value) for value in build_view(everything(), number_format=FORMAT, locale="en").context().values()
    )


@pytest.mark.parametrize("path", ["/dev/zero", "."])
def test_a_template_must_be_a_regular_file(path: str) -> None:
    with pytest.raises(BadInput, match=r"template is .* expected a file"):
        render.read_template(read_settings({"template": path}, {}, is_ci=False))


def test_a_template_of_megabytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big.md.j2").write_text("x" * (2 << 20))
    with pytest.raises(BadInput, match="at most"):
        render.read_template(read_settings({"template": str(tmp_path / "big.md.j2")}, {}, is_ci=False))
