"""When a schedule runs next: five cron fields on the clocks of a time zone.

Days when the clocks change are handled as Debian's cron does (``cronsim``): a run in the hour that is left out comes
when the clocks have moved on, one in the hour that comes twice runs once; what runs every hour runs every hour that
passes.
"""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from signalbox.workflow.errors import BadCron, UnknownTimezone

_FIELDS = 5


def next_run(cron: str, timezone: str, after_ms: int) -> int:
    """The first run after a moment; both in milliseconds since the epoch.

    Raises:
        UnknownTimezone: no IANA time zone of that name.
        BadCron: the expression is none, or never comes true.
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UnknownTimezone(timezone) from error
    if len(cron.split()) != _FIELDS:
        raise BadCron(cron, "it has not five fields")
    after = datetime.fromtimestamp(after_ms / 1000, UTC).astimezone(zone)
    try:
        found = next(CronSim(cron, after))
    except CronSimError as error:
        raise BadCron(cron, str(error)) from error
    except StopIteration:
        raise BadCron(cron, "it never comes true") from None
    return int(found.timestamp() * 1000)
