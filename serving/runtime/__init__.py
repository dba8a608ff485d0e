"""What travels to AWS: numpy, onnxruntime, the standard library, and nothing else of ours."""
