"""The wire side of a session: sockets, tasks and clocks around the pure rooms."""
