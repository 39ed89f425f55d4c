"""The process: what starts the server, wires its components and stops it."""
