"""A document as YAML that people can edit, and that reads back as the same document."""

import re
from typing import Any

import yaml

from signalbox.common.documents import Document

_WIDTH = 110
_PLAIN = re.compile(r"[^\W\d][\w .,()/%-]*\Z")
_WORDS = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n", "none"})


class _Dumper(yaml.SafeDumper):
    """Quotes whatever is not plainly a text: YAML 1.1 and 1.2 do not agree about the rest."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Write every value out."""
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    if "\n" in text and not re.search(r"[ \t]\n|^\s|[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]", text):
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|")
    if _PLAIN.match(text) and text.lower() not in _WORDS:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text)
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="'" if text.isprintable() else '"')


_Dumper.add_representer(str, _text)


def as_yaml(document: Document) -> str:
    """The document as YAML, in its own order."""
    return yaml.dump(document, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=_WIDTH)
