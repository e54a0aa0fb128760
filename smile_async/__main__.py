"""`python -m smile_async` is `smile-async`: for where the script is not on the PATH."""

import sys

from smile_async.cli import main

sys.exit(main())
