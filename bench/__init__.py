"""The benchmark: Guilder, a service of the usual design and pgbench, side by side.

`python -m bench --help` tells how to run it; `bench/README.md` tells what each figure means.
"""
