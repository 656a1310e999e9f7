"""What Spark uses of every flavor.

Start with `source`: the base class of the flavors' ``DefaultSource``. `query_reader` is the base of
their stream readers, `version` replaces the sources on a Spark that is too old, and `worker_logs`
sets up logging in Spark's Python workers.
"""
