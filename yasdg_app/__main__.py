"""The command line: Faust's commands and ours on this project's app. `yasdg --help` lists them."""

import os
import signal
import sys

from yasdg_app import __version__
from yasdg_app.process.terminal import escape_what_the_output_cannot_take

# While all is imported, a KeyboardInterrupt may be lost in somebody's `except`. So Ctrl-C just ends the process, until
# there is a worker or a command that knows what to do.
signal.signal(signal.SIGINT, signal.SIG_DFL)

# Nobody has to be afraid of a signal that Faust answers with a debugger, nor of one that is early.
for each in (signal.SIGUSR1, signal.SIGUSR2):
    signal.signal(each, lambda *_: None)

# What Faust and mode read while they are imported belongs to others. What they read later: see create_app().
for name in [name for name in os.environ if name.startswith(("FAUST_", "F_")) or name in ("DEVLOG", "TYPEXPR_DEBUG")]:
    del os.environ[name]

# The first process of a container is spared by signals that it does not handle itself.
if os.getpid() == 1:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda number, _: os._exit(128 + number))


def main() -> None:
    """Run `faust -A yasdg_app` with the arguments of this process."""
    escape_what_the_output_cannot_take()
    if sys.argv[1:] == ["--version"]:  # Faust's would be its own
        print(f"yasdg {__version__}")
        return
    from faust.cli.faust import cli

    sys.argv[1:1] = ["-A", "yasdg_app"]  # where Faust looks for the app whose commands it adds to its own
    cli.main(prog_name="yasdg")


if __name__ == "__main__":
    main()
