"""The S3 server of docker compose: s3proxy over the folder /s3, with the keys of AWS_* as its only login."""

import os
from pathlib import Path

from lakehouse_assets.platform.runtime.jar_sets import S3
from lakehouse_assets.platform.runtime.jars import ensure_jars, find_java
from lakehouse_assets.settings import settings

PORT, DATA = 9000, Path("/s3")


def main() -> None:
    """Become the server."""
    properties = Path("/tmp/s3proxy.properties")
    properties.touch(mode=0o600)
    properties.write_text(
        f"s3proxy.endpoint=http://0.0.0.0:{PORT}\n"
        "s3proxy.authorization=aws-v2-or-v4\n"
        f"s3proxy.identity={os.environ['AWS_ACCESS_KEY_ID']}\n"
        f"s3proxy.credential={os.environ['AWS_SECRET_ACCESS_KEY']}\n"
        "jclouds.provider=filesystem-nio2\n"
        f"jclouds.filesystem.basedir={DATA}\n"
    )
    java = str(find_java().path)
    jars = ensure_jars(settings(), S3)
    os.execv(java, [java, "-Xmx256m", "-cp", f"{jars}/*", "org.gaul.s3proxy.Main", "--properties", str(properties)])


if __name__ == "__main__":
    main()
