"""Pictures, curves and tables of what was trained."""
