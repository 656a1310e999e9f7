"""Tables of Spark's catalog: Spark does not pass their options to a Python source."""

#: Advice for errors about options that may have been set on a catalog table.
TABLES = (
    "If this is a catalog table: Spark does not pass the options of a table to a Python source; "
    "use a temporary view (CREATE TEMPORARY VIEW ... USING ... OPTIONS ...), options on the read "
    "(SELECT ... FROM t WITH (...), spark.read.options(...)), or the environment (NATS_...)"
)
