"""Files that nobody would make by accident: mutants of every file that the package reads."""
