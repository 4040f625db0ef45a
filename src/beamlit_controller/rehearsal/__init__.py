"""Recorded metrics played through the code that decides, for `simulate` and `check --prometheus`.

`recorded` reads a CSV file and `simulation` a Prometheus; `candidates` are the ways to decide that are compared; core's
`replay` plays them. `report` and `picture` show what came of it. `reachability` finds triggers that could never act.
"""
