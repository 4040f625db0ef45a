"""Replays recorded metrics through the code that decides, for `simulate` and `check --prometheus`.

`recorded` reads a CSV file and `simulation` queries a Prometheus; `candidates` are the specs to compare; `core.replay`
replays them. `report` and `picture` show the result. `reachability` finds triggers that could never fire.
"""
