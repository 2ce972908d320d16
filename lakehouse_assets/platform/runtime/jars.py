"""Jars, Spark's and those of other servers: resolved once with the Ivy that pyspark ships, pinned by hash, kept beside
the environment."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import quoteattr

from filelock import FileLock

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.runtime.jar_sets import SPARK, JarSet
from lakehouse_assets.settings import Settings

JAVA_VERSIONS = (17, 21)


@dataclass(frozen=True)
class Java:
    """The Java that runs Spark."""

    path: Path
    major: int


def find_java() -> Java:
    """The Java that Spark's launcher will take: that of JAVA_HOME, else the one on PATH.

    Raises LakehouseError when there is none, or none that Spark 4.0 runs on.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=str(Path(home) / "bin") if home else None)
    where = f"JAVA_HOME={home}" if home else "PATH"
    wanted = " or ".join(map(str, JAVA_VERSIONS))
    if found is None:
        raise LakehouseError(
            f"No Java found by {where}. Spark needs Java {wanted}: install it (Debian: apt-get install "
            "openjdk-17-jre-headless) or point JAVA_HOME at one."
        )
    answer = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    match = re.search(r'version "(\d+)', answer.stderr)
    major = int(match.group(1)) if match else 0
    if major not in JAVA_VERSIONS:
        what = answer.stderr.strip().splitlines()[:1] or ["nothing"]
        raise LakehouseError(
            f"Spark needs Java {wanted}, but {found} (found by {where}) says: {what[0]}. Install one of these or point "
            "JAVA_HOME at one."
        )
    return Java(Path(found), major)


def pyspark_home() -> Path:
    """The folder of the installed pyspark, found without importing it."""
    spec = importlib.util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise LakehouseError("pyspark is not installed in this environment. Install the project's lock file (make).")
    return Path(spec.origin).parent


def jars_folder(settings: Settings, of: JarSet = SPARK) -> Path:
    """Where the jars of the present lock are: a folder per lock, so that a running server never loses its jars."""
    base = settings.jars or Path(sys.prefix) / "share" / "lakehouse" / "jars"
    return base.absolute() / hashlib.sha256(of.lock.read_bytes()).hexdigest()[:16]


def ready(settings: Settings, of: JarSet = SPARK) -> bool:
    """All jars of the lock are in their folder."""
    folder = jars_folder(settings, of)
    return all((folder / name).is_file() for name in of.locked())


def ensure_jars(settings: Settings, of: JarSet = SPARK) -> Path:
    """The folder of the jars, resolved when it is not there yet. Safe under concurrency.

    Raises LakehouseError when Java is missing, the resolution fails or a jar is not the locked one.
    """
    folder = jars_folder(settings, of)
    if ready(settings, of):
        return folder
    base = _writable(folder.parent)
    with FileLock(base / ".lock"):
        if ready(settings, of):
            return folder
        with tempfile.TemporaryDirectory(dir=base, prefix=".resolving-") as work:
            resolved = _resolve(Path(work), of)
            _verify(hashes(resolved), of)
            shutil.rmtree(folder, ignore_errors=True)  # incomplete: `ready` said so
            resolved.rename(folder)
    return folder


def rewrite_lock(settings: Settings, of: JarSet = SPARK) -> Path:
    """Resolve the coordinates anew, write what came into the lock, and install it. For maintainers."""
    of.lock.touch()
    base = _writable(jars_folder(settings, of).parent)
    with FileLock(base / ".lock"), tempfile.TemporaryDirectory(dir=base, prefix=".resolving-") as work:
        resolved = _resolve(Path(work), of)
        of.lock.write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(hashes(resolved).items())))
        folder = jars_folder(settings, of)
        shutil.rmtree(folder, ignore_errors=True)
        resolved.rename(folder)
    return folder


def verify(settings: Settings) -> None:
    """Compare every installed jar with the lock; LakehouseError names those that differ."""
    folder = jars_folder(settings)
    if not ready(settings):
        raise LakehouseError(f"Spark's jars are not in {folder}. Resolve them: lakehouse jars")
    _verify(hashes(folder), SPARK)


def hashes(folder: Path) -> dict[str, str]:
    """File name -> SHA-256 of every jar in the folder."""
    return {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in folder.glob("*.jar")}


def _writable(base: Path) -> Path:
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LakehouseError(
            f"Cannot make the folder of Spark's jars, {base}: {error.strerror}. Set LAKEHOUSE_JARS to a folder "
            "that you may write."
        ) from error
    return base


def _verify(found: dict[str, str], of: JarSet) -> None:
    expected = of.locked()
    problems = (
        [f"missing: {name}" for name in sorted(expected.keys() - found.keys())]
        + [f"not in the lock: {name}" for name in sorted(found.keys() - expected.keys())]
        + [f"other content: {name}" for name in sorted(expected) if name in found and found[name] != expected[name]]
    )
    if problems:
        raise LakehouseError(
            f"The jars are not those of {of.lock.name}:\n  "
            + "\n  ".join(problems)
            + "\nNothing was installed. If the coordinates changed on purpose, review and run: lakehouse jars --lock. "
            "If not, do not trust these jars."
        )


def _resolve(work: Path, of: JarSet) -> Path:
    """Download the coordinates and what they need into `work`/jars, by Ivy with settings and cache of its own."""
    java = find_java()
    ivy = next((pyspark_home() / "jars").glob("ivy-*.jar"))
    module = work / "ivy.xml"
    module.write_text(ivy_module(of.coordinates, of.excluded))
    target = work / "jars"
    target.mkdir()
    # The organisation is part of the name: two of them may publish an `annotations-1.0.jar`.
    pattern = "[organisation]_[artifact]-[revision](-[classifier]).[ext]"
    command = [
        str(java.path),
        f"-Divy.default.ivy.user.dir={work / 'ivy'}",
        *("-cp", str(ivy), "org.apache.ivy.Main"),
        *("-ivy", str(module), "-cache", str(work / "cache"), "-retrieve", f"{target}/{pattern}"),
    ]
    try:
        run = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise LakehouseError("Spark's jars could not be resolved within 15 minutes. Is there a network?") from error
    if run.returncode != 0 or not any(target.glob("*.jar")):
        last = "\n  ".join([line for line in run.stdout.splitlines() if line.strip()][-20:])
        raise LakehouseError(
            f"Spark's jars could not be resolved. Ivy's last lines:\n  {last}\nCheck the network (Java takes its proxy "
            "from JAVA_TOOL_OPTIONS), then run: lakehouse jars"
        )
    doubles = shipped_by_pyspark(target) if of.beside_pyspark else []
    if doubles:
        raise LakehouseError(
            f"pyspark ships these already: {', '.join(doubles)}. Add them to EXCLUDED in {Path(__file__).name}."
        )
    return target


def shipped_by_pyspark(folder: Path) -> list[str]:
    """Jars of the folder whose artifact pyspark ships as well, in whatever version."""
    shipped = {_artifact(jar.name) for jar in (pyspark_home() / "jars").glob("*.jar")}
    # pyspark ships nothing of the SDK, whose `annotations` are another's than those that it ships.
    ours = [jar.name for jar in folder.glob("*.jar") if not jar.name.startswith("software.amazon.awssdk_")]
    return sorted(name for name in ours if _artifact(name.partition("_")[2]) in shipped)


def _artifact(file_name: str) -> str:
    return re.sub(r"-\d.*$", "", file_name.removesuffix(".jar"))


def ivy_module(coordinates: tuple[str, ...], excluded: tuple[str, ...]) -> str:
    """An `ivy.xml` that asks for the coordinates (group:artifact:version) without the excluded (group:artifact)."""
    dependencies = "".join(
        f"    <dependency org={quoteattr(org)} name={quoteattr(name)} rev={quoteattr(rev)} conf='default->default'/>\n"
        for org, name, rev in (coordinate.split(":") for coordinate in coordinates)
    )
    excludes = "".join(
        f"    <exclude org={quoteattr(org)} module={quoteattr(module)}/>\n"
        for org, module in (exclude.split(":") for exclude in excluded)
    )
    return (
        "<ivy-module version='2.0'>\n"
        "  <info organisation='lakehouse' module='spark-jars'/>\n"
        "  <configurations><conf name='default'/></configurations>\n"
        f"  <dependencies>\n{dependencies}{excludes}  </dependencies>\n"
        "</ivy-module>\n"
    )
