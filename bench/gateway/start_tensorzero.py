"""Starts the HTTP gateway that TensorZero's wheel holds and says where; run by the bench in TensorZero's environment.

python start_tensorzero.py CONFIG.toml
"""

import signal
import sys

from tensorzero.tensorzero import _start_http_gateway

gateway = _start_http_gateway(
    config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=False
)
print(f"listening on {gateway.base_url}", flush=True)
signal.sigwait({signal.SIGTERM, signal.SIGINT})
gateway.close()
