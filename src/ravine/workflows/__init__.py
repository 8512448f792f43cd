"""Where the rooms meet: one file per command. It builds and wires; it computes nothing."""
