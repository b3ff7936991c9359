"""A worker in which Faust finds suspicious after a second what it otherwise finds so after five minutes."""

import sys

from yasdg_app import app

app.conf.stream_processing_timeout = 1.0
app.conf.broker_commit_livelock_soft_timeout = 1.0

from yasdg_app.__main__ import main  # noqa: E402

sys.exit(main())
