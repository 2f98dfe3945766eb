"""Points a program at the local server, as if Google were there; what it starts inherits nothing.

Python imports this before a program, so that the program itself can be run as it is printed.
"""

import json
import os

_given = os.environ.pop("GENAI_CONFIG_ENGINES_SERVER", None)
if _given is not None:
    from genai_config import safe_configure

    _endpoint, _ca_certs = json.loads(_given)
    safe_configure(client_options={"api_endpoint": _endpoint}, ca_certs=_ca_certs)
