"""Adding sidecars to pods: what is added (template), what a pod may choose (wishes), the pod (mutation)."""
