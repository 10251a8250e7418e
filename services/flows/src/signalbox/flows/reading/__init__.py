"""Reading values, yes or no, and the wish to stop out of what a person wrote, in English and Chinese."""

from signalbox.flows.reading.dates import read_date
from signalbox.flows.reading.numbers import read_numbers
from signalbox.flows.reading.words import plain, read_yes_no, wants_to_stop

__all__ = ["plain", "read_date", "read_numbers", "read_yes_no", "wants_to_stop"]
