#!/bin/bash
# Roles and database of the warehouse: run once, by PostgreSQL's image when it makes its data folder, as superuser over
# its socket. Who publishes owns what is published and nothing else; who analyses reads it. Neither is a superuser, and
# the superuser has no password any more: it logs in inside the container alone.
set -euo pipefail
: "${WAREHOUSE_PASSWORD:?}" "${ANALYST_PASSWORD:?}"
psql --no-psqlrc --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
\getenv warehouse_password WAREHOUSE_PASSWORD
\getenv analyst_password ANALYST_PASSWORD
CREATE ROLE lakehouse_loader NOLOGIN;
CREATE ROLE lakehouse_analyst NOLOGIN;
CREATE ROLE lakehouse LOGIN PASSWORD :'warehouse_password' IN ROLE lakehouse_loader;
CREATE ROLE analyst LOGIN PASSWORD :'analyst_password' IN ROLE lakehouse_analyst;
CREATE DATABASE warehouse;
REVOKE ALL ON DATABASE warehouse FROM PUBLIC;
GRANT CONNECT ON DATABASE warehouse TO lakehouse_loader, lakehouse_analyst;
GRANT CREATE, TEMPORARY ON DATABASE warehouse TO lakehouse_loader;
ALTER ROLE CURRENT_USER PASSWORD NULL;
SQL
