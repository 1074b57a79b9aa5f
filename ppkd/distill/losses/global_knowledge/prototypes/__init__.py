"""Prototypes: instances of each class that stand for all of it, in the student's and in the teacher's features."""
