"""The validating webhook: what one object's own rules cannot see, told at ``kubectl apply``.

It refuses only what the operator would refuse afterwards, with the same reason, and by the same functions; so
it may be down without harm. It keeps no state and needs no leader.
"""
