"""The Entra emulator does what Microsoft Entra does."""
