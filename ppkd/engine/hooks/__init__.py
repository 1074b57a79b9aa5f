"""What happens around the training step, one concern per file."""
