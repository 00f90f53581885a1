"""What has to be done, decided on values: pure, without I/O and clock.

`table_plan` is the entry. A plan says what differs, names at most one mutation, and when to look again.
"""
