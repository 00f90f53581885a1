"""CR -> DynamoDB table, TTL policy and catalog ConfigMap. Meets the sidecar only at the contract (`pannier`)."""
