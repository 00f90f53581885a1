"""Read what standard input asks for, as curl would."""

import http.client
import sys

connection = http.client.HTTPConnection("127.0.0.1", 8470, timeout=10)
connection.request("POST", "/v1/features/read", sys.stdin.buffer.read(), {"Content-Type": "application/json"})
print(connection.getresponse().read().decode())
