"""What the administrator sets: settings, the identity mapping, and the policy that admission reads."""
