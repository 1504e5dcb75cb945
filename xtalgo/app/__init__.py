"""People and their settings: the command line, strategy files, reports."""
