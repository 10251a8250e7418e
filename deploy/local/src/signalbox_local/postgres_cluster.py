"""The files of one PostgreSQL server: where they lie, who owns them, how they are made."""

import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from signalbox_local.accounts import Account, own, reachable_directory
from signalbox_local.errors import LocalError

USER = "signalbox"


class PostgresCluster:
    """A data directory, a socket directory and a superuser password, all owned by the account that runs them.

    ``directory`` keeps the cluster between runs, moved under ``/var/tmp`` where ``account`` cannot reach it;
    ``None`` puts it into a temporary directory. The socket directory is always a temporary one, because the
    path of a unix socket may have no more than about a hundred bytes.
    """

    def __init__(self, directory: Path | None, account: Account | None) -> None:
        """Create the directories; the data directory stays empty until `initialise`."""
        self._account = account
        self.sockets = Path(tempfile.mkdtemp(prefix="sb-pg-"))
        own(self.sockets, account)
        base = reachable_directory(directory.absolute(), account) if directory else self.sockets / "cluster"
        own(base, account)
        self.base = base
        self.data = base / "data"
        self.log = base / "postgres.log"
        self._password_file = base / "password"

    @property
    def password(self) -> str:
        """The superuser's password, made by the first `initialise`."""
        return self._password_file.read_text()

    def initialise(self, binaries: Path) -> None:
        """Run ``initdb`` of ``binaries`` when there is no cluster yet; raises `LocalError` when it fails."""
        if (self.data / "PG_VERSION").exists():
            return
        self._write_password()
        # Only the creation goes without fsync: a crash here loses nothing that anybody was promised.
        command = [str(binaries / "initdb"), f"-D{self.data}", f"-U{USER}", f"--pwfile={self._password_file}"]
        options = ["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-sync"]
        done = subprocess.run(  # noqa: S603 - an executable found by this package
            [*command, *options],
            cwd=self.base,
            capture_output=True,
            text=True,
            check=False,
            user=self._account.uid if self._account else None,
            group=self._account.gid if self._account else None,
            extra_groups=[] if self._account else None,
        )
        if done.returncode != 0:
            message = f"initdb could not create a PostgreSQL cluster in {self.data}: {done.stderr.strip()}"
            raise LocalError(message)

    def discard(self) -> None:
        """Remove the temporary directories; a directory given by the caller stays."""
        shutil.rmtree(self.sockets, ignore_errors=True)

    def _write_password(self) -> None:
        # The file must never be readable by others, not even while it is empty.
        handle = os.open(self._password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(16))
        if self._account is not None:
            os.chown(self._password_file, self._account.uid, self._account.gid)
