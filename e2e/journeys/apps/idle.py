"""An app that does nothing by itself, until it is asked to end."""

import signal

signal.sigwait({signal.SIGTERM, signal.SIGINT})
