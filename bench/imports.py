"""e: what importing the definitions costs above importing dagster, pyspark and pandera themselves."""

import sys
from functools import partial
from pathlib import Path

from bench.harness import Bar, Result, Size, alternate, best, run

LIBRARIES = "import dagster, dagster_pyspark, pyspark.sql.functions, pyspark.sql.types, pandera.pyspark, deltalake"
OURS = "import lakehouse_assets.definitions"
OUTSIDE = """
import sys
opened = []
def audit(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and not arguments[0].endswith((".py", ".pyc", ".so")):
        opened.append(arguments[0])
    if event.startswith("socket.connect"):
        opened.append(event)
import dagster, dagster_pyspark, pyspark.sql.functions, pyspark.sql.types, pandera.pyspark, deltalake
sys.addaudithook(audit)
import lakehouse_assets.definitions
print(len([name for name in opened if not name.startswith((sys.prefix, sys.base_prefix, "/proc", "/sys", "/dev"))]))
"""


def measure(size: Size, folder: Path) -> Result:
    """Fresh processes in turns, wall and CPU; beside it, files outside the Python environment that the import opens."""
    python = [sys.executable, "-c"]
    cpu: dict[str, list[float]] = {"libraries": [], "definitions": []}

    def timed(side: str, imports: str) -> None:
        cpu[side].append(float(run([*python, f"{imports}; import time; print(time.process_time())"])))

    took = alternate(
        size.repeats,
        libraries=partial(timed, "libraries", LIBRARIES),
        definitions=partial(timed, "definitions", f"{LIBRARIES}; {OURS}"),
    )
    return Result(
        "e",
        "import of the definitions",
        {
            "libraries alone, s": best(took["libraries"]),
            "with the definitions, s": best(took["definitions"]),
            "above the libraries, s": best(took["definitions"]) - best(took["libraries"]),
            "above the libraries, s of CPU": best(cpu["definitions"]) - best(cpu["libraries"]),
            "files and connections opened": float(run([*python, OUTSIDE])),
        },
        (Bar("above the libraries, s", 1.0), Bar("files and connections opened", 0)),
        took,
    )
