"""Identity as plain values and decisions: no input, no output, no clock."""
