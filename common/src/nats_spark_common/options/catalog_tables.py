"""Tables of Spark's catalog: Spark hands a Python source none of the options of one."""

#: What to say where options may have been those of a table.
TABLES = (
    "If this is a table of the catalog: Spark hands a Python source none of its options; use a "
    "temporary view (CREATE TEMPORARY VIEW ... USING ... OPTIONS ...), options with the read "
    "(SELECT ... FROM t WITH (...), spark.read.options(...)), or the environment (NATS_...)"
)
