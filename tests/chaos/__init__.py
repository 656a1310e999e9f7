"""Random faults on a real cluster, and what is in tables, streams and consumers in the end.

``make chaos`` runs rounds until ``CHAOS_SECONDS`` have passed. A round starts a cluster of three
servers and a leaf (`world`), whose connections go through a `network` that can fail. A `driver`
runs the queries of some `scenarios`, while publishers go on and `faults` happen. Then everything
is healed, the queries run to the ends of their streams, and each scenario checks its results.

What a round does follows from its seed (`plan`); a failing seed is run again with fewer faults
(`shrink`). `planted` shows that the rounds find bugs: each is a line that is changed in a copy.
"""
