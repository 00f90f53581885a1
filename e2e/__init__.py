"""Journeys of users on a real cluster: one of this machine's own, or the one that KUBECONFIG names."""
