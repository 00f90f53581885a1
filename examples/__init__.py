"""Example groups and the programs that fill them; a package, so that tests can import the latter."""
