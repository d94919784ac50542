"""fflib: the thin helpers of *Taming Transformers*, one idea a module.

Import the module, then call its functions: ``from fflib import measure, results``.
Imports run one way, from ``figures``/``results``/``runtime`` down to ``data``/``encoder`` and ``files``.
"""
