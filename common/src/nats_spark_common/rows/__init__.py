"""Rows: their columns, schema and payloads. Pure: no sockets, no Spark session.

Start with `messages`: decoded messages as Arrow columns. `schema` maps them to Spark's columns, and
`compression` compresses and decompresses payloads.
"""
