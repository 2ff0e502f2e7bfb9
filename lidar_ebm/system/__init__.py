"""Files, progress, processes and the terminal: what every room needs of the machine."""
