"""The HTTP surface: JSON in, the paths' answers out. No rule of serving lives here."""
