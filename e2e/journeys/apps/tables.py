"""Print the names of all tables, a line each."""

import http.client
import json

connection = http.client.HTTPConnection("dynamodb.backing.svc", 8000, timeout=10)
headers = {
    "Content-Type": "application/x-amz-json-1.0",
    "X-Amz-Target": "DynamoDB_20120810.ListTables",
    "Authorization": "AWS4-HMAC-SHA256 Credential=any/20130101/us-east-1/dynamodb/aws4_request, "
    "SignedHeaders=host, Signature=0",
    "X-Amz-Date": "20130101T000000Z",
}
connection.request("POST", "/", "{}", headers)
print(*json.loads(connection.getresponse().read())["TableNames"], sep="\n")
