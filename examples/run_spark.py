"""Runs a PySpark program locally, on two cores, with pinned versions of PySpark, Java and Kafka's jars.

    python examples/run_spark.py examples/spark/job.py --until-now

PySpark is not among the project's own packages, because it takes 400 MB. It gets a separate environment in the cache
folder, next to the jars; each change of its locks creates a new one.
"""

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import jars

from yasdg_app.errors import YasdgError
from yasdg_app.kafka.embedded.jars import default_folder
from yasdg_app.kafka.embedded.java import JVM_OPTIONS
from yasdg_app.kafka.embedded.locks import FileLock

SPARK = Path(__file__).with_name("spark")
LOCKS = (SPARK / "requirements-build.lock", SPARK / "requirements.lock")
"""In this order: PySpark is a source distribution, and its build requirements are pinned as well."""
PIP = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-cache-dir", "--require-hashes")
OPTIONS = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    "spark.log.level": "ERROR",
    "spark.sql.shuffle.partitions": "2",  # each has its own state; the default, 200, is for a cluster
    "spark.sql.streaming.metricsEnabled": "false",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
}


def python() -> Path:
    """Return the Python that has PySpark; creating it takes a minute or two. Raises YasdgError if that fails."""
    made_from = b"".join(lock.read_bytes() for lock in LOCKS) + sys.version.encode()
    folder = default_folder().with_name(f"spark-{hashlib.sha256(made_from).hexdigest()[:16]}")
    finished, found = folder / "finished", folder / "bin" / "python"
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"))
    lock.acquire()
    try:
        if not finished.exists():
            print(f"Installing PySpark into {folder}, once: 400 MB, a minute or two ...", file=sys.stderr, flush=True)
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            for packages in LOCKS:
                subprocess.run([found, *PIP, "--no-build-isolation", "--use-pep517", "-r", packages], check=True)
            finished.touch()
    except subprocess.CalledProcessError as error:
        raise YasdgError(
            "PySpark cannot be installed; what pip said stands above. It needs the network and 2 GB of disk once."
        ) from error
    finally:
        lock.release()
    return found


def environment() -> dict[str, str]:
    """Return the environment variables with which that Python starts Spark."""
    class_path = os.pathsep.join(str(jar) for jar in jars.class_path(SPARK))
    options = [f"--conf={name}={value}" for name, value in OPTIONS.items()]
    # Spark's error handling when a query is stopped needs a deep stack.
    java_options = [
        "--driver-class-path",
        class_path,
        "--driver-java-options",
        " ".join([*JVM_OPTIONS, "-Xss16m"]),
    ]
    arguments = ["--master", "local[2]", *java_options, *options, "pyspark-shell"]
    others = {name: value for name, value in os.environ.items() if name not in ("SPARK_HOME", "PYTHONPATH")}
    java_home = jars.java().resolve().parents[1]
    return others | {"JAVA_HOME": str(java_home), "PYSPARK_SUBMIT_ARGS": shlex.join(arguments)}


def main() -> None:
    """Run the command line."""
    if not sys.argv[1:]:
        print("Usage: run_spark.py PROGRAM.py [ARGUMENT]...", file=sys.stderr)
        sys.exit(2)
    found = python()
    os.execve(found, [str(found), *sys.argv[1:]], environment())


if __name__ == "__main__":
    try:
        main()
    except YasdgError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
