"""What the translators of other protocols share: places in a document, and chat requests of the gateway's own."""
