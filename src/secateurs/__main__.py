"""``python -m secateurs`` is the command line."""

from secateurs.cli import main

main()
