"""The composition roots: they build, connect and run the parts of each mode. Only `cli` imports this package.

`standalone.py` (`_serve`) and `cluster_parts.py` (`build`) show what is connected to what. `common.py` is shared,
including `sources`, the list of what reads each type of metric.
"""
