"""From a folder of a user's own images to configurations that are ready to train."""
