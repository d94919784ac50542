"""A whole ladder as it was measured once, for the tests of the story and its figures."""

from __future__ import annotations

WAY = ("teacher padded", "teacher unpadded", "best batching", "distilled student", "ONNX Runtime")
WAY += ("pruned, uniform at 2 times", "int8 dynamic", "first token", "instances")
# rung, requests per second, accuracy (%), p50 and p95 (ms): a whole ladder as it was measured once
LADDER = [
    ("reference padded", 1.1888, None, 852.2, 1127.7),
    ("reference unpadded", 3.4489, None, 268.48, 520.21),
    ("teacher padded", 6.6581, 88.13, 148.54, 161.39),
    ("teacher unpadded", 21.469, 88.13, 41.966, 73.945),
    ("best batching", 31.295, 88.13, 88.355, 110.59),
    ("distilled student", 61.187, 89.33, 44.784, 53.467),
    ("ONNX Runtime", 96.053, 89.33, 30.571, 41.378),
    ("pruned 25/25", 120.43, 89.4, 23.618, 33.72),
    ("pruned 33/50", 142.74, 88.0, 19.972, 26.609),
    ("pruned for latency", 206.2, 89.0, 13.257, 25.075),
    ("pruned, uniform at 2 times", 209.75, 87.47, 13.713, 19.779),
    ("int8 dynamic", 269.52, 87.47, 10.731, 13.16),
    ("int8 static, largest", 263.81, 87.67, 10.541, 15.912),
    ("int8 static, smoothed", 250.39, 87.67, 11.384, 14.522),
    ("int8 embeddings too", 244.46, 87.53, 11.65, 14.559),
    ("first token", 483.45, 87.73, 6.1762, 7.9812),
    ("one thread", 344.72, 87.73, 39.162, 45.338),
    ("instances", 644.23, 87.93, 2.7402, 6.1574),
]


def point(rung, speed, accuracy, on_the_way=True, half=0.015):
    low, high = (None, None) if accuracy is None else (accuracy - half, accuracy + half)
    row = {"rung": rung, "throughput_per_s": speed, "accuracy": accuracy, "on_the_way": on_the_way}
    return row | {"accuracy_low": low, "accuracy_high": high}


def points(way=WAY):
    return [point(rung, speed, accuracy and accuracy / 100, rung in way) for rung, speed, accuracy, *_ in LADDER]
