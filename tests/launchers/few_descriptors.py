"""A worker that may have as many descriptors open as its first argument says, and not one more."""

import resource
import sys

limit = int(sys.argv.pop(1))
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

from yasdg_app.__main__ import main  # noqa: E402

sys.exit(main())
