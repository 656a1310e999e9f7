"""What a user may set, where it may come from, and what it becomes.

Start with `settings`: `NatsSettings` is the one model of all options. `layers` merges the sources
of values (options, environment, context, defaults), `names` knows every name of an option, `types`,
`durations` and `positions` convert text, `nats_context` reads the contexts of the ``nats`` command
line, and `reference` describes every option for the documentation. `catalog_tables` is the advice
for tables of Spark's catalog, whose options Spark drops.
"""
