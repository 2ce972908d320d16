"""The Spark Connect server of docker compose: the embedded server's configuration, in the foreground, on a fixed port.

It listens on loopback alone: the code server shares its network, so that nothing else can reach it. The token is in
SPARK_CONNECT_AUTHENTICATE_TOKEN.
"""

import os
import sys
from pathlib import Path

from lakehouse_assets.platform.runtime import spark_launch
from lakehouse_assets.platform.runtime.jars import pyspark_home
from lakehouse_assets.settings import settings


def main() -> None:
    if not os.environ.get("SPARK_CONNECT_AUTHENTICATE_TOKEN"):
        sys.exit("SPARK_CONNECT_AUTHENTICATE_TOKEN is not set: the server would serve anybody.")
    here = settings()
    port = os.environ.get("SPARK_CONNECT_PORT", "15002")
    work = here.spark_dir
    for folder in ("conf", "tmp", "warehouse"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    conf = spark_launch.spark_conf(work, spark_launch.config_of(here))
    properties = spark_launch.properties_file(work)
    properties.write_text("".join(f"{key} {value}\n" for key, value in conf.items()))
    (work / "conf" / "log4j2.properties").write_text(spark_launch.LOG4J)
    home = pyspark_home()
    submit = Path(home, "bin", "spark-submit")
    environment = os.environ | {
        "SPARK_HOME": str(home),
        "SPARK_CONF_DIR": str(work / "conf"),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "PYSPARK_PYTHON": sys.executable,
    }
    os.execve(
        submit,
        [
            str(submit),
            *("--properties-file", str(properties)),
            *("--conf", f"spark.connect.grpc.binding.port={port}"),
            *("--class", spark_launch.SERVER_CLASS, "local:/unused.jar"),
        ],
        environment,
    )


if __name__ == "__main__":
    main()
