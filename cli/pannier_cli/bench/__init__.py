"""What ``pannier bench`` runs: servers as child processes, load from outside, figures as pure functions.

- `compare` pits a bare aiohttp handler, this sidecar and Feast against each other under `wrk`.
- `mixed` sends reads and writes at a fixed rate, whatever the answers do, to the sidecar on real stores.
- `profile` shows where the time of an L1 hit goes.
"""
