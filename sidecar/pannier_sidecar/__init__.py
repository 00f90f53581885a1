"""Reads: HTTP -> L1 -> L2 -> L3 -> on-demand. Writes: HTTP -> L3 -> L2 -> L1.

The paths are usable without the HTTP server.
"""
