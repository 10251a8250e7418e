"""``python -m signalbox.common.cli``."""

from signalbox.common.cli.root import main

main()
