"""Quantisation-aware training: a detector whose convolutions compute with the numbers that 8 bits leave."""
