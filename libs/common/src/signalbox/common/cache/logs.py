"""What both implementations of `EventLogs` share."""


def check_first_id(first_id: int) -> None:
    """Raise `ValueError` for a number that no event has."""
    if first_id < 1:
        raise ValueError(f"events are numbered from 1, not from {first_id}")
