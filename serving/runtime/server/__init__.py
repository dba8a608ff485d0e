"""The container server: SageMaker's contract, Vertex AI's and Cloud Run's variables, and a page to try a model."""
