"""URL templates: what a placeholder gives stays one segment of the path, or one value of the query.

Before the path, where a value would choose the host, only ``vars`` (constants of the workflow, or of its
operator) may stand; their text is taken as it is. Everywhere else a value is percent-encoded whole.
"""

import re
from urllib.parse import quote, urlsplit

from jinja2 import nodes, pass_context
from jinja2.runtime import Context

from signalbox.common.templates import guard
from signalbox.common.templates.filters import budget_of, display

# Characters that mark where a placeholder's text begins and ends while a URL is put together.
_RAW, _ENCODED, _END = "\x00", "\x01", "\x02"
_PIECE = re.compile(rf"({_RAW}|{_ENCODED})([^{_END}]*){_END}|([^{_RAW}{_ENCODED}]+)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_AUTHORITY_ADVICE = "a placeholder before the path may use `vars` only, because it chooses the host"


@pass_context
def _url_part(context: Context, value: object, trusted: bool) -> str:
    text = display(value, budget_of(context))
    if _CONTROL.search(text):
        raise ValueError("a value for the URL holds a control character")
    return f"{_RAW if trusted else _ENCODED}{text}{_END}"


URL_FILTERS = {guard.URL_PART: _url_part}


def mark_placeholders(tree: nodes.Template) -> None:
    """Wrap every placeholder of an unchecked tree, so that ``assemble`` finds where its text stands."""
    assigned = {name.name for name in tree.find_all(nodes.Name) if name.ctx == "store"}
    for output in tree.find_all(nodes.Output):
        output.nodes = [
            node if isinstance(node, nodes.TemplateData) else _marked(node, assigned) for node in output.nodes
        ]


def check_static(tree: nodes.Template) -> None:
    """Refuse, before any value is known, a URL whose host would come from a message.

    Raises ValueError. A template with control statements is checked when it is rendered.
    """
    if any(not isinstance(node, nodes.Output) for node in tree.body):
        return
    assigned: set[str] = set()
    seen = ""
    for output in tree.find_all(nodes.Output):
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                seen += node.data
            elif _trusted(node, assigned):
                seen += "" if seen else "https://host"
            elif not _in_path(seen):
                raise ValueError(_AUTHORITY_ADVICE)
    if not seen.lower().startswith(("http://", "https://")):
        raise ValueError("a URL begins with http:// or https://")


def assemble(marked: str) -> str:
    """The URL of a rendered, marked template.

    Raises ValueError: no absolute http(s) URL, a value that is empty or moves up the path, a host that comes
    from anything but ``vars``.
    """
    url = ""
    for mark, value, literal in _PIECE.findall(marked):
        if literal or mark == _RAW:
            url += literal or value
        elif not _in_path(url):
            raise ValueError(_AUTHORITY_ADVICE)
        elif not value and "?" not in url:
            raise ValueError("a placeholder in the path is empty")
        else:
            url += quote(value, safe="")
    if _CONTROL.search(url) or " " in url:
        raise ValueError("the URL holds a space or control character")
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("a URL begins with http:// or https:// and a host")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL holds no user or password; use `auth` with a secret reference")
    if any(segment in {".", ".."} for segment in parts.path.split("/")):
        raise ValueError("a segment of the path is `.` or `..`")
    return url


def _in_path(url: str) -> bool:
    rest = url.partition("://")[2]
    return "/" in rest or "?" in rest


def _trusted(node: nodes.Node, assigned: set[str]) -> bool:
    names = {name.name for name in ([node] if isinstance(node, nodes.Name) else node.find_all(nodes.Name))}
    return names == {"vars"} and "vars" not in assigned


def _marked(node: nodes.Expr, assigned: set[str]) -> nodes.Filter:
    trusted = nodes.Const(_trusted(node, assigned), lineno=node.lineno)
    return nodes.Filter(node, guard.URL_PART, [trusted], [], None, None, lineno=node.lineno)
