"""What the gateway keeps of conversations: shown to exports, and forgotten with them."""
