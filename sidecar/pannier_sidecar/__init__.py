"""HTTP -> L1 -> L2 -> L3 -> on-demand for reads; HTTP -> L3 -> L2 -> L1 for writes. Usable without the HTTP server."""
