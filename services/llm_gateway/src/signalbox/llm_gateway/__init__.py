"""The LLM Gateway: the one way to a model, with a ledger of what each call used and cost."""
