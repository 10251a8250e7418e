"""`python -m signalbox_fake_provider`."""

from signalbox_fake_provider.cli import main

main()
