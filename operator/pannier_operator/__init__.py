"""CR -> DynamoDB table, TTL policy and ConfigMap. Meets the sidecar only at the contract (`pannier`)."""
