"""The ONNX graph of the encoder, eight-bit products, and the sessions that run it."""
