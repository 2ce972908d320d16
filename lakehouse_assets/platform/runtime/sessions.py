"""Spark Connect sessions: opened for a run, recorded, released; those of dead runs are ended when the next opens."""

import os
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.platform.common.process_id import ProcessId
from lakehouse_assets.platform.runtime import session_records
from lakehouse_assets.platform.runtime.session_records import SessionRecord
from lakehouse_assets.platform.runtime.session_settings import settle
from lakehouse_assets.platform.runtime.spark_server import ServerAddress, ensure_server, server_lock
from lakehouse_assets.platform.storage.location import storage_options
from lakehouse_assets.platform.storage.s3 import S3Path
from lakehouse_assets.settings import Settings

if TYPE_CHECKING:
    import grpc
    from pyspark.sql import SparkSession
    from pyspark.sql.connect.client import SparkConnectClient
    from pyspark.sql.connect.client.core import DefaultChannelBuilder
    from pyspark.sql.connect.session import SparkSession as ConnectSession

USER = "lakehouse"
CONNECT_SECONDS = 20.0
RELEASE_SECONDS = 5.0
TOKEN_VARIABLE = "SPARK_CONNECT_AUTHENTICATE_TOKEN"

_opened: dict[str, Path] = {}
"""Session id -> the folder of its record, for the sessions that this process opened."""


def open_session(settings: Settings, run_id: str) -> "SparkSession":
    """A session of its own for the run, on the cluster of the settings or on the embedded server, started if need be.

    It becomes pyspark's active session; the token goes to the environment, for libraries that connect by URL.
    Raises LakehouseError when the server cannot be reached or refuses the token, within 30 s of its being up, when it
    does not take the settings that results depend on, and StoreError when a bucket of the tables does not answer.
    """
    from pyspark.errors import PySparkException
    from pyspark.sql.connect.session import SparkSession as ConnectSession

    storage_options(settings.lake)  # a bucket that does not answer is said before a server starts
    session_id = str(uuid.uuid4())
    process = ProcessId.of(os.getpid())
    assert process is not None, "this process runs"
    # Under the lock, so that nobody replaces the server between finding it and recording its use.
    with server_lock(settings.spark_dir):
        address = _remote(settings) or ensure_server(settings)
        session_records.add(settings.spark_dir, SessionRecord(session_id, run_id, address.server, process))
    _opened[session_id] = settings.spark_dir
    os.environ["SPARK_CONNECT_MODE_ENABLED"] = "1"  # makes pyspark.sql.functions build Connect columns
    if address.token is not None:
        os.environ[TOKEN_VARIABLE] = address.token
    try:
        builder = _channel(address, session_id)
        _greet(builder, address, session_id)
        session = ConnectSession.Builder().channelBuilder(builder).create()
    except (LakehouseError, PySparkException):
        _forget(session_id)
        raise
    _retry_briefly(session.client)
    _end_dead_sessions(settings.spark_dir, address)
    try:
        settle(session, address.url, in_bucket=isinstance(settings.lake, S3Path))
    except LakehouseError:
        close_session(session)  # type: ignore[arg-type]
        raise
    return session  # type: ignore[return-value]


def close_session(spark: "SparkSession") -> None:
    """Release the session on its server and forget it. Closing it again, or after the server's end, is no error."""
    from pyspark.errors import PySparkException

    session = cast("ConnectSession", spark)
    session_id, client = session.session_id, session.client
    try:
        if not client.is_closed:
            client.release_session()
    except PySparkException:
        # The record stays unless the server is gone too: when this process ends, the next one ends the session.
        if _server_answers(client):
            return
    finally:
        # stop() would release once more, and swallow what goes wrong.
        session.release_session_on_close = False
        _leave_the_pool_to_others()
        session.stop()
    _forget(session_id)


def _leave_the_pool_to_others() -> None:
    """Take the process's pool of release calls away before stop() shuts it down.

    pyspark 4.0.5 has one for all sessions of a process. While it shuts down, which lasts as long as its slowest call,
    every other session fails with "cannot schedule new futures after shutdown"; without it they make a new one.
    """
    from pyspark.sql.connect.client.reattach import ExecutePlanResponseReattachableIterator as Responses

    with Responses._lock:
        pool, Responses._release_thread_pool_instance = Responses._release_thread_pool_instance, None
    if pool is not None:
        pool.shutdown(wait=False)


def _end_dead_sessions(spark_dir: Path, address: ServerAddress) -> None:
    """Free what the sessions of provably dead processes hold on this server: cached rows, jobs that nobody waits for.

    Nothing depends on it, as such a job only writes files that no log names: what cannot be ended is left to the next
    run. Sessions of live processes, and of processes on other hosts, are not touched.
    """
    import grpc
    import pyspark.sql.connect.proto as pb2
    import pyspark.sql.connect.proto.base_pb2_grpc as service

    dead = [record for record in session_records.recorded(spark_dir) if record.process.dead]
    for record in dead:
        if record.server == address.server:
            builder = _channel(address, record.session_id)
            request = pb2.ReleaseSessionRequest(session_id=record.session_id, client_type=builder.userAgent)
            request.user_context.user_id = USER
            with builder.toChannel() as channel:
                try:
                    stub = service.SparkConnectServiceStub(channel)  # type: ignore[no-untyped-call]
                    stub.ReleaseSession(request, metadata=builder.metadata(), timeout=RELEASE_SECONDS)
                except grpc.RpcError:
                    return
        elif not record.server.startswith("embedded:"):
            continue  # on a cluster that these settings do not name: kept for those that do
        session_records.remove(spark_dir, record.session_id)


def _remote(settings: Settings) -> ServerAddress | None:
    if settings.spark_remote is None:
        return None
    token = settings.spark_token.get_secret_value() if settings.spark_token else None
    return ServerAddress(settings.spark_remote, token, settings.spark_remote)


def _channel(address: ServerAddress, session_id: str) -> "DefaultChannelBuilder":
    """The way to the server. TLS only when the URL says `use_ssl=true`.

    pyspark's own builder speaks TLS to any host but localhost as soon as there is a token, and hangs in handshakes with
    a server that does not.
    """
    from pyspark.sql.connect.client import ChannelBuilder
    from pyspark.sql.connect.client.core import DefaultChannelBuilder

    class TokenChannelBuilder(DefaultChannelBuilder):
        def metadata(self) -> Iterable[tuple[str, str]]:
            shown = [] if self.use_ssl or address.token is None else [("authorization", f"Bearer {address.token}")]
            return [*super().metadata(), *shown]

        def toChannel(self) -> "grpc.Channel":
            return super().toChannel() if self.use_ssl else self._insecure_channel(self.endpoint)

    builder = TokenChannelBuilder(address.url)
    builder.set(ChannelBuilder.PARAM_SESSION_ID, session_id)
    builder.set(ChannelBuilder.PARAM_USER_ID, USER)
    if address.token is not None:
        builder.set(ChannelBuilder.PARAM_TOKEN, address.token)
    return builder


def _greet(builder: "DefaultChannelBuilder", address: ServerAddress, session_id: str) -> None:
    """Open the session with one small request that has a deadline: pyspark's own requests have none."""
    import grpc
    import pyspark.sql.connect.proto as pb2
    import pyspark.sql.connect.proto.base_pb2_grpc as service

    request = pb2.ConfigRequest(session_id=session_id, client_type=builder.userAgent)
    request.user_context.user_id = USER
    request.operation.get.keys.append("spark.sql.session.timeZone")
    with builder.toChannel() as channel:
        try:
            stub = service.SparkConnectServiceStub(channel)  # type: ignore[no-untyped-call]
            stub.Config(request, metadata=builder.metadata(), timeout=CONNECT_SECONDS, wait_for_ready=True)
        except grpc.RpcError as error:
            code = error.code()
            if code == grpc.StatusCode.UNAUTHENTICATED:
                what, todo = "refuses the token", "Set LAKEHOUSE_SPARK_TOKEN to the server's token."
            elif code in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE):
                what = f"does not answer within {CONNECT_SECONDS:.0f} s"
                todo = (
                    "Check LAKEHOUSE_SPARK_REMOTE (a server that speaks TLS needs ;use_ssl=true), or: lakehouse doctor"
                )
            else:
                what, todo = f"refuses the session ({code.name}: {error.details()})", "Look at the server's log."
            raise LakehouseError(f"The Spark server at {address.url} {what}. {todo}") from error


def _retry_briefly(client: "SparkConnectClient") -> None:
    """Give up on an unreachable server after about 20 s: by default it takes 10 minutes, and a dead one stays dead."""
    from pyspark.sql.connect.client.retries import DefaultPolicy

    client.set_retry_policies([DefaultPolicy(max_retries=5)])


def _server_answers(client: "SparkConnectClient") -> bool:
    import grpc

    try:
        grpc.channel_ready_future(client._channel).result(timeout=2)
    except grpc.FutureTimeoutError:
        return False
    return True


def _forget(session_id: str) -> None:
    folder = _opened.pop(session_id, None)
    if folder is not None:
        session_records.remove(folder, session_id)
