"""TensorRT plans: from the exported ONNX engines to what Triton's TensorRT backend loads."""
