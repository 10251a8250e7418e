"""What every Signalbox service shares; import from its sub-packages."""
