"""Over what: engines, sockets, the pool of connections, and how many requests may be on their way.

The only storey that imports an HTTP library. It may touch what stands on the ground, timing, and `protocol.steps` for
what was sent.
"""
