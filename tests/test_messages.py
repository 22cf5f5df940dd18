"""The report in other languages: translations fit their messages, and a missing one is shown in English."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from test_render import (
    CASES,
    assert_golden,
    empty,
    everything,
    experiment,
    first,
    html,
    identical,
    markdown,
    metric,
    terminal,
)

from cml.model.report import Baseline
from cml.report import formatting, i18n
from cml.report.i18n import LANGUAGES, language_of
from cml.report.sections.header import OBVIOUS_REASONS, REASONS
from scripts import catalogs
from scripts.paths import LOCALES

TOP = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_the_values_of_its_message(language: str) -> None:
    def names(text: str) -> set[str]:
        return set(re.findall(r"%\((\w+)\)s", text))

    for message in catalogs.read_catalog(language):
        if message.id and any(catalogs.translations(message)):
            one, *many = message.id if isinstance(message.id, tuple) else (str(message.id),)
            singular, *plural = catalogs.translations(message)
            assert names(singular) <= names(one), message.id
            assert [names(text) for text in plural] == [names(text) for text in many], message.id
            assert "%" not in re.sub(r"%\(\w+\)s", "", singular + "".join(plural)), message.id


def test_a_new_message_is_listed_and_changes_no_catalog(monkeypatch: pytest.MonkeyPatch) -> None:
    before = catalogs.generated_files()
    marked = [*catalogs.marked_messages(), ("Brand new", None), (("%(count)s thing", "%(count)s things"), "new")]
    monkeypatch.setattr(catalogs, "marked_messages", lambda: marked)
    assert catalogs.generated_files() == before
    lines = catalogs.missing_translations()
    assert lines.count("  Brand new") == lines.count("  ('%(count)s thing', '%(count)s things')") == len(LANGUAGES)


def test_a_message_without_a_translation_is_shown_in_english(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locales").mkdir()
    (tmp_path / "locales" / "de.po").write_text(
        'msgid "known"\nmsgstr "bekannt"\n\nmsgid "empty"\nmsgstr ""\n\n'
        'msgid "%(count)s row"\nmsgid_plural "%(count)s rows"\nmsgstr[0] "%(count)s Zeile"\nmsgstr[1] ""\n',
        encoding="utf-8",
    )
    monkeypatch.setattr(i18n, "templates_folder", lambda: tmp_path)
    translations = i18n.translations_of.__wrapped__("de")
    assert translations.gettext("known") == "bekannt"
    assert translations.gettext("empty") == "empty"
    assert translations.gettext("absent") == "absent"
    assert translations.pgettext("stage", "known") == "known"
    assert translations.ngettext("%(count)s row", "%(count)s rows", 1) == "%(count)s Zeile"
    assert translations.ngettext("%(count)s row", "%(count)s rows", 2) == "%(count)s rows"
    assert translations.npgettext("stages", "%(count)s ran", "%(count)s ran", 2) == "%(count)s ran"


def test_every_catalog_is_of_a_known_language() -> None:
    assert sorted(path.name for path in LOCALES.iterdir()) == sorted(f"{language}.po" for language in LANGUAGES)


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("en", "en"), ("en_GB", "en"), ("de", "de"), ("de_AT", "de"), ("pt", "pt_BR"), ("pt_BR", "pt_BR"), ("pt_PT", "pt_BR"),
        ("fr_CA", "fr"), ("es_419", "es"), ("DE_at", "de"), ("ja", "en"), ("eo", "en"),
    ],
)  # fmt: skip
def test_a_locale_without_a_language_of_ours_is_in_english(locale: str, language: str) -> None:
    assert language_of(locale) == language


def test_reports_read_as_their_golden_file_in_every_language() -> None:
    """The golden file has the lines that are not as in English: a new message without a translation changes none."""
    parts = []
    for language in LANGUAGES:
        for name in ("everything", "failure", "no_baseline", "identical"):
            english, translated = (markdown(CASES[name](), locale=locale).split("\n") for locale in ("en", language))
            lines = [line for line, original in zip(translated, english, strict=True) if line != original]
            parts.append(f"<!-- {language}: {name} -->\n\n~~~~~~text\n" + "\n".join(lines) + "\n~~~~~~\n")
    assert_golden("languages", "\n".join(parts))


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_translated_message_appears_in_english(language: str) -> None:
    reason = "the default branch; origin/master does not exist"
    baseline = Baseline(name="origin/main", sha="a" * 40, reason=reason)
    reports = [replace(everything(), baseline=baseline), first(), identical(), empty()]
    written = [markdown(report, locale=language) for report in reports]
    written += [html(report, locale=language) for report in reports]
    written += [terminal(report, locale=language) for report in reports]
    written.append(markdown(everything(), locale=language, limit=1200))
    ours = r"<(style|script)>.*?</\1>|```mermaid.*?```|<meta [^>]*>|(class|id|href|name)=\"[^\"]*\""
    text_shown = re.sub(ours, "", "\n".join(written), flags=re.DOTALL).replace("loss change", "")
    for message in catalogs.missing_messages(language):  # in English, with words that are messages of their own
        for form in message.id if isinstance(message.id, tuple) else (message.id,):
            pattern = re.sub(r"%\\\((\w+)\\\)s", ".*?", re.escape(str(form)))
            text_shown = re.sub(pattern, "", text_shown)
    for message in catalogs.read_catalog(language):
        text, translation = message.id, catalogs.translations(message)[0]
        if isinstance(text, str) and len(text) > 4 and "%" not in text and translation and text not in translation:
            assert not re.search(rf"(?<![\w-]){re.escape(text)}(?![\w.-])", text_shown), text


@pytest.mark.parametrize(
    ("locale", "one", "two"),
    [
        ("en", "1 metric better, 1 worse", "2 metrics better, 2 worse"),
        ("de", "1 Metrik besser, 1 schlechter", "2 Metriken besser, 2 schlechter"),
        ("es", "1 métrica mejor, 1 peor", "2 métricas mejores, 2 peores"),
        ("fr", "1 métrique meilleure, 1 moins bonne", "2 métriques meilleures, 2 moins bonnes"),
        ("pt_BR", "1 métrica melhor, 1 pior", "2 métricas melhores, 2 piores"),
    ],
)
def test_plurals_are_right_in_every_language(locale: str, one: str, two: str) -> None:
    better = [metric(name, 1, 2, better=True) for name in "ab"]
    worse = [metric(name, 1, 2, better=False) for name in "cd"]
    assert f"**{one}**" in markdown(replace(empty(), metrics=(better[0], worse[0])), locale=locale)
    assert f"**{two}**" in markdown(replace(empty(), metrics=(*better, *worse)), locale=locale)


@pytest.mark.parametrize(
    ("locale", "text"),
    [
        ("en", "2024-05-19 12:30"),
        ("en_US", "May 19, 2024, 12:30\u202fPM"),
        ("de", "19.05.2024, 12:30"),
        ("fr", "19 mai 2024, 12:30"),
        ("ja", "2024/05/19 12:30"),
    ],
)
def test_dates_are_in_the_format_of_the_locale_and_in_their_own_time_zone(locale: str, text: str) -> None:
    assert formatting.moment("2024-05-19T12:30:00+02:00", locale=locale) == text
    assert formatting.moment("yesterday", locale=locale) == "yesterday"


def test_values_are_in_the_format_of_the_locale() -> None:
    text = markdown(everything(), locale="fr")
    assert "metrics.json:loss = **6,84447\xa0%**" in text
    assert "9,7 Mio → 10,4 Mio" in text


def test_the_page_names_its_language_and_translates_its_tools() -> None:
    page = html(everything(), locale="pt")
    assert '<html lang="pt-BR">' in page
    assert 'data-search="Buscar métricas" data-found="{shown} de {count}" data-unchanged="1 sem alteração"' in page
    assert f'data-key="{experiment(1, "x", 1).date}"' in page.replace("&#43;", "+")


def test_every_reason_of_a_baseline_is_known() -> None:
    source = (TOP / "cml" / "run" / "baseline.py").read_text()
    found = re.findall(r'"((?:the|as) [^";{]+)[";]', source)
    assert sorted(set(found)) == sorted((*REASONS, *OBVIOUS_REASONS))
