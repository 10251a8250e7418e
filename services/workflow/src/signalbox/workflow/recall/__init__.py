"""What models are shown of the conversation so far: the last turns whole, and a summary of those before them."""
