"""The rules of training, held against real MLflow and real Keras."""
