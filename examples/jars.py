"""The jars of an example, and the Java that runs them.

    python examples/jars.py examples/flink                      # prints them as a Java class path
    python examples/jars.py examples/flink Sql.java job.sql     # runs a source file of that folder with them

The jars are those of the folder's jgo.lock.toml, with its hashes (`jgo lock` made it from jgo.toml). They are fetched
once, into the cache folder that also has the embedded broker's. A file java.options in the folder has options for Java.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from yasdg_app.errors import YasdgError
from yasdg_app.kafka.embedded.jars import JarCache, default_folder
from yasdg_app.kafka.embedded.java import installed_java

NEWEST_JAVA = 21
"""Flink 1.20, Spark 4.0 and Beam 2.63 are made for 17 and 21. The embedded broker's Java is newer."""
INSTALL = "Install one, such as Debian's default-jdk-headless, and set JAVA_HOME if another comes first on PATH."


def class_path(folder: Path) -> list[Path]:
    """Return all jars of an example; fetch missing ones. Raises YasdgError if they are unavailable."""
    folder = folder.resolve()
    # One cache per example, so that no example waits for the jars of another one.
    cache = JarCache(
        default_folder() / folder.name,
        lock=folder / "jgo.lock.toml",
        name=f"Apache {folder.name.capitalize()}",
        advice="That needs the network once; start again to go on.",
    )
    cache.fetch()
    return [cache.folder / jar.path for jar in cache.jars]


def java() -> Path:
    """Return the Java for the engines: $JAVA_HOME's, or that on PATH. Raises YasdgError if it is too old or too new."""
    return installed_java("This engine", INSTALL, newest=NEWEST_JAVA)


def command(folder: Path, source: str, *arguments: str) -> list[str]:
    """Return the command line that runs a source file of an example, compiled if necessary.

    Raises YasdgError if there is no suitable Java, if it has no compiler, or if the file cannot be compiled.
    """
    its_java = java()
    javac = its_java.resolve().with_name("javac")
    if not javac.exists():
        raise YasdgError(f"This engine needs a JDK, and {its_java} is that of a JRE. {INSTALL}")
    options = folder / "java.options"
    with_options = [f"@{options}"] if options.exists() else []
    path = [str(jar) for jar in class_path(folder)]
    path.append(str(_compiled(folder / source, javac, os.pathsep.join(path))))
    return [str(its_java), *with_options, "-cp", os.pathsep.join(path), Path(source).stem, *arguments]


def _compiled(source: Path, javac: Path, path: str) -> Path:
    """Return the folder of a file's classes. (Java can run a source file itself, but Beam cannot copy its classes.)"""
    made_from = source.read_bytes() + source.with_name("jgo.lock.toml").read_bytes()
    digest = hashlib.sha256(made_from).hexdigest()[:16]
    classes = default_folder() / "classes" / f"{source.stem}-{digest}"
    if not classes.exists():
        classes.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=classes.parent) as folder:
            made = Path(folder, "classes")
            ran = subprocess.run([javac, "--release", "17", "-proc:none", "-cp", path, "-d", made, source])
            if ran.returncode:
                raise YasdgError(f"{source} cannot be compiled: see above.")
            with suppress(OSError):  # another process was faster
                made.rename(classes)
    return classes


def main() -> None:
    """Run the command line."""
    match sys.argv[1:]:
        case [folder]:
            print(os.pathsep.join(str(jar) for jar in class_path(Path(folder))))
        case [folder, source, *arguments]:
            line = command(Path(folder), source, *arguments)
            os.execv(line[0], line)
        case _:
            print("Usage: jars.py FOLDER [SOURCE.java [ARGUMENT]...]", file=sys.stderr)
            sys.exit(2)


if __name__ == "__main__":
    try:
        main()
    except YasdgError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
