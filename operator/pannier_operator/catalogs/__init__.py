"""From all groups to one catalog per consuming namespace."""
