"""From raw predictions to detections."""
