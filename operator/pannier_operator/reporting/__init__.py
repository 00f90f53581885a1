"""What is said of a group: conditions, status document, events. Pure."""
