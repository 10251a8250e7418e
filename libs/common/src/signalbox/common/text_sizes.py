"""How many tokens a text has, near enough to keep a prompt within a budget.

Tokenizers differ by model and are not here. Measured on common ones, a token is about four characters of Latin script,
and about one of Chinese, Japanese or Korean; what is estimated here is rather more than less.
"""

_LATIN_CHARS = 4
_WIDE_FROM = "⺀"
"""Scripts from here on take a token a character."""
_CUT = " [...] "


def tokens_of(text: str) -> int:
    """About how many tokens a text has."""
    if text.isascii():
        return (len(text) + _LATIN_CHARS - 1) // _LATIN_CHARS
    wide = sum(char >= _WIDE_FROM for char in text)
    return wide + (len(text) - wide + 1) // 2


def clipped(text: str, tokens: int) -> str:
    """The text within so many tokens: its beginning and its end, where it has more."""
    if tokens_of(text) <= tokens:
        return text
    kept = len(text) * max(tokens, 1) // tokens_of(text) - len(_CUT)
    if kept < 2:
        return text[:1]
    return text[: kept - kept // 3] + _CUT + text[len(text) - kept // 3 :]
