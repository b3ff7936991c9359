"""A worker to which Amazon's library gives the token of the variable TOKEN in place of one that it signs."""

import os
import sys
import time

from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
from patching import replace

replace(
    MSKAuthTokenProvider,
    "generate_auth_token_from_credentials_provider",
    lambda region, provider: (os.environ["TOKEN"], int(time.time() * 1000) + 300_000),
)

from yasdg_app.__main__ import main  # noqa: E402

sys.exit(main())
