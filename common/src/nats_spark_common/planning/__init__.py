"""How much a batch takes, how it is divided, and what counts as data loss. Pure.

Start with `admission` (the size of a batch). `ranges` divides sequences into tasks, and `data_loss`
decides whether missing messages were lost, and reports it.
"""
