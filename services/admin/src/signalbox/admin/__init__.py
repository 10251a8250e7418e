"""The config centre: validates, stores, builds and releases workflows, and owns the API keys."""
