"""`python -m signalbox_local`."""

from signalbox_local.cli import main

main()
