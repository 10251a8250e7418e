"""The Lua scripts beside this module; each makes one port operation one atomic round trip."""

from hashlib import sha1
from importlib.resources import files

from signalbox.common.record import record


@record
class Script:
    """A script and the SHA-1 by which EVALSHA names it."""

    source: str
    sha: str


def load_script(*names: str, package: str = __package__) -> Script:
    """Read ``lua/<name>.lua`` of a package; several are joined, helpers first."""
    folder = files(package).joinpath("lua")
    source = "\n".join(folder.joinpath(f"{name}.lua").read_text(encoding="utf-8") for name in names)
    return Script(source, sha1(source.encode(), usedforsecurity=False).hexdigest())
