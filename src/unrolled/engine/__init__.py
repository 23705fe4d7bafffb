"""The engine: a cell's step comes in, something that runs goes out. The passes, in order:

1. `trace`: `step`, run once on symbols, gives a graph (`graph` says what that is) of `primitives`,
   to which `adding` adds the user's own;
2. `options`: options of the layer are rewritten into the graph;
3. `call`: the boundary between a layer and the engine;
4. `reference`: the graph, step by step in PyTorch: the meaning, with the `values` of primitives;
5. `kernels`: PyTorch's own kernels, for the cells that have one;
6. `derive`: the graph with its reverse-mode derivative;
7. `plan`: what is saved, what is recomputed, and in which phases a step runs;
8. `c`: the plan as a C file; `compiler`, `build`, `cache`: compiled and kept; `native`: loaded;
9. `compiled` and `gradients`: a call of it, forward and backward; `bound`: its C struct and the
   memory that it points into, from `room` and `pool`; `call_cache`: a call that repeats another;
   `operators`: the same as operators of `torch.library`, for who traces a program;
10. `backends`: which of them runs a call.

It knows no cell by name and imports none.
"""
