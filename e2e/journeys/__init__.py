"""What users do with Pannier in a cluster, one file a journey; every step is a command that a user types."""
