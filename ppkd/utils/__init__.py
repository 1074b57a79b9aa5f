"""Errors, logging, command lines, downloads, safe reading and atomic writing."""
