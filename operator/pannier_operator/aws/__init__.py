"""DynamoDB's control plane and the claim items. `dynamodb_client` alone knows boto."""
