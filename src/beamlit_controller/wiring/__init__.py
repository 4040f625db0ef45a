"""The composition roots: the parts of each mode, built, connected and run. No other package except `cli` imports it.

`standalone.py` and `cluster_parts.py` (`build`) show what is connected to what; `common.py` is shared, including
`sources`, the list of what reads each type of metric.
"""
