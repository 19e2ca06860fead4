"""A deployed model at work: what its folder says, how it decides, as ONNX and behind HTTP.

`classifier.py` makes decisions from a folder that `compress` or `export` wrote; `batching.py`,
`limits.py`, `metrics.py`, `app.py` and `server.py` put them behind HTTP; `onnx_graphs.py` and
`onnx_export.py` write the graphs that `onnx_scorer.py` runs; `vllm.py` checks a config against
what vLLM reads of it.
"""
