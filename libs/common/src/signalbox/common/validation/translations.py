"""Languages: texts that are missing in one of the workflow's languages."""

from collections.abc import Iterator

from signalbox.common.templates import has_words, language_chain
from signalbox.common.validation.report import Finding
from signalbox.common.validation.submission import Submission, Text
from signalbox.contracts.config import Intent


def warn_about_translations(submission: Submission) -> Iterator[Finding]:
    """``missing_translation``: a language of the workflow that a text falls back from.

    A text in a parent language counts (``zh`` for ``zh-Hant``), and so does one that holds no words of its own.
    """
    if any(path[0] == "languages" for path in submission.removed):
        return
    languages = submission.config.languages
    for text in submission.texts:
        missing = [language for language in languages if not _covered(text, language, languages)]
        if missing:
            detail = f"No text for {', '.join(f'`{language}`' for language in missing)}: another language is shown."
            yield Finding(text.path, "missing_translation", detail)


def warn_about_labels(submission: Submission) -> Iterator[Finding]:
    """``missing_label``: intents that several languages' users may be asked about by a description in one language."""
    config = submission.config
    may_be_asked = [
        (node.path, intent)
        for node, intent in submission.of(Intent)
        if intent.when.examples or intent.description
    ]
    if len(config.languages) == 1 or len(may_be_asked) == 1 or not config.policies.disambiguation.enabled:
        return
    for path, intent in may_be_asked:
        if intent.label is None and submission.intact(path):
            detail = (
                "Users who are asked which intent they meant read this description, whatever their language: "
                "give it a `label` in each."
            )
            yield Finding(path, "missing_label", detail)


def _covered(text: Text, language: str, languages: list[str]) -> bool:
    if isinstance(text.value, dict):
        tags = {tag.lower() for tag, value in text.value.items() if value}
        return any(candidate in tags for candidate in language_chain(language)) or not _has_words(text)
    return len(languages) == 1 or language == languages[0] or not _has_words(text)


def _has_words(text: Text) -> bool:
    return any(has_words(string) for _, string in text.strings())
