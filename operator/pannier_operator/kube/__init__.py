"""The Kubernetes API through the official `kubernetes` client, its asyncio flavour, and nothing of kopf."""
