"""A Kubernetes of one real node, in namespaces of its own, with no way out of the machine."""
