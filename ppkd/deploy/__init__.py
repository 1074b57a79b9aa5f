"""From a trained detector to Paddle Inference: export, preprocessing, prediction."""
