"""`hoopctl agent`: the agent in the foreground."""

from __future__ import annotations

from cli.context import configuration


def command() -> None:
    """Run the agent in the foreground.

    Prints `ready` and the address of each listener on standard output once it accepts connections. SIGTERM lets
    sessions end and seals what is recorded; SIGHUP reads hoop.yaml anew.

    \b
    Example:
      hoopctl --config /etc/hoopctl/hoop.yaml agent
    """
    checked = configuration()
    # Imported after the configuration was read: a mistake in it is told without loading the agent first.
    from agent.__main__ import start

    start(checked)
