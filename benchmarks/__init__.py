"""Benchmarks of EarthSignature against peers, each row in one run: `make bench`, `make bench ONLY=name`.

row.py        what a row is: its own contender, its peers, its target
registry.py   the rows; each room of the house has its module: imagery, inference, products, catalogue, service
worker.py     the process in which one contender runs
measure.py    interleaved repetitions, medians, peak memory
results.py    build/bench.json and the table
"""
