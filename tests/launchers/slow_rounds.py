"""A worker whose tills ring up once a second."""

import sys

from yasdg_app.pipeline import sales_generator

sales_generator.MIN_ROUND_SECONDS = 1.0

from yasdg_app.__main__ import main  # noqa: E402

sys.exit(main())
