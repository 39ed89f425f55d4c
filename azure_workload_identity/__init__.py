"""What every program shares: wire names, logs, durations, Entra's vocabulary, bounded YAML, the Kubernetes API.

The ground floor: it imports nothing else of the project.
"""

__version__ = "0.1.0"
