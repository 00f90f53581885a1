"""Real flights out of New York in 2013 as feature groups: `dataset` reads, `load` writes, `demo` shows."""
