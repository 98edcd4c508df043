"""Two versions of this project, timed against each other in interleaved fresh processes."""
