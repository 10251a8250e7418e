"""Work that no client waits for: async queries and batches, schedules, webhooks, and the ticker that drives them."""
