"""What models cost and what they are worth: latency, size and memory on each engine, with the AP beside them."""
