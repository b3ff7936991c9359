"""A worker that does everything the plain way: sale by sale, message by message."""

import sys

import numpy as np

from yasdg_app.inventory import projection as books
from yasdg_app.shop import till

NEVER_MANY = 2**62

books.MANY = NEVER_MANY
till.Till._instant = lambda self: np.zeros(len(self.products), dtype=np.bool_)  # type: ignore[method-assign]

from yasdg_app.pipeline import sales_generator  # noqa: E402

sales_generator.BULK_FROM_SALES = NEVER_MANY

from yasdg_app.__main__ import main  # noqa: E402

sys.exit(main())
