"""Networks from images to feature maps, finest first."""
