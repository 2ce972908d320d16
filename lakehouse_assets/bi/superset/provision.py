"""Superset's database brought up to date, and what the folder holds imported: provision.py FOLDER. Idempotent.

Runs in Superset's environment. The administrator's password is SUPERSET_ADMIN_PASSWORD. One process does what four of
Superset's commands would, each of which takes seconds to import it.
"""

import os
import sys
from pathlib import Path

from superset.app import create_app

ADMIN = "admin"


def main(folder: Path) -> None:
    """Migrate, make the roles and the administrator, import databases, datasets, charts and dashboards."""
    app = create_app()
    with app.app_context():
        import flask_migrate
        from superset import appbuilder, db, security_manager
        from superset.commands.importers.v1.assets import ImportAssetsCommand
        from superset.utils.core import override_user

        say("Superset's own database ...")
        flask_migrate.upgrade(directory=str(Path(sys.modules["superset"].__path__[0]) / "migrations"))
        appbuilder.add_permissions(update_perms=True)
        security_manager.sync_role_definitions()
        db.session.commit()
        admin = security_manager.find_user(ADMIN)
        password = os.environ["SUPERSET_ADMIN_PASSWORD"]
        if admin is None:
            role = security_manager.find_role("Admin")
            admin = security_manager.add_user(ADMIN, "Lakehouse", "Admin", "admin@localhost", role, password=password)
        else:
            security_manager.reset_password(admin.id, password)
        say("Dashboards ...")
        files = {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.yaml"))}
        with override_user(admin):
            ImportAssetsCommand(files).run()
        db.session.commit()


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(text, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
