"""A worker without fast paths: it handles sale by sale and message by message."""

import sys

import numpy as np
from patching import replace

from yasdg_app.__main__ import main
from yasdg_app.inventory import projection
from yasdg_app.pipeline import sales_publisher
from yasdg_app.shop.till import Till

NEVER = 2**62  # more messages than there ever are

replace(projection, "ARRAY_MIN_MESSAGES", NEVER)
replace(Till, "_instant", lambda till: np.zeros(len(till.products), dtype=np.bool_))
replace(sales_publisher, "BULK_FROM_SALES", NEVER)

sys.exit(main())
