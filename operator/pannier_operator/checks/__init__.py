"""``pannier check``: what an installation looks like from outside, line by line, with what to do about it."""
