"""Generated patterns, and texts that match them or nearly do."""

import random
from collections.abc import Callable

from signalbox.common.rules import BadPattern, Pattern, Rule, keyword_rule, normalise

_LITERALS = (
    *("a", "b", "k", "s", "K", "ab", "ba", "order", "1", "2", "-", "_", "é", "É", "ß", "и", "И", "ς", "Σ"),
    *("退", "款", "订单", "訂單", "の", "한", "👍", "👩\u200d👩"),
)
# Each with texts that it matches; the fuzzing of texts makes others.
_ATOMS = {
    " ": " ",
    r"\.": ".",
    ".": "a é 退 👍",
    "[ab]": "a B",
    "[^ab]": "c é 退",
    "[a-c0-2]": "C 1",
    "[^a-z]": "1 款 é",
    r"\d": "1 2",
    r"\w": "a K 1 _",
    r"\W": "- 退 é",
    r"\s": " ",
    r"\S": "a 款 -",
    r"\D": "a 退",
    "[一-龥]": "退 订",
    "[^一-龥]": "a の 👍",
    "[é-ü]": "é É ü",
    r"\pL": "a é 退 и",
    r"\p{Han}": "退",
    r"\PN": "a 退 👍",
    "[[:alpha:]]": "a S",
    r"[\d_]": "2 _",
    "[退款]": "款",
    "[單后]": "单 後",
    "[^單]": "单 单a",
    r"\x{9000}": "退",
    r"\x41": "a A",
    "[k-s]": "K s",
    "[^k]": "a 退",
    "[👍-👩]": "👍 👩",
}
_ASSERTIONS = ("^", "$", r"\b", r"\b", r"\B", r"\A", r"\z", "(?m)", "(?s)", "(?i)", "(?-i)")
_QUANTIFIERS = {
    "*": (0, 2),
    "+": (1, 3),
    "?": (0, 1),
    "{2}": (2, 2),
    "{0,2}": (0, 2),
    "{1,3}": (1, 3),
    "{2,}": (2, 4),
    "*?": (0, 2),
    "+?": (1, 2),
    "??": (0, 1),
    "{1,2}?": (1, 2),
    "{0,12}": (0, 6),
    "{40}": (40, 40),
}
_STRAY = ["", " ", "a", "B", "k", "S", "1", "_", "-", "é", "ẞ", "и", "ς", "退", "单", "の", "👍", "x", "龥"]


class PatternCases:
    """A stream of cases from a seed."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self._samples: list[Callable[[], str]] = []

    def rules(self, count: int) -> list[Rule]:
        """Rules, a quarter of them keywords; texts made after them resemble these rules' matches."""
        rules: list[Rule] = []
        while len(rules) < count:
            if self._rng.random() < 0.25:
                keyword = "".join(self._rng.choices([*_LITERALS, " ", ".", "+"], k=self._rng.randint(1, 3)))
                if normalise(keyword):
                    rules.append(keyword_rule(len(rules), keyword))
                    self._samples.append(lambda keyword=keyword: keyword)
                continue
            pattern, sample = self._alternation(0)
            try:
                Pattern(pattern)
            except BadPattern:
                continue
            rules.append(Rule(len(rules), pattern))
            self._samples.append(sample)
        return rules

    def text(self) -> str:
        """A normalised text: what some rules match, joined and damaged a little."""
        rng = self._rng
        pieces = [rng.choice(self._samples)() for _ in range(rng.choice((1, 1, 2)))]
        characters = list(rng.choice(_STRAY).join(pieces))
        for _ in range(rng.choice((0, 0, 1, 1, 2, 4))):
            at = rng.randint(0, len(characters))
            match rng.randrange(4):
                case 0:
                    characters[at:at] = [rng.choice(_STRAY)]
                case 1:
                    del characters[at : at + 1]
                case 2:
                    characters[at : at + 1] = [character.swapcase() for character in characters[at : at + 1]]
                case _:
                    characters[at : at + 1] = [rng.choice(_STRAY)]
        return normalise("".join(characters))

    def _alternation(self, depth: int) -> tuple[str, Callable[[], str]]:
        branches = [self._sequence(depth) for _ in range(self._rng.choices([1, 2, 3], [7, 3, 1])[0])]

        def sample() -> str:
            return self._rng.choice(branches)[1]()

        return "|".join(source for source, _ in branches), sample

    def _sequence(self, depth: int) -> tuple[str, Callable[[], str]]:
        length = self._rng.choices([0, 1, 2, 3, 4, 5], [1, 4, 6, 6, 4, 2])[0]
        items = [self._item(depth) for _ in range(length)]
        return "".join(source for source, _ in items), lambda: "".join(sample() for _, sample in items)

    def _item(self, depth: int) -> tuple[str, Callable[[], str]]:
        rng = self._rng
        kind = rng.random()
        if kind < 0.12:
            return rng.choice(_ASSERTIONS), str
        if kind < 0.27 and depth < 3:
            inner, sample = self._alternation(depth + 1)
            source = f"{rng.choice(('(', '(?:', '(?i:'))}{inner})"
        elif kind < 0.65:
            source = rng.choice(_LITERALS)
            sample = lambda: source if rng.random() < 0.8 else source.swapcase()  # noqa: E731
        else:
            source = rng.choice(list(_ATOMS))
            examples = _ATOMS[source].split(" ") if _ATOMS[source] != " " else [" "]
            sample = lambda: rng.choice(examples)  # noqa: E731
        if rng.random() > 0.25:
            return source, sample
        quantifier = rng.choice(list(_QUANTIFIERS))
        low, high = _QUANTIFIERS[quantifier]
        # It applies to the last character of a literal; what that makes of the text is as good as any.
        return source + quantifier, lambda: "".join(sample() for _ in range(rng.randint(low, high)))
