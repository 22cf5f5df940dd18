"""The report in other languages: catalogs are whole and fresh, and nothing of ours is left in English."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from test_render import (
    GOLDEN,
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
from cml.report import formatting
from cml.report.i18n import LANGUAGES, language_of
from cml.report.view_builder import _PLAIN_REASONS, _REASONS
from scripts import catalogs
from scripts.paths import LOCALES

TOP = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_message_has_a_translation_with_the_same_values(language: str) -> None:
    def names(text: str) -> set[str]:
        return set(re.findall(r"%\((\w+)\)s", text))

    for message in catalogs.read_catalog(language):
        if message.id:
            one, *many = message.id if isinstance(message.id, tuple) else (str(message.id),)
            singular, *plural = catalogs.translations(message)
            assert singular, message.id
            assert names(singular) <= names(one), message.id
            assert [names(text) for text in plural] == [names(text) for text in many], message.id
            assert "%" not in re.sub(r"%\(\w+\)s", "", singular + "".join(plural)), message.id


def test_every_folder_is_a_language() -> None:
    assert sorted(path.name for path in LOCALES.iterdir()) == sorted(LANGUAGES)


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("en", "en"), ("en_GB", "en"), ("de", "de"), ("de_AT", "de"), ("pt", "pt_BR"), ("pt_BR", "pt_BR"), ("pt_PT", "pt_BR"),
        ("fr_CA", "fr"), ("es_419", "es"), ("DE_at", "de"), ("ja", "en"), ("eo", "en"),
    ],
)  # fmt: skip
def test_a_locale_is_served_by_its_language_or_in_english(locale: str, language: str) -> None:
    assert language_of(locale) == language


@pytest.mark.parametrize("language", LANGUAGES)
def test_reports_read_as_their_golden_files(language: str) -> None:
    path = GOLDEN / f"report_everything.{language}.md"
    text = markdown(everything(), locale=language)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_word_of_ours_stays_english(language: str) -> None:
    reason = "the default branch; origin/master does not exist"
    baseline = Baseline(name="origin/main", sha="a" * 40, reason=reason)
    reports = [replace(everything(), baseline=baseline), first(), identical(), empty()]
    written = [markdown(report, locale=language) for report in reports]
    written += [html(report, locale=language) for report in reports]
    written += [terminal(report, locale=language) for report in reports]
    written.append(markdown(everything(), locale=language, limit=1200))
    ours = r"<(style|script)>.*?</\1>|```mermaid.*?```|<meta [^>]*>|(class|id|href|name)=\"[^\"]*\""
    said = re.sub(ours, "", "\n".join(written), flags=re.DOTALL).replace("loss change", "")
    for message in catalogs.read_catalog(language):
        text, translation = message.id, catalogs.translations(message)[0]
        if isinstance(text, str) and len(text) > 4 and "%" not in text and text not in translation:
            assert not re.search(rf"(?<![\w-]){re.escape(text)}(?![\w.-])", said), text


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
def test_counts_agree_with_their_nouns(locale: str, one: str, two: str) -> None:
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
def test_dates_are_the_locales_in_their_own_zone(locale: str, text: str) -> None:
    assert formatting.moment("2024-05-19T12:30:00+02:00", locale=locale) == text
    assert formatting.moment("yesterday", locale=locale) == "yesterday"


def test_values_are_the_locales() -> None:
    text = markdown(everything(), locale="fr")
    assert "metrics.json:loss = **6,84447\xa0%**" in text
    assert "9,7 Mio → 10,4 Mio" in text


def test_the_page_says_its_language_and_searches_in_it() -> None:
    page = html(everything(), locale="pt")
    assert '<html lang="pt-BR">' in page
    assert 'data-search="Buscar métricas" data-found="{shown} de {count}" data-unchanged="1 sem alteração"' in page
    assert f'data-key="{experiment(1, "x", 1).date}"' in page.replace("&#43;", "+")


def test_every_reason_of_a_baseline_is_known() -> None:
    source = (TOP / "cml" / "run" / "baseline.py").read_text()
    found = re.findall(r'(?:reason = |reason=f?|else )"([^";]+)', source)
    assert sorted(set(found)) == sorted((*_REASONS, *_PLAIN_REASONS))
