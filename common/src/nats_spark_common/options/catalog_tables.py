"""Tables of Spark's catalog: Spark does not pass their options to a Python source."""

#: Advice for errors of reads about options that may have been set on a catalog table.
TABLES = (
    "If this is a catalog table: Spark does not pass the options of a table to a Python source; "
    "use a temporary view (CREATE TEMPORARY VIEW ... USING ... OPTIONS ...), or set all options on "
    "the read, nats.url too (SELECT ... FROM t WITH (...), spark.read.options(...).table(t))"
)

#: The same for writes, which do not use the server of the environment without an option.
WRITES_TO_TABLES = (
    "If this is a catalog table: Spark passes neither the options of a table nor those of "
    "options(...).insertInto(t) to a Python source; insert into a temporary view (CREATE TEMPORARY "
    "VIEW ... USING ... OPTIONS ...), or set the options on the write (INSERT INTO t WITH (...) "
    "SELECT ..., df.writeTo(t).options(...).append(), df.write.format(...).options(...).save())"
)
