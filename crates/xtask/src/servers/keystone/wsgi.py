"""Keystone for gunicorn, whose own arguments Keystone would otherwise read. The settings are in KEYSTONE_SETTINGS."""

import os
import sys

sys.argv = ["keystone", "--config-file", os.environ["KEYSTONE_SETTINGS"]]

from keystone.server.wsgi import initialize_public_application  # noqa: E402

application = initialize_public_application()
