"""Hooks to which alerts go: a URL they are posted to, a command that is given them as an e-mail message.

URL and command may hold secrets: no message, log or row says more than which hook it was and how it answered.
"""

import json
import shlex
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from http.client import HTTPException
from typing import Any

from lakehouse_assets.ops.alerts import Alert
from lakehouse_assets.platform.common.errors import LakehouseError
from lakehouse_assets.settings import Settings

WEBHOOK, COMMAND = "webhook", "command"
ANSWER_SECONDS = 10

Deliver = Callable[[Alert], None]


class HookError(LakehouseError):
    """A hook did not take an alert."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would be followed as a GET, without the alert."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def hooks(settings: Settings) -> Mapping[str, Deliver]:
    """The hooks that the settings name. Each takes an alert within seconds or raises HookError."""
    found: dict[str, Deliver] = {}
    if settings.alert_webhook is not None:
        url = settings.alert_webhook.get_secret_value()
        found[WEBHOOK] = lambda alert: _post(url, alert)
    if settings.alert_command is not None:
        command = settings.alert_command.get_secret_value()
        found[COMMAND] = lambda alert: _run(command, alert)
    return found


def text_of(alert: Alert) -> str:
    """An alert in two lines."""
    return f"{alert.subject}\n{alert.message}"


def _post(url: str, alert: Alert) -> None:
    """POST as JSON; any 2xx is an acceptance. `text` is what chat servers show."""
    if not url.startswith(("http://", "https://")):
        raise HookError("LAKEHOUSE_ALERT_WEBHOOK is no http or https URL.")
    content = {
        "id": alert.id,
        "table": alert.subject.table,
        "day": str(alert.subject.day),
        "state": alert.subject.trouble.value,
        "message": alert.message,
        "said": alert.message,  # its former name, until 0.3
        "raised": alert.raised.isoformat(),
        "text": text_of(alert),
    }
    headers = {"Content-Type": "application/json", "Idempotency-Key": alert.id}
    try:
        request = urllib.request.Request(url, json.dumps(content).encode(), headers, method="POST")
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=ANSWER_SECONDS):
            return
    except urllib.error.HTTPError as error:
        raise HookError(f"The webhook answered {error.code}.") from None
    except (OSError, ValueError, HTTPException) as error:  # their texts may quote the URL
        reason = getattr(error, "reason", error)
        raise HookError(f"The webhook cannot be reached ({type(reason).__name__}).") from None


def _run(command: str, alert: Alert) -> None:
    """The command, without a shell, with the message on its input; exit code 0 is an acceptance."""
    message = EmailMessage()
    message["Subject"] = f"lakehouse: {alert.subject}"
    message["X-Lakehouse-Alert"] = alert.id
    message.set_content(f"{text_of(alert)}\n")
    try:
        words = shlex.split(command)
        done = subprocess.run(words, input=bytes(message), capture_output=True, timeout=ANSWER_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise HookError(f"The alert command did not end within {ANSWER_SECONDS} s.") from None
    except (OSError, ValueError, IndexError) as error:
        raise HookError(f"The alert command cannot be run ({type(error).__name__}).") from None
    if done.returncode:
        raise HookError(f"The alert command ended with exit code {done.returncode}.")
