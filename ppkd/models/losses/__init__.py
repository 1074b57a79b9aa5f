"""Task losses of the detectors."""
