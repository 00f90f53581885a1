"""What a cache tier holds for one id, as values: records, timelines, their order, their age, their bytes.

Pure: no I/O, no clock, no dice; ``now`` and random numbers are arguments. Tiers store these values, the read
path answers from them.
"""
