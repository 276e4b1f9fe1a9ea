"""Exit 0 when the server of this container answers its health question: what a HEALTHCHECK runs.

Standard library only and nothing of setsail, because it is started every few seconds. The port is the one that the
server was told: SageMaker's variable, setsail's own, else 8080.
"""

import http.client
import os
import ssl
import sys

connection: http.client.HTTPConnection
port = int(os.environ.get("SETSAIL_PORT") or os.environ.get("SAGEMAKER_BIND_TO_PORT") or 8080)
if os.environ.get("SETSAIL_TLS_CERT"):  # ours, asked from inside: whose certificate it is need not be asked
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=4, context=ssl._create_unverified_context())
else:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=4)
try:
    connection.request("GET", "/ping")
    sys.exit(connection.getresponse().status != 200)
except (OSError, http.client.HTTPException) as fault:
    print(fault)
    sys.exit(1)
