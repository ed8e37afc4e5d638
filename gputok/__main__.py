"""`python -m gputok` is `gputok`."""

from gputok.cli import main

main()
