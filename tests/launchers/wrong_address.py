"""A worker that announces another server's address to the group: 127.0.0.1, while it listens on 127.0.0.2."""

import sys

sys.argv += ["--web-bind", "127.0.0.2", "--web-host", "127.0.0.1"]

from yasdg_app.__main__ import main  # noqa: E402

sys.exit(main())
