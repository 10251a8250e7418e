"""Reading what a person wrote: values, yes or no, places in a list, in English and Chinese."""

from signalbox.common.reading.dates import read_date
from signalbox.common.reading.numbers import in_digits, read_numbers
from signalbox.common.reading.places import read_place
from signalbox.common.reading.words import asks_something, plain, read_yes_no, wants_to_stop

__all__ = [
    "asks_something",
    "in_digits",
    "plain",
    "read_date",
    "read_numbers",
    "read_place",
    "read_yes_no",
    "wants_to_stop",
]
