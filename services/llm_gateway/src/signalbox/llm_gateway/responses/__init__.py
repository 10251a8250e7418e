"""OpenAI's Responses API over any deployment: ``client.responses`` of the ``openai`` SDKs.

A request becomes a chat request, which goes the way of every other; its answer, whole or streamed, becomes a response.
Responses are kept for their caller, who can continue, read, cancel and delete them.

Source of the protocol: OpenAI API reference, "Responses" and "Streaming events"; OpenAI's guides "Conversation state"
and "Background mode".
"""
