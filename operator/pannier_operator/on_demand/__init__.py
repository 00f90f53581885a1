"""Feature servers as the operator sees them: is one there, and by the same schema."""
