"""`make soak`: an hour of creations on a node, with rotations, rollouts and kills, and whether anything grows.

`creations` creates pods at a fixed rate, `disturbances` rolls out and kills, `sampling` reads the memory and the
descriptors of every process, `client` runs in a pod and asks its proxy for tokens, `result` judges and writes.
"""
