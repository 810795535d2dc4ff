"""`python -P -m agent --config FILE`: the agent in the foreground, as a service manager starts it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from agent.store.configuration import ConfigurationError, load
from schemas.configuration import Configuration


def start(configuration: Configuration) -> None:
    """Runs the agent until it is told to end; says what of the configuration isn't acted upon, and, on standard output,
    `ready` and the listeners."""
    from agent.net.service import run

    for key in configuration.later:
        print(
            f"hoopctl: warning: {configuration.source}: {key} is not in this version and has no effect", file=sys.stderr
        )
    run(configuration, lambda line: print(line, flush=True))


def main() -> int:
    """The exit status: 2 for a configuration that can't be used, 1 when the agent couldn't start or failed."""
    parser = argparse.ArgumentParser(prog="python -P -m agent", description="Run the hoopctl agent.")
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="the hoop.yaml to go by")
    try:
        start(load(parser.parse_args().config))
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        # What is meant for the user carries a hint; anything else is a defect, and its traceback is for the log.
        if not hasattr(error, "hint"):
            raise
        print(f"hoopctl: error: {getattr(error, 'message', error)}", file=sys.stderr)
        if error.hint:
            print(f"hoopctl: hint: {error.hint}", file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
