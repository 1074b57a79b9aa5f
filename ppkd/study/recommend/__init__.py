"""Which method helps a pair of detectors: what fits is probed, tried in short pilots, and confirmed on fresh seeds."""
