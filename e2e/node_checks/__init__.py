"""What is asked of a node itself; `python -m e2e` runs it before the journeys."""
