"""Short answers: yes, no, and the wish to stop."""

import re

from signalbox.common.rules import normalise, simplify

_PUNCTUATION = re.compile(r"[\s.,!?;:~'\"。！？，、；：…]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_YES = _words(
    """yes y yeah yep yup ok okay sure correct right confirm confirmed true affirmative absolutely definitely
    please do go ahead agreed of course"""
)
_NO = _words("no n nope nah not false never don't dont negative wrong incorrect")
_FILLER = _words(
    "please thanks thank you it is that's thats that i want to the this so much very fine all with "
    "actually well oh hmm um"
)
_FIRST_WORDS = _words("yes yeah yep ok okay sure no nope")
_YES_PHRASES = frozenset({"no problem", "why not", "go ahead", "do it", "sounds good"})
_NO_PHRASES = frozenset({"not now", "rather not", "please don't", "don't do it"})
_YES_ZH = _words(
    """是 是的 对 对的 好 好的 好吧 行 可以 可以的 确认 确定 同意 嗯 嗯嗯 没问题 要 要的 没错 当然 对啊 行吧 是啊"""
)
_NO_ZH = _words(
    """不 不是 否 不要 不用 不用了 不行 不可以 不好 不对 没有 不同意 不确认 不需要 别 不了 先不要 不想"""
)
_POLITE_ZH = re.compile(r"^(?:请|那就|那|嗯)|(?:谢谢|多谢|吧|了|哦|啊|呢)$")
_FIRST_ZH = (("是的", True), ("好的", True), ("确认", True), ("可以", True), ("不要", False), ("不用", False))

_STOP = frozenset(
    {
        "cancel", "cancel it", "cancel that", "cancel this", "stop", "stop it", "stop this", "quit", "exit",
        "abort", "never mind", "nevermind", "forget it", "forget about it", "i changed my mind", "leave it",
        "取消", "算了", "不用了", "停止", "停", "放弃", "退出", "不办了", "不弄了", "我不想办了", "不要了",
    }
)  # fmt: skip
_POLITE = re.compile(r"\b(?:please|thanks|thank you|ok|okay)\b")


def plain(text: str) -> str:
    """Lower case, one form of width and whitespace, no punctuation around and between words."""
    return _PUNCTUATION.sub(" ", simplify(normalise(text)).casefold()).strip()


def read_yes_no(text: str) -> bool | None:
    """Whether an answer says yes or no; None when it says neither, or both."""
    words = re.sub(r"[.,!?;:~\"。！？，、；：…]+", " ", simplify(normalise(text)).casefold()).replace(
        "’", "'"
    )
    words = " ".join(words.split())
    if words in _YES_PHRASES:
        return True
    if words in _NO_PHRASES:
        return False
    tokens = words.split()
    if tokens and all(token.isascii() for token in tokens):
        return _by_tokens(tokens)
    return _chinese(words.replace(" ", ""))


def wants_to_stop(text: str, asked: str = "") -> bool:
    """Whether the whole message says to give up.

    A word of the question ``asked`` does not count: "cancel" may answer "Shall I cancel the order?".
    """
    said = plain(_POLITE.sub(" ", plain(text)))
    candidates = {said, _POLITE_ZH.sub("", said)} & _STOP
    question = plain(asked)
    return any(candidate.split()[0] not in question for candidate in candidates)


def _by_tokens(tokens: list[str]) -> bool | None:
    said_yes = any(token in _YES for token in tokens)
    said_no = any(token in _NO for token in tokens)
    understood = all(token in _YES or token in _NO or token in _FILLER for token in tokens)
    if said_yes == said_no or "but" in tokens:
        return None
    # "yes" with more behind it is a yes; a sentence that merely holds such a word further on is not.
    if understood or tokens[0] in _FIRST_WORDS:
        return said_yes
    return None


def _chinese(said: str) -> bool | None:
    for candidate in (said, _POLITE_ZH.sub("", said), _POLITE_ZH.sub("", _POLITE_ZH.sub("", said))):
        if candidate in _NO_ZH:
            return False
        if candidate in _YES_ZH:
            return True
    for word, answer in _FIRST_ZH:
        if said.startswith(word):
            return answer
    return None


_QUESTION = re.compile(
    r"\?\s*$|^(?:(?:and|so|but|ok|okay|sorry|hey|hi|hello|wait|well)\b[\s,]*)*(?:how|what|when|where|which|who|why|whose|can|could|"
    r"do|does|did|is|are|was|were|will|would|may|should|have|has|am)\b"
    r"|(?:吗|呢|么)\s*$|怎么|怎样|如何|什么|为什么|哪里|哪儿|哪个|哪些|哪种|多少|多久|几点|是否|能不能|可不可以|有没有"
)
_ASIDE = re.compile(
    r"\bby\s+the\s+way\b|\bbtw\b|\b(?:quick|another|one\s+more|different|unrelated)\s+question\b|"
    r"\bbefore\s+(?:that|we|i)\b|顺便|对了[，,]|另外|问一下|还有个问题|先问|换个话题"
)


def asks_something(text: str) -> bool:
    """Whether a message is itself a question, or says that it is about something else ("by the way")."""
    said = simplify(normalise(text)).casefold()
    return _QUESTION.search(said) is not None or _ASIDE.search(said) is not None
