"""Replays recorded metrics through the code that decides, for `simulate` and `check --prometheus`.

In: a recording and specs. Out: reports. May import: everything except `cli`.

- `simulation`: reads the recording and replays every candidate (`core.replay`)
- `recorded`: a recording from a CSV file; `recorded_series`: its series; `timestamps`: its times
- `candidates`: the specs to compare
- `remote_costs`: what the remotes would have cost
- `report`, `picture`: the result as text, JSON and chart
- `reachability`: finds triggers that could never fire
"""
