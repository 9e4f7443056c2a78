"""`python -m agentd`: the same as the `agentd` command."""

import sys

from agentd.cli import main

if __name__ == "__main__":  # worker processes import this module under another name
    sys.exit(main())
