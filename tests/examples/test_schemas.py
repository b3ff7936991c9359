"""The schemas of engines hold whatever the rules allow."""

import re
from decimal import Decimal
from pathlib import Path

import jars
import pytest

from yasdg_app.config.checks import MAX_SALE_AMOUNT
from yasdg_app.config.rules import money
from yasdg_app.config.settings import LARGEST_QUANTITY

EXAMPLES = Path(jars.__file__).parent
MOST = LARGEST_QUANTITY * 2 * money().parse("999999999.99")
"""What a sale may bring: so many of the dearest product, each with the dearest supplements."""


@pytest.mark.parametrize("file", ["flink/tables.sql", "flink/files.sql", "spark/job.py"])
def test_amounts_of_the_dearest_sale_fit(file: str) -> None:
    digits = re.findall(r"decimal\((\d+), ?2\)", (EXAMPLES / file).read_text(), re.IGNORECASE)
    assert digits
    for most in (MOST, MAX_SALE_AMOUNT):
        assert min(map(int, digits)) >= len(most.quantize(Decimal("0.01")).as_tuple().digits)
