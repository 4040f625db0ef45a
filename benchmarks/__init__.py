"""What it costs, as ratios against peers that ran in the same minutes. `python -m benchmarks [NAMES]` runs all or some."""
