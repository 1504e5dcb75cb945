"""One event in, a list of commands out. Pure: time is an argument, nothing here waits, reads or prints."""
