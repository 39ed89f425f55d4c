"""The testbed's emulators are as strict as what they stand for."""
