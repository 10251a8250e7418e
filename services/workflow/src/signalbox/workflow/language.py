"""Which language a turn is answered in: the request's, the session's, the message's own, the workflow's."""

import re
from collections.abc import Sequence

from signalbox.common.rules import is_traditional

_UNSPACED = frozenset({"zh", "ja", "ko"})
_LATIN_WORD = re.compile(r"(?<!\w)[a-z]{2,}(?!\w)")
_LATIN_SENTENCE = 3
"""Lower-case words that make a Latin sentence; names, codes and addresses have fewer."""

_SCRIPTS: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(f"[{characters}]"), languages)
    for characters, languages in (
        ("\u3040-\u30ff", ("ja",)),
        ("\u1100-\u11ff\uac00-\ud7a3", ("ko",)),
        ("\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff", ("zh",)),
        ("\u0400-\u052f", ("ru", "uk", "bg", "sr", "mk", "be", "kk", "ky", "mn")),
        ("\u0600-\u06ff\u0750-\u077f", ("ar", "fa", "ur", "ps")),
        ("\u0370-\u03ff\u1f00-\u1fff", ("el",)),
        ("\u0590-\u05ff", ("he", "yi")),
        ("\u0e00-\u0e7f", ("th",)),
        ("\u0900-\u097f", ("hi", "mr", "ne")),
    )
)
"""Scripts with the languages that are written in them; the first that a message has a character of counts."""

_FUNCTION_WORDS: dict[str, str] = {
    "en": "the and is are was were be been have has do does did not you your my it its this that what where when how "
    "which who why with for from of to in on at can could would will should i we they there if or but please",
    "de": "der die das den dem des ein eine einen einem und ist sind war nicht ich sie wir ihr mein meine meinen wie "
    "wo wann was wer warum mit für von zu im am auf bei kann können haben hat habe wird auch noch bitte es oder aber",
    "fr": "le la les un une des du et est sont était ne pas je tu vous nous il elle mon ma mes votre vos où quand quoi "
    "qui que comment pourquoi avec pour dans sur de à au aux ce cette avoir ai avez peut puis s'il plaît ou mais",
    "es": "el la los las un una unos y es son era no yo tú usted ustedes nosotros mi mis su sus dónde donde cuándo qué "
    "quién cómo por para con de del en al a este esta puedo puede tengo tiene hay está están favor o pero se lo me",
    "it": "il lo la gli le un una e è sono era non io tu lei noi voi mio mia miei il suo dove quando cosa chi come "
    "perché con per di del della nel nella al alla questo questa posso può ho ha avete c'è favore o ma si mi che",
    "pt": "o a os as um uma e é são era não eu tu você vocês nós meu minha meus seu sua onde quando que quem como por "
    "para com de do da dos das em no na ao à este esta posso pode tenho tem está estão favor ou mas se me",
    "nl": "de het een en is zijn was niet ik je jij u wij we mijn uw waar wanneer wat wie hoe waarom met voor van naar "
    "in op aan bij kan kunnen heb heeft hebben wordt ook nog alstublieft er deze dit of maar dat",
}
_WORDS_OF: dict[str, frozenset[str]] = {
    tag: frozenset(words.split()) for tag, words in _FUNCTION_WORDS.items()
}
_ANY_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
_WORDS_READ = 40
_TELLING = 2
"""A language needs so many function words, and so many more than any other, that a message counts as being in it."""


def choose_language(
    languages: Sequence[str], requested: str | None, session: str | None, message: str
) -> str:
    """One of ``languages``. A message that is clearly written in another language than the session's changes it.

    Where neither the message nor the session tells, it is the first.
    """
    if len(languages) == 1:
        return languages[0]
    if requested is not None:
        spoken = _spoken(requested, languages)
        if spoken is not None:
            return spoken
    current = _spoken(session, languages) or languages[0]
    detected = _by_script(message, languages, current)
    if detected is not None:
        return detected
    latin = [tag for tag in languages if _primary(tag) in _WORDS_OF]
    if len(latin) > 1:
        worded = _by_words(message, latin)
        if worded is not None:
            return current if _primary(worded) == _primary(current) else worded
    if _primary(current) in _UNSPACED and len(_LATIN_WORD.findall(message)) >= _LATIN_SENTENCE:
        return next((tag for tag in languages if _primary(tag) not in _UNSPACED), current)
    return current


def detected_language(message: str) -> str | None:
    """The usual language of the script that a message is in; None where that does not tell (Latin, digits, symbols).

    Kana makes Japanese, Hangul Korean; Han alone counts as Chinese.
    """
    found = _written_in(message)
    return found[0] if found else None


def _written_in(message: str) -> tuple[str, ...]:
    """The languages of the first script that a message has; none for Latin and symbols."""
    if message.isascii():
        return ()
    return next((languages for script, languages in _SCRIPTS if script.search(message)), ())


def _by_script(message: str, languages: Sequence[str], current: str) -> str | None:
    """The spoken language that the script tells; of two kinds of Chinese, the one whose characters there are."""
    for wanted in _written_in(message):
        spoken = [tag for tag in languages if _primary(tag) == wanted]
        if wanted == "zh" and len(spoken) > 1:
            traditional = is_traditional(message)
            if traditional is None:
                # Nothing tells them apart.
                return current if current in spoken else spoken[0]
            return next((tag for tag in spoken if _is_traditional_tag(tag) == traditional), spoken[0])
        if spoken:
            return spoken[0]
    return None


def _by_words(message: str, languages: Sequence[str]) -> str | None:
    """The language whose function words a message has, clearly more than those of any other that is spoken."""
    words = set(_ANY_WORD.findall(message[: _WORDS_READ * 20].lower().replace("’", "'"))[:_WORDS_READ])
    counts = sorted(((len(words & _WORDS_OF[_primary(tag)]), tag) for tag in languages), reverse=True)
    (most, best), (second, other) = counts[:2]
    if _primary(best) == _primary(other) or most < _TELLING or most - second < _TELLING:
        return None
    return best


def _is_traditional_tag(tag: str) -> bool:
    parts = tag.lower().split("-")
    return "hant" in parts or ("hans" not in parts and bool({"tw", "hk", "mo"} & set(parts)))


def _spoken(wanted: str | None, languages: Sequence[str]) -> str | None:
    """The spoken language that serves ``wanted``: the same tag, else the same script, else any of its kind."""
    if wanted is None:
        return None
    lowered = wanted.lower()
    exact = next((tag for tag in languages if tag.lower() == lowered), None)
    if exact is not None:
        return exact
    same = [tag for tag in languages if _primary(tag) == _primary(wanted)]
    script = _is_traditional_tag(wanted)
    return next((tag for tag in same if _is_traditional_tag(tag) == script), same[0] if same else None)


def _primary(tag: str) -> str:
    return tag.lower().split("-")[0]
