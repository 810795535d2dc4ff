"""`python -m cli`: hoopctl without its entry point."""

import sys

from cli.main import main

sys.exit(main())
