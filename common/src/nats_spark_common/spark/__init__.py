"""What Spark uses of every flavor.

Start with `source`: the base class of the flavors' ``DefaultSource``. `query_reader` is the base of
their stream readers, and `worker_logs` sets up logging in Spark's Python workers. Older versions of
Spark: `newest_api` has what they lack, `old_reader` is what they call, and `version` replaces a
source that they cannot run.
"""
