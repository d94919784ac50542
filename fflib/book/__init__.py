"""What makes the book of the chapters: the bench they work at, running, rendering, comparing, taking a model home."""

import sys

# Whoever imports nbformat waits two to three seconds for jsonschema, which builds a parser of international addresses
# where this package is installed. Notebooks have none to check, and without it jsonschema just leaves that check out.
sys.modules.setdefault("rfc3987_syntax", None)
