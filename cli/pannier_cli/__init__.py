"""The command line: people's and scripts' way to Pannier. The top layer, it may import every other."""
