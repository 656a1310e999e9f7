"""The entry point of ``python -m nats_spark_common.cli``."""

import sys

from . import main

sys.exit(main())
