"""The size of a batch, its division into tasks, and what counts as data loss. Pure.

Start with `admission` (the size of a batch). `ranges` divides sequences into tasks, and `way`
chooses how they are read. `data_loss` decides whether missing messages were lost, and reports data
loss.
"""
