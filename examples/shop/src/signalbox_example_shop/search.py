"""How text becomes search terms: the same for what is stored and what is asked, in English and Chinese."""

import re

_WORD = re.compile(r"[a-z0-9]+|[\u4e00-\u9fff]+")

# Words that say nothing about what is looked for; a query made of these alone finds nothing.
_COMMON = frozenset(
    {"a", "an", "and", "are", "can", "do", "does", "for", "how", "i", "in", "is", "it", "me", "my"}
    | {"of", "on", "or", "the", "to", "what", "with", "you", "your"}
)

# "gas" and "bus" are no plurals; nothing this short loses its last letter.
SHORTEST_PLURAL = 4


def search_terms(text: str) -> list[str]:
    """Return the terms of `text`: English words in the singular, Chinese as overlapping pairs of characters.

    Chinese is written without spaces; pairs find a word wherever it stands, without a dictionary.
    """
    terms: list[str] = []
    for word in _WORD.findall(text.lower()):
        if word[0] >= "\u4e00":
            terms.extend(word[i : i + 2] for i in range(max(1, len(word) - 1)))
        elif word not in _COMMON:
            terms.append(_singular(word))
    return terms


def index_text(*texts: str) -> str:
    """Return what is stored in a full-text column for `texts`: their terms with spaces between."""
    return " ".join(term for text in texts for term in search_terms(text))


def match_expression(query: str) -> str | None:
    """Return the FTS5 expression that finds any term of `query`, or None when it has none.

    Every term is quoted, so that nothing a customer writes is read as an operator.
    """
    terms = dict.fromkeys(search_terms(query))
    return " OR ".join(f'"{term}"' for term in terms) or None


def _singular(word: str) -> str:
    if len(word) >= SHORTEST_PLURAL and word.endswith("s") and not word.endswith("ss"):
        return word[:-1]
    return word
