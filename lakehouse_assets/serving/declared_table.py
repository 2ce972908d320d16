"""A declared table as a resource of dagster-deltalake. Imported where one is asked for: the library takes its time."""

from dagster_deltalake import DeltaTableResource
from deltalake import DeltaTable


class DeclaredTable(DeltaTableResource):
    """As the library's, but its endpoint goes before the one in the environment (`AWS_ENDPOINT_URL_S3`)."""

    def load(self) -> DeltaTable:
        """The table at its version."""
        storage = self.storage_options.str_dict()
        client = self.client_options.str_dict() if self.client_options else {}
        endpoint = {"aws_endpoint_url_s3": storage["endpoint"]} if "endpoint" in storage else {}
        return DeltaTable(self.url, version=self.version, storage_options=storage | client | endpoint)
