"""Several runs that belong together: tables of methods, chains of teachers, the search for a method."""
