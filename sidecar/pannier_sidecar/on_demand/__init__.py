"""Features that are computed when they are asked for: feature servers, and what is made of their answers."""
