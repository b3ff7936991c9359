"""A worker that generates sales once a second."""

import sys

from patching import replace

from yasdg_app.__main__ import main
from yasdg_app.pipeline import sales_generator

replace(sales_generator, "MIN_ROUND_SECONDS", 1.0)

sys.exit(main())
