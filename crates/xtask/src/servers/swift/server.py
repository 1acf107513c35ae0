"""One of Swift's servers with settings of its own: server.py FOLDER MODULE CONFIGURATION.

The programs that come with Swift read limits and storage policies below /etc, whatever their configuration says.
"""

import importlib
import sys

from swift.common import utils

folder, module, configuration = sys.argv[1:]
utils.set_swift_dir(folder)

from swift.common import constraints, storage_policy  # noqa: E402

constraints.reload_constraints()
storage_policy.reload_storage_policies()

# Without the last word all that goes wrong would be told to syslog only.
sys.argv = [module, configuration, "--verbose"]
sys.exit(importlib.import_module(module).main())
