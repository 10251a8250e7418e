"""Anthropic's Messages API over any deployment: ``base_url=http://host/llm`` for the ``anthropic`` SDKs.

A request becomes a chat request, which goes the way of every other; its answer, whole or streamed, becomes a message.

Source of the protocol: Anthropic API reference, "Messages", "Streaming messages", "Errors".
"""
