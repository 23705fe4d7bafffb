"""The engine: a cell's step comes in, something that runs goes out. The passes, in order:

1. `trace`: `step`, run once on symbols, gives a graph (`graph` says what that is) of `primitives`,
   to which `adding` adds the user's own; `declared` is what a cell says, `traced` both together,
   `equations` and `passes` show them;
2. `options`: options of the layer are rewritten into the graph;
3. `call`: the boundary between a layer and the engine;
4. `reference`: the graph, step by step in PyTorch: the meaning, with the `values` of primitives;
5. `kernels`: PyTorch's own kernels, for the cells that have one;
6. `derive`: the graph with its reverse-mode derivative;
7. `plan`: what is saved, what is recomputed, and in which phases a step runs;
8. `c`: the plan as a C file; `compiler`, `build`, `cache`: compiled and kept; `native`: loaded;
9. a call of it: `compiled` takes it in, in the dtypes of `precision`; `bound` makes its C struct,
   with memory from `room` and `pool`; `sequence` runs it over time; `saved` hands to autograd what
   the backward pass reads, `gradients` runs that, and `mapped` where PyTorch maps over it;
   `call_cache`: a call that repeats another enters at its struct; `stream`: one step at a time;
   `operators`: the same as operators of `torch.library`, for who traces a program; `forks`: after
   a fork threads are made anew;
10. `backends`: which of them runs a call.

It knows no cell by name and imports none.
"""
