"""Benchmarks: cells and shapes come in, ratios to rivals measured in the same run go out.

In order: `work` (what is computed and how many operations that is), `contenders` (who computes it,
held to one result), `streams` (the same for one step of a stream), `apart` (each in a process of
its own), `timing` (in turn, medians), `peak` (what this machine can do), `tables` (the rows of
docs/performance.md), `report` (text).
"""
