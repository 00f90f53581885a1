"""Two computed groups beside the flights: `server` computes them, the manifests declare them."""
