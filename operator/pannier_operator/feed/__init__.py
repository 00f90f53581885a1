"""What goes from the operator straight to sidecars, and what they say of themselves."""
