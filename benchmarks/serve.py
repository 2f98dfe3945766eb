"""The local server in a process of its own: prints its addresses as JSON, stops when told to."""

from __future__ import annotations

import json
import sys

from genai_config.testing import GeminiServer


def main() -> None:
    """Serves until standard input closes."""
    with GeminiServer() as server:
        keys = [server.api_key() for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 2)]
        answer = {
            "grpc": server.grpc_endpoint,
            "ca": str(server.ca_file),
            "keys": keys,
            "adc": str(server.service_account_file()),
        }
        print(json.dumps(answer), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
