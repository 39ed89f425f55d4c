"""The emulator of ARM and Graph, held to being as strict as they are."""
