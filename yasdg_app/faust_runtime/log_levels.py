"""The lowest level at which each library's loggers write to the worker's output."""

import logging

LOG_LEVELS = {
    **dict.fromkeys(("faust", "mode", "aiohttp"), logging.WARNING),
    # Faust's services log under the name of the module of their class, including ours.
    **dict.fromkeys(
        (
            "yasdg_app.faust_runtime.shop_app",
            "yasdg_app.faust_runtime.table",
            "yasdg_app.faust_runtime.transport",
            "yasdg_app.faust_runtime.worker",
            "yasdg_app.web.driver",
        ),
        logging.WARNING,
    ),
    # It reports that the first call of a timer was late, which is correct: the worker recovers before.
    "mode.timers": logging.ERROR,
    # It reports each request that is not HTTP with a traceback. Failed responses are logged by web/driver.py.
    "aiohttp.server": logging.CRITICAL,
    # It reports each attempt to reach a broker or a leader; we log once that we wait.
    "aiokafka": logging.CRITICAL,
    # At DEBUG they log everything they send and receive: temporary AWS keys, signatures, URLs with a password.
    **dict.fromkeys(("boto3", "botocore", "aioboto3", "aiobotocore", "aws_msk_iam_sasl_signer"), logging.WARNING),
    **dict.fromkeys(("urllib3", "httpx", "httpx2", "httpcore", "httpcore2", "confluent_kafka"), logging.WARNING),
}
"""Lowest level that is logged, by logger."""


def silence_libraries() -> None:
    """Keep INFO messages of libraries, such as a table of partitions at each start, out of the worker's output."""
    for name, level in LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
