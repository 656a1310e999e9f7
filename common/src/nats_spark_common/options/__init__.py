"""What a user may set, where it may come from, and what it becomes.

Start with `settings`: `NatsSettings` is the one model of all options. `layers` merges the sources
of values (options, environment, context, defaults), `names` has every name of an option, `types`,
`durations`, `positions` and `server_urls` convert text, `consistency` checks options against each
other, `files` reads the files that options name, `nats_context` reads the contexts of the nats CLI,
and `reference` describes every option for the documentation. `catalog_tables` has the advice for
tables of Spark's catalog, whose options Spark drops, and `java_variables` that for Java key stores.
"""
