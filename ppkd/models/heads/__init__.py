"""Networks from feature maps to raw predictions."""
