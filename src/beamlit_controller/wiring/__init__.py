"""The composition roots: the parts of each mode, built, connected and run. No other package except `cli` imports it.

`standalone.py` and `cluster_parts.py` (`build`) show what is connected to what; `common.py` is shared, including
`route`, which selects the source of each metric.
"""
