"""Skills: agents that work with tools in steps, and functions that are called once."""
