"""Pages of the rendered book that no chapter holds, made from a run's records and the kept runs; one module a page.

``staged`` writes them; render.py calls it. Whatever number a page shows comes from a record.
"""
