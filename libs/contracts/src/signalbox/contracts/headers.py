"""Names of the HTTP headers that Signalbox defines or relies on."""

TIMEOUT_MS = "signalbox-timeout-ms"
"""Remaining milliseconds that the caller gives; less what was spent at each hop."""

REQUEST_ID = "x-request-id"
IDEMPOTENCY_KEY = "idempotency-key"
TRACEPARENT = "traceparent"
"""W3C Trace Context."""

LEDGER_CALL_ID = "signalbox-llm-call-id"
"""On an answer of the gateway: the id of the call's ledger row."""

LEDGER_COST = "signalbox-llm-cost"
"""On an answer of the gateway: cost as a decimal, with its currency, such as ``0.00012 USD``; absent if unpriced."""

LLM_EMULATED = "signalbox-llm-emulated"
"""On an answer of the gateway: what the model lacks and the gateway did for it (``tools``, ``json_mode``)."""

LLM_ESTIMATED = "signalbox-llm-estimated"
"""On an answer of the gateway that counts tokens: ``true`` says that it is an estimate."""

LLM_CACHE = "signalbox-llm-cache"
"""On an answer of a model whose answers are kept: ``hit``, ``semantic``, ``coalesced`` or ``miss``."""

LLM_REPLAYED = "signalbox-llm-replayed"
"""On an answer of the gateway: ``true`` says that it is the one that an earlier call with this Idempotency-Key got."""

LLM_COALESCE = "signalbox-llm-coalesce"
"""On a model call: ``allow`` lets it be answered by an identical one that is under way. Any client may send it."""

LLM_CACHE_MARKS = "signalbox-llm-cache-marks"
"""On a chat request: indexes of messages, such as ``0,7``, with which beginnings of the prompt end that later calls
share. The gateway marks them for the caches of providers that want marks, and does nothing for others."""

PURPOSE = "signalbox-purpose"
SESSION_ID = "signalbox-session-id"
WORKFLOW_ID = "signalbox-workflow-id"
SKILL_ID = "signalbox-skill-id"
USER_ID = "signalbox-user-id"
"""Labels of a model call for the ledger, set by the services."""

LIMIT = "signalbox-limit"
"""On a 429 answer of the gateway: the name of the limit or budget that has no room."""
