"""What of a text must not be kept, where texts are kept at all: secrets, e-mail addresses, card numbers.

It is a net, not a promise: a name, an address, or a secret of no known form stays. Each find is replaced by its kind in
brackets, so that a reader sees that something stood there.
"""

import re

_MARK = "[{}]"
_SECRETS = re.compile(
    r"""
      -----BEGIN[ ][A-Z ]{0,30}PRIVATE[ ]KEY-----[\s\S]*?(?:-----END[ ][A-Z ]{0,30}PRIVATE[ ]KEY-----|\Z)
    | \beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{0,}                       # JSON Web Token
    | \b(?:sk|pk|rk|sbx|xox[abeprs]|gh[oprsu]|glpat|hf|npm|pypi)[_-][\w-]{12,}   # keys that say whose they are
    | \bgithub_pat_\w{20,}
    | \b(?:AKIA|ASIA)[A-Z0-9]{16}\b                              # AWS
    | \bAIza[\w-]{30,}                                           # Google
    """,
    re.VERBOSE,
)
_NAME = r"""\b(?:authorization|bearer|token|secret|password|passwd|passphrase|pwd|api[ _-]?key|access[ _-]?key
|client[ _-]?secret|private[ _-]?key)\b"""
_ASSIGNED = re.compile(
    rf"""(?ix) ({_NAME} ["']?\s{{0,3}}[:=]\s{{0,3}}["']? (?:(?:bearer|basic)\s{{1,3}})?) ([^\s"',;]{{4,}})"""
)
_TOLD = re.compile(
    # A word alone (a password reset) is no value; with a digit or a sign in it, it is.
    rf"""(?ix) ({_NAME} \s{{1,3}} (?:is\s{{1,3}})? ["']?) ((?=[^\s"',;]{{0,200}}[\d!@\#$%^&*+/=_]) [^\s"',;]{{6,}})"""
)
_EMAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b")
_DIGITS = re.compile(r"(?<![\w.-])\d(?:[ -]?\d){12,18}(?![\w-])")


def redacted(text: str) -> str:
    """The text with ``[secret]``, ``[email]`` and ``[card]`` in the place of what was found."""
    text = _SECRETS.sub(_MARK.format("secret"), text)
    for pattern in (_ASSIGNED, _TOLD):
        text = pattern.sub(rf"\1{_MARK.format('secret')}", text)
    text = _EMAIL.sub(_MARK.format("email"), text)
    return _DIGITS.sub(_if_card, text)


def _if_card(found: "re.Match[str]") -> str:
    digits = [int(character) for character in found[0] if character.isdigit()]
    return _MARK.format("card") if _luhn(digits) else found[0]


def _luhn(digits: list[int]) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1, annex B); order numbers seldom do."""
    doubled = [digit * 2 - 9 if digit > 4 else digit * 2 for digit in digits[-2::-2]]
    return sum(digits[-1::-2] + doubled) % 10 == 0
