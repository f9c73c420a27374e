"""How a process is set up, run, watched and stopped."""
