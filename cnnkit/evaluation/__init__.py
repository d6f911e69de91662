"""What is asked of a trained model: measures, predictions, evaluations, pictures, and to train it once more."""
