"""``python -m pannier_cli``: the same as the ``pannier`` script."""

from pannier_cli.main import main

main()
