"""Making the first API key: by an operator with access to the database, beside or before a running Admin."""

from pydantic import TypeAdapter, ValidationError

from signalbox.admin.errors import KeyNotGrantable
from signalbox.admin.key_repository import SqlKeyStore
from signalbox.admin.keys import Keys
from signalbox.admin.settings import AdminSettings
from signalbox.common.auth import SYSTEM_TENANT
from signalbox.common.storage import open_database
from signalbox.contracts.admin import CreatedKey, CreateKeyRequest
from signalbox.contracts.base import Identifier
from signalbox.contracts.identity import Principal, Scope

_IDENTIFIER: TypeAdapter[str] = TypeAdapter(Identifier)


async def create_key_offline(settings: AdminSettings, tenant: str, request: CreateKeyRequest) -> CreatedKey:
    """Make a key in the database that the settings name. A running Admin on PostgreSQL takes note of it.

    Raises:
        KeyNotGrantable: the tenant's name cannot be one, or no key can be as asked for.
        DatabaseInUse: a running process holds the SQLite file.
        SchemaMissing: the tables are not there yet.
    """
    try:
        _IDENTIFIER.validate_python(tenant)
    except ValidationError:
        raise KeyNotGrantable(
            f"'{tenant}' cannot be a tenant: begin with a letter, go on with letters, digits, '_', '.' or '-'."
        ) from None
    if tenant == SYSTEM_TENANT:
        raise KeyNotGrantable(f"The tenant '{tenant}' is Signalbox's own; name another.")
    operator = Principal(tenant=tenant, subject="offline", scopes=frozenset(Scope) - {Scope.SERVICE})
    database = open_database(settings.database_url_of("admin"), pool_size=1)
    try:
        return await Keys(SqlKeyStore(database), None).create(operator, request)
    finally:
        await database.close()
