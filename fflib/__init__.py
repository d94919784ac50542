"""The helpers of the book, in folders: each imports itself and what stands above it here, nothing else.

    data          tasks and their examples
    measure       the clock and the machine
    model         the encoder, and what every technique does with it
    runs          a run's parameters, records and ladder
    engine        the encoder's ONNX graph, and what runs it
    distillation, pruning, quantization, runtime, serving, story    one folder a technique, named as its chapter
    book          what makes the book of the chapters

Beside the folders stand what all of them need: files, progress, where seconds go, the hub, plots and tables; and
`environment`, which keeps the reader's own outside as soon as anything of this is imported.
"""

import sys

from fflib import environment

environment.check_asserts("ipykernel" in sys.modules)
environment.dropped += environment.settle()
